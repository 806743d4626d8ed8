package token

import "time"

// VerifySignature checks form and signature only: the payloads of most published vectors are not claims.
func VerifySignature(raw []byte, keys []Key, now time.Time) ([]byte, error) {
	p, wrong := parseCompact(raw)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	if _, r := verifySignature(p, Keys(keys), nil, now); r != nil {
		return nil, r
	}
	return p.payload, nil
}

// The limits, for tests that stand on both sides of them.
const (
	MaxToken = maxToken
	MaxDepth = maxDepth
)

// Canonical is what a fingerprint hashes.
func Canonical(claims []byte) []byte { return canonical(nil, claims) }
