package auth

import (
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
	"github.com/claimpool/claimpool/wire"
)

// noEnd is the expiry of an identity that does not expire.
var noEnd time.Time

// jwt takes a token in place of the password (AuthenticationCleartextPassword). Whether the transport is fit for that was
// decided with the choice of the rule.
func (x *exchange) jwt() (*claimpool.Identity, error) {
	if err := x.send(wire.AppendAuthCleartext(nil)); err != nil {
		return nil, err
	}
	raw, err := x.receivePassword()
	if err != nil {
		return nil, err
	}
	defer raw.Clear()
	return x.token(raw, claimpool.MethodJWT)
}

// verify says when it waits for somebody else, who judges the token or has its keys: others work meanwhile.
func verify(v Verifier, raw []byte, waiting func() (over func())) (*token.Token, error) {
	if w, ok := v.(interface {
		VerifyWaiting(raw []byte, waiting func() (over func())) (*token.Token, error)
	}); ok {
		return w.VerifyWaiting(raw, waiting)
	}
	return v.Verify(raw)
}

// token makes the identity that a token proves.
func (x *exchange) token(raw []byte, m claimpool.Method) (*claimpool.Identity, error) {
	tok, err := verify(x.rule.Issuers, raw, x.waiting)
	if err != nil {
		return nil, err
	}
	if err := x.holds(tok); err != nil {
		return nil, err
	}
	role, err := tok.Role(x.req.User)
	if err != nil {
		return nil, err
	}
	return identityOf(tok, m, role), nil
}

// identityOf makes the identity of a verified token.
func identityOf(tok *token.Token, m claimpool.Method, role string) *claimpool.Identity {
	id := claimpool.NewIdentity(m, tok.Issuer, tok.Subject, role, tok.Claims, tok.Fingerprint, tok.Expires)
	id.Proof = tok.Proof
	id.Proof.Certificate = tok.Certificate
	return id
}
