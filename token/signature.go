package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for the hashes below
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
)

// maxCandidates bounds the work that one token can ask for: a token without a "kid" is tried with every key that fits.
const maxCandidates = 8

// verifySignature finds the key that verifies the token. The key is chosen first, by its ID; then its own algorithms
// decide, never the token's (RFC 8725, section 3.1).
func verifySignature(p *parsed, source KeySource, known *Signatures, now time.Time) (Key, *Refusal) {
	candidates, err := p.keys(source)
	if err != nil {
		return Key{}, &Refusal{Reason: KeysUnavailable, Text: "the keys of its issuer are not available", Cause: err}
	}
	if len(candidates) == 0 {
		r := &Refusal{Reason: UnknownKey, Text: "there is no key to verify it with"}
		if p.kid != "" {
			r.Text = `there is no key with its "kid"`
			r.Detail = "Its kid is " + quoted(p.kid) + "."
		}
		return Key{}, r
	}
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(k Key) bool { return !k.accepts(p.alg) || k.Check() != nil })
	if len(candidates) == 0 {
		return Key{}, &Refusal{Reason: WrongAlgorithm, Text: "its key is not meant for its algorithm", Detail: "Its alg is " + quoted(p.alg) + "."}
	}
	candidates = slices.DeleteFunc(candidates, func(k Key) bool { return !k.validAt(now) })
	if len(candidates) == 0 {
		return Key{}, &Refusal{Reason: UnknownKey, Text: "the certificate of its key is not valid at this time"}
	}
	if k, ok := tryKeys(p, candidates[:min(len(candidates), maxCandidates)], known); ok {
		return k, nil
	}
	return Key{}, &Refusal{Reason: BadSignature, Text: "its signature does not verify with the key of its issuer"}
}

// keys gives the candidates.
func (p *parsed) keys(source KeySource) ([]Key, error) {
	if far, ok := source.(interface{ Waits(kid string) bool }); ok && p.waiting != nil && far.Waits(p.kid) {
		defer p.waiting()()
	}
	return source.Keys(p.kid)
}

// tryKeys finds the key that verifies the token among those that may.
func tryKeys(p *parsed, candidates []Key, known *Signatures) (Key, bool) {
	var h tokenHash
	if strings.HasPrefix(p.alg, "HS") {
		known = nil // see samePublic
	}
	if known != nil {
		h = sha256.Sum256(p.raw)
		if k, ok := known.find(h, candidates); ok {
			return k, true
		}
	}
	for _, k := range candidates {
		if verifyWith(p, k) == nil {
			if known != nil {
				known.add(h, k)
			}
			return k, true
		}
	}
	return Key{}, false
}

func (k Key) validAt(now time.Time) bool {
	return (k.NotBefore.IsZero() || !now.Before(k.NotBefore)) && (k.NotAfter.IsZero() || !now.After(k.NotAfter))
}

var errSignature = errors.New("signature does not verify")

// verifyWith checks the signature with one key that accepts the algorithm. go-jose does the work, but for two things that
// it does not do.
func verifyWith(p *parsed, k Key) error {
	switch p.alg {
	case AlgEd25519: // RFC 9864, section 2.2: go-jose knows the older name only
		public, ok := k.Public.(ed25519.PublicKey)
		if !ok || !ed25519.Verify(public, p.signed, p.signature) {
			return errSignature
		}
		return nil
	case AlgPS256, AlgPS384, AlgPS512: // RFC 7518, section 3.5: the salt is as long as the hash; go-jose takes any
		return verifyPSS(p, k.Public)
	}
	jws, err := jose.ParseSignedCompact(string(p.raw), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.alg)})
	if err != nil {
		return err
	}
	public := k.Public
	if secret, ok := public.(claimpool.Secret); ok {
		public = []byte(secret)
	}
	_, err = jws.Verify(public)
	return err
}

var pssHash = map[string]crypto.Hash{AlgPS256: crypto.SHA256, AlgPS384: crypto.SHA384, AlgPS512: crypto.SHA512}

func verifyPSS(p *parsed, key any) error {
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return errSignature
	}
	hash := pssHash[p.alg]
	h := hash.New()
	h.Write(p.signed)
	return rsa.VerifyPSS(public, hash, h.Sum(nil), p.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}
