package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/claimpool/claimpool"
)

// Two ways bring a token without a login by token: a client that has proved who it is by a password names the person that it
// works for (jwt.context in the startup packet), and a client whose token ends hands in a fresh one. Both get one answer to
// everything that is wrong with the token; the log has the reason.

// withContext puts the claims of the token in the startup packet on top of an identity that was proved by another method. The
// role stays the rule's.
func (x *exchange) withContext(id *claimpool.Identity) (*claimpool.Identity, error) {
	if x.rule.Contexts == nil {
		return nil, &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: `parameter "jwt.context" is not taken`,
			Hint:  "Leave it out, or have the rule name its issuers with context_issuers.",
			Cause: fmt.Errorf("rule %q has no issuers for it", x.rule.Name),
		}
	}
	tok, err := verify(x.rule.Contexts, x.req.Context, x.waiting)
	if err != nil {
		return nil, refusedToken(err)
	}
	if err := x.holds(tok); err != nil {
		return nil, refusedToken(err)
	}
	loginProof(id)
	next := identityOf(tok, id.Method, id.Role)
	next.Proof = next.Proof.OnTopOf(&id.Proof)
	return next, nil
}

// Renew makes the identity of a client that hands in a fresh token; of req the database and Unix count. The rule that let the client in, as it
// stands now, says whose tokens count, if it is still the one that decides about the client. The token must be of the same issuer and subject,
// and give the same role. Every error is a *claimpool.Error for the client. waiting is told when somebody else is waited for, as
// Wire's Waiting is.
func (a *Authenticator) Renew(id *claimpool.Identity, req Request, raw claimpool.Secret, waiting func() (over func())) (*claimpool.Identity, error) {
	req.User = id.User
	next, err := a.renew(id, &req, raw, waiting)
	if err == nil {
		err = signedOut(a.revoked, next)
	}
	if err != nil {
		return nil, refusedToken(err)
	}
	next.Rule, next.User = id.Rule, id.User
	return next, nil
}

func (a *Authenticator) renew(id *claimpool.Identity, req *Request, raw claimpool.Secret, waiting func() (over func())) (*claimpool.Identity, error) {
	v, err := a.renewer(id, req)
	if err != nil {
		return nil, err
	}
	tok, err := verify(v, raw, waiting)
	switch {
	case err != nil:
		return nil, err
	case tok.Issuer != id.Issuer || tok.Subject != id.Subject:
		return nil, errors.New("it is another issuer's or subject's than the one before")
	case tok.Certificate != nil && !bytes.Equal(tok.Certificate, id.Proof.Certificate):
		return nil, errNotHolder
	}
	if byToken(id.Method) {
		// The user name of the login was either of these two, or the token has given the role to neither.
		role, err := tok.Role(id.Role)
		if err != nil {
			role, err = tok.Role(id.Subject)
		}
		if err != nil || role != id.Role {
			return nil, errors.Join(errors.New("it does not give the role of the one before"), err)
		}
	}
	next := identityOf(tok, id.Method, id.Role)
	next.Proof = next.Proof.OnTopOf(&id.Proof)
	next.Proof.Certificate = id.Proof.Certificate // the client has shown it
	return next, nil
}

// renewer gives who verifies the fresh tokens of an identity.
func (a *Authenticator) renewer(id *claimpool.Identity, req *Request) (Verifier, error) {
	i := slices.IndexFunc(a.rules, func(r Rule) bool { return r.names(req) && (r.Name == id.Rule || r.anywhere(req.Unix)) })
	switch {
	case id.Claims == nil:
		return nil, errors.New("the client has logged in without one")
	case id.Method == claimpool.MethodJIT:
		return nil, errors.New("the client has logged in by just-in-time access, which is judged at each login")
	case i < 0:
		return nil, fmt.Errorf("there is no rule %q for it any more", id.Rule)
	case a.rules[i].Name != id.Rule:
		return nil, fmt.Errorf("rule %q decides now", a.rules[i].Name)
	}
	rule := &a.rules[i]
	switch {
	case rule.takesTokens() != byToken(id.Method):
		return nil, fmt.Errorf("rule %q has another method now", id.Rule)
	case rule.takesTokens():
		return rule.Issuers, nil
	case rule.Contexts == nil:
		return nil, fmt.Errorf("rule %q takes no contexts any more", id.Rule)
	}
	return rule.Contexts, nil
}

// refusedToken is the one answer to a token that is not good enough.
func refusedToken(cause error) error {
	var e *claimpool.Error
	if errors.As(cause, &e) {
		return e
	}
	return &claimpool.Error{
		Code: claimpool.CodeInvalidAuthorization, Message: "token in jwt.context refused",
		Hint:  "It must be valid, and a fresh one must be of the same issuer, subject and role. The proxy's log has the reason.",
		Cause: cause,
	}
}

func byToken(m claimpool.Method) bool { return m == claimpool.MethodJWT || m == claimpool.MethodOAuth }
