package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// maxPassword bounds a password message. PostgreSQL takes 65,535 bytes (PG_MAX_AUTH_TOKEN_LENGTH); tokens of some issuers
// have more than 8 kB, and an attacker must not make us hold more than this.
const maxPassword = 65_535

// maxRole is PostgreSQL's NAMEDATALEN - 1: it cuts longer names, and so two users would become one role.
const maxRole = 63

// exchange is one run of one method with one client.
type exchange struct {
	auth *Authenticator
	rule *Rule
	req  *Request
	wire Wire
	turn func() (over func()) // waits until the client's address may have somebody else asked

	// proved is what is left to do when the client is let in: AuthenticationSASLFinal tells it that its password is right, and whoever is
	// refused for another reason must not learn that. Nil when there is nothing.
	proved func() error
}

// run asks for the credential of the rule's method and makes the identity out of it. An error that is not a
// *claimpool.Error means that the proof failed; it says why, for the log.
func (x *exchange) run(ctx context.Context) (*claimpool.Identity, error) {
	if err := ctx.Err(); err != nil {
		return nil, gone(err)
	}
	if err := x.certified(); err != nil {
		return nil, err
	}
	id, err := x.prove(ctx)
	if err == nil && x.req.Context != nil && id.Method != claimpool.MethodJIT {
		id, err = x.withContext(id)
	}
	if err != nil {
		return nil, err
	}
	loginProof(id)
	if err := signedOut(x.auth.revoked, id); err != nil {
		return nil, err
	}
	id.Rule, id.User = x.rule.Name, x.req.User
	return id, nil
}

// prove runs the method.
func (x *exchange) prove(ctx context.Context) (*claimpool.Identity, error) {
	if x.wantsJIT() {
		return x.byJIT(ctx)
	}
	switch x.rule.Method {
	case claimpool.MethodJWT:
		return x.jwt()
	case claimpool.MethodOAuth:
		return x.oauth()
	case claimpool.MethodTrust:
		return x.identity(claimpool.MethodTrust)
	case claimpool.MethodSCRAM, claimpool.MethodMD5:
		return x.password(ctx)
	case claimpool.MethodCert:
		return x.certificate()
	case claimpool.MethodPeer:
		return x.peer()
	case claimpool.MethodLDAP, claimpool.MethodPAM:
		return x.checked(ctx)
	}
	return nil, fmt.Errorf("rule %q has method %q", x.rule.Name, x.rule.Method)
}

// password chooses the exchange that fits what is stored, as PostgreSQL does for the method md5 (client authentication,
// "Password Authentication"). An unknown user gets the exchange of a decoy.
func (x *exchange) password(ctx context.Context) (*claimpool.Identity, error) {
	s, known, failed, err := x.stored(ctx)
	if err != nil {
		return nil, err
	}
	var id *claimpool.Identity
	if x.rule.Method == claimpool.MethodMD5 && s.kind != storedSCRAM {
		id, err = x.md5(s, known)
	} else {
		id, err = x.scram(s, known)
	}
	if err != nil && failedProof(err) {
		failed()
	}
	return id, err
}

// stored finds what is stored for the user, or a decoy. failed is to be called when the proof does not match.
func (x *exchange) stored(ctx context.Context) (s stored, known bool, failed func(), err error) {
	if x.rule.Lookup == nil {
		s, known = x.rule.Userlist.find(x.req.User, x.auth.seed)
		return s, known, func() {}, nil
	}
	defer x.waiting()()
	return x.rule.Lookup.find(ctx, userOf{x.req.Database, x.req.User}, x.auth.seed)
}

// waiting says that from here to the call of what it returns, the login waits for somebody else than its client; with too many others
// of its address, it waits for them first.
func (x *exchange) waiting() (over func()) {
	goOn := func() {}
	if w, ok := x.wire.(interface{ Waiting() (over func()) }); ok {
		goOn = w.Waiting()
	}
	leave := x.turn()
	return func() {
		leave()
		goOn()
	}
}

// tooLate refuses whoever has failed too often while he waited to have somebody else asked.
func (x *exchange) tooLate() error {
	if !x.auth.throttle.allow(x.req) {
		return errThrottled
	}
	return nil
}

// identity is who a client is that did not log in with a token: its user name, without claims and without an end.
func (x *exchange) identity(m claimpool.Method) (*claimpool.Identity, error) {
	role, err := x.role()
	if err != nil {
		return nil, err
	}
	return claimpool.NewIdentity(m, "", x.req.User, role, nil, nil, noEnd), nil
}

// role is the database role of whoever is let in without a token.
func (x *exchange) role() (string, error) {
	role := x.rule.Role
	if role == "" {
		role = x.req.User
	}
	if len(role) > maxRole {
		return "", refusal("role not allowed", fmt.Errorf("a role name of %d bytes", len(role)))
	}
	return role, nil
}

// failedMethod is how PostgreSQL names methods whose failure is not 28P01 (auth_failed).
var failedMethod = map[claimpool.Method]string{
	claimpool.MethodCert: "certificate", claimpool.MethodPeer: "Peer", claimpool.MethodLDAP: "LDAP", claimpool.MethodPAM: "PAM",
}

// refuse makes the answer for the client out of any error of run.
func (x *exchange) refuse(err error) error {
	var e *claimpool.Error
	if errors.As(err, &e) {
		return e
	}
	if word := failedMethod[x.rule.Method]; word != "" {
		return &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: word + ` authentication failed for user "` + x.req.User + `"`,
			Cause: fmt.Errorf("rule %q: %w", x.rule.Name, err),
		}
	}
	if x.rule.Method == claimpool.MethodOAuth {
		return &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: `OAuth bearer authentication failed for user "` + x.req.User + `"`,
			Cause: fmt.Errorf("rule %q: %w", x.rule.Name, err),
		}
	}
	failed := claimpool.AuthenticationFailed(x.req.User, fmt.Errorf("rule %q: %w", x.rule.Name, err))
	if x.rule.Failed != "" {
		failed.Message = x.rule.Failed
	}
	return failed
}

func (x *exchange) send(b []byte) error {
	if err := x.wire.Send(b); err != nil {
		return gone(err)
	}
	return nil
}

// receive gives the next password message; no other message may come now (protocol-flow, "Start-up"). Who has begun many exchanges at the same
// moment has no more guesses than one after the other: what comes when he has failed too often is not looked at.
func (x *exchange) receive(limit int) ([]byte, error) {
	typ, body, err := x.wire.Receive(limit)
	var e *claimpool.Error
	switch {
	case errors.As(err, &e):
		return nil, e
	case err != nil:
		return nil, gone(err)
	case typ != wire.MsgPassword:
		return nil, &claimpool.Error{
			Code: claimpool.CodeProtocolViolation, Message: fmt.Sprintf("expected password response, got message type %d", typ),
		}
	case !x.auth.throttle.allow(x.req):
		clear(body)
		return nil, errThrottled
	}
	return body, nil
}

// receivePassword reads a PasswordMessage. The secret is the caller's to clear.
func (x *exchange) receivePassword() (claimpool.Secret, error) {
	body, err := x.receive(maxPassword)
	if err != nil {
		return nil, err
	}
	secret, err := wire.ParsePassword(body)
	if err != nil {
		clear(body)
		return nil, err
	}
	if len(secret) == 0 {
		return nil, errors.New("the password is empty")
	}
	return secret, nil
}

// gone is the error for a client that left, or fell silent, in the middle. psql does so before it asks for a password.
func gone(err error) error {
	return &claimpool.Error{
		Code: claimpool.CodeConnectionFailure, Message: "connection lost during authentication", Cause: err,
	}
}
