package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// JIT is just-in-time access to one database: tokens that an API judges, at each login anew.
type JIT struct {
	// Ask has a token judged for a role and a client's address. An error says why there is no grant; denied says that this is the
	// API's own answer, and not the lack of one.
	Ask func(ctx context.Context, token claimpool.Secret, role, address string) (g *Grant, denied bool, err error)

	// Lifetime bounds how long one answer counts. Zero means for as long as the answer itself says.
	Lifetime time.Duration

	// HandOn keeps the token in the identity, for servers that ask for a cleartext password.
	HandOn bool
}

// Grant is what is known of a person whose token was accepted.
type Grant struct {
	Issuer, Subject string
	Claims          claimpool.Claims
	Fingerprint     []byte    // see claimpool.NewIdentity
	Expires         time.Time // zero means never
}

// TakesJIT reports whether clients of a database may ask for just-in-time access.
func (a *Authenticator) TakesJIT(database string) bool { return a.jit[database] != nil }

// wantsJIT reports whether the client logs in by just-in-time access: its rule says so, or it has asked for it where its rule wants
// a password (Supavisor's options=--jit=true). Nothing has been proved yet: the client chooses between two doors, and does not
// try one after the other.
func (x *exchange) wantsJIT() bool {
	switch x.rule.Method {
	case claimpool.MethodJIT:
		return true
	case claimpool.MethodSCRAM, claimpool.MethodMD5:
		return x.req.JIT && x.auth.TakesJIT(x.req.Database)
	}
	return false
}

// byJIT takes a token in place of the password, and has it judged. The answer is not remembered.
func (x *exchange) byJIT(ctx context.Context) (*claimpool.Identity, error) {
	switch {
	case x.rule.TLS != TLSAny && !x.req.private():
		return nil, &claimpool.Error{
			Code: claimpool.CodeInternalError, Message: "(ESSLREQUIRED) SSL connection is required for user: " + x.req.User,
			Hint: "Connect with TLS, for instance with sslmode=verify-full.",
		}
	case x.req.Context != nil:
		return nil, &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: `parameter "jwt.context" is not taken`,
			Hint: "Leave it out: the API of the just-in-time access gives the claims.",
		}
	}
	if err := x.send(wire.AppendAuthCleartext(nil)); err != nil {
		return nil, err
	}
	raw, err := x.receivePassword()
	if err != nil {
		return nil, err
	}
	defer raw.Clear()
	jit := x.auth.jit[x.req.Database]
	if jit == nil { // told after the password, like all that fails
		return nil, fmt.Errorf("database %q has no API for just-in-time access", x.req.Database)
	}
	id, denied, err := x.ask(ctx, jit, raw)
	switch {
	case err == nil:
		return id, nil
	case denied:
		return nil, err
	case ctx.Err() != nil:
		return nil, gone(err)
	}
	return nil, &claimpool.Error{
		Code: claimpool.CodeInternalError, Message: `(EJITREQUESTFAILED) failed to reach JIT provider for user "` + x.req.User + `"`,
		Hint: "Try again later; the proxy's log has the reason.", Cause: err,
	}
}

// ask has a token judged, and lets other logins work meanwhile.
func (x *exchange) ask(ctx context.Context, jit *JIT, raw claimpool.Secret) (id *claimpool.Identity, denied bool, err error) {
	role := x.rule.Role
	if role == "" {
		role = x.req.User
	}
	if len(role) > maxRole {
		return nil, true, fmt.Errorf("a role name of %d bytes", len(role))
	}
	address := "undefined" // as Supavisor writes it; a client of a unix socket has none
	if !x.req.Unix {
		address = x.req.Addr.Addr().Unmap().WithZone("").String()
	}
	g, denied, err := x.question(ctx, jit, raw, address)
	if err != nil {
		return nil, denied, err
	}
	now := x.auth.clock()
	if end := now.Add(jit.Lifetime); jit.Lifetime > 0 && (g.Expires.IsZero() || end.Before(g.Expires)) {
		g.Expires = end
	}
	id = claimpool.NewIdentity(claimpool.MethodJIT, g.Issuer, g.Subject, role, g.Claims, g.Fingerprint, g.Expires)
	if id.Expired(now) {
		return nil, true, errors.New("the grant has ended already")
	}
	if jit.HandOn {
		id.Token = append(claimpool.Secret(nil), raw...)
	}
	return id, false, nil
}

func (x *exchange) question(ctx context.Context, jit *JIT, raw claimpool.Secret, address string) (*Grant, bool, error) {
	defer x.waiting()()
	if err := x.tooLate(); err != nil {
		return nil, true, err
	}
	g, denied, err := jit.Ask(ctx, raw, x.req.User, address)
	if err == nil && (g == nil || g.Subject == "") {
		return nil, false, errors.New("the answer names nobody")
	}
	return g, denied, err
}
