// Package token verifies a JWT (RFC 7519) offline: bytes, keys and a clock go in, claims or a reason come out. It does not
// know the network, files or logs, so that every attack on it is a table test.
//
// The rules are stricter than the RFCs where the RFCs leave room: base64url must be canonical, no name may stand twice, a
// key serves only its own algorithms, "exp" is required, and nothing that a token says about its own key (jwk, jku, x5u,
// x5c) is ever believed.
package token

import (
	"time"

	"github.com/claimpool/claimpool"
)

// Token is a verified token. It is made by Verifier.Verify only, and never changed.
type Token struct {
	Issuer    string // "iss"; empty when the rules ask for a token without an issuer
	Subject   string // "sub", or the claim that Rules.SubjectClaim names
	KeyID     string // "kid" of the key that verified it; may be empty
	Algorithm string // "alg" as the header wrote it

	// Claims is the payload without the white space between its values. Everything else is byte for byte what the
	// issuer wrote. With Mapping.HasContext it is what the expression made of it.
	Claims claimpool.Claims

	// Fingerprint tells whether two tokens describe the same identity: a SHA-256 over the canonical claims without exp,
	// nbf, iat and jti, which differ between two tokens of one person.
	Fingerprint []byte

	// Expires is "exp" plus the leeway: the moment from which the token is worth nothing.
	Expires time.Time

	// Proof is what the token can be revoked by, whatever the expression for the context has left of its claims.
	Proof claimpool.Proof

	// Certificate is the SHA-256 of the one certificate with which a client may bring the token (RFC 8705, section 3.1); nil: anybody may
	// who has it.
	Certificate []byte

	rules    *Rules
	verified []byte // the payload, for the role
}

// Lookup returns the JSON value of a claim, as the issuer wrote it. name is a top-level name, or a JSON Pointer (RFC 6901)
// when it begins with "/".
func (t *Token) Lookup(name string) (value []byte, ok bool) { return find(t.Claims, name) }

// Text returns a claim that is a string, decoded. name is as for Lookup.
func (t *Token) Text(name string) (value string, ok bool) {
	raw, ok := find(t.Claims, name)
	if !ok {
		return "", false
	}
	return text(raw)
}
