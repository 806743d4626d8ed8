package auth

import (
	"bytes"
	"crypto/sha256"

	"github.com/claimpool/claimpool/token"
)

// holds refuses a token that is bound to another certificate than the client has shown in TLS (RFC 8705, section 3), or to one while
// it has shown none: it may be stolen.
func (x *exchange) holds(tok *token.Token) error {
	if tok.Certificate == nil {
		return nil
	}
	leaf, err := x.leaf()
	if err != nil {
		return errNotHolder
	}
	if shown := sha256.Sum256(leaf.Raw); !bytes.Equal(shown[:], tok.Certificate) {
		return errNotHolder
	}
	return nil
}

var errNotHolder = &token.Refusal{Reason: token.Bound, Text: "it is bound to a certificate that the client has not shown"}
