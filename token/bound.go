package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// certificateOf is the member of "cnf" that binds a token to a certificate (RFC 8705, section 3.1).
const certificateOf = "x5t#S256"

// checkBound refuses tokens that are bound to a key (RFC 7800) of which nobody here can tell who holds it: to have one is no proof, and
// whoever has stolen one must not be able to use it here (RFC 9449, section 7.2). To a certificate one may be bound: see Token.Certificate.
func (r *Rules) checkBound(p *parsed, _ time.Time) *Refusal {
	_, refused := p.certificate()
	return refused
}

// certificate gives the hash of the certificate that the token is bound to; nil when it is bound to none.
func (p *parsed) certificate() ([]byte, *Refusal) {
	value, ok := get(p.claims, "cnf")
	if !ok {
		return nil, nil
	}
	var cnf map[string]json.RawMessage
	var text string
	if json.Unmarshal(value, &cnf) == nil && len(cnf) == 1 && json.Unmarshal(cnf[certificateOf], &text) == nil {
		if hash, err := base64.RawURLEncoding.Strict().DecodeString(text); err == nil && len(hash) == sha256.Size {
			return hash, nil
		}
	}
	return nil, &Refusal{Reason: Bound, Text: `it is bound to a key ("cnf"), and whoever brings it cannot show here that it is his`}
}
