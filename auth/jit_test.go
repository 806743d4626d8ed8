package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

func codeOf(err error) claimpool.Code {
	if err == nil {
		return ""
	}
	return claimpool.AsError(err).Code
}

// api is an API for just-in-time access in memory.
type api struct {
	grants map[string]*Grant // by token
	down   error
	asked  []string // role@address
}

func (a *api) ask(_ context.Context, token claimpool.Secret, role, address string) (*Grant, bool, error) {
	a.asked = append(a.asked, role+"@"+address)
	if a.down != nil {
		return nil, false, a.down
	}
	g := a.grants[string(token)]
	if g == nil {
		return nil, true, errors.New("it does not know the token")
	}
	copied := *g
	return &copied, false, nil
}

// jitAuth has just-in-time access to the database app, and passwords beside it.
func jitAuth(t testing.TB, a *api, change func(*JIT), rules ...Rule) *Authenticator {
	t.Helper()
	if rules == nil {
		rules = []Rule{{Name: "passwords", Method: claimpool.MethodSCRAM, Userlist: list(t)}}
	}
	jit := &JIT{Ask: a.ask}
	if change != nil {
		change(jit)
	}
	auth, err := New(Config{
		Rules: rules, JIT: map[string]*JIT{"app": jit}, Clock: func() time.Time { return epoch },
		Throttle: Throttle{Failures: 3, Window: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func newAPI() *api {
	return &api{grants: map[string]*Grant{"sbp_good": {
		Issuer: "https://api.example/jit", Subject: "u1", Claims: claimpool.Claims(`{"sub":"u1"}`), Fingerprint: []byte("u1"), Expires: epoch.Add(time.Hour),
	}}}
}

// asks is a client over TLS that asks for just-in-time access.
func asks(user string) Request {
	req := overTLS(user, nil)
	req.JIT = true
	return req
}

func TestJIT(t *testing.T) {
	a := newAPI()
	id, err := jitAuth(t, a, nil).Authenticate(t.Context(), asks("bert"), sends("sbp_good"))
	if err != nil {
		t.Fatal(err)
	}
	if id.Method != claimpool.MethodJIT || id.Role != "bert" || id.String() != "u1@https://api.example/jit" || string(id.Claims) != `{"sub":"u1"}` ||
		!id.Expires.Equal(epoch.Add(time.Hour)) || id.Token != nil {
		t.Errorf("%+v", id)
	}
	if !slices.Equal(a.asked, []string{"bert@192.0.2.7"}) {
		t.Errorf("asked for %v", a.asked)
	}
}

// Password users stay where they are: the same rule, the same database.
func TestJITBesidePasswords(t *testing.T) {
	a := newAPI()
	auth := jitAuth(t, a, nil)
	if _, err := auth.Authenticate(t.Context(), overTLS("bert", nil), sendsSCRAM("correct", nil)); err != nil {
		t.Errorf("the password: %v", err)
	}
	if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("correct")); codeOf(err) != claimpool.CodeInvalidPassword {
		t.Errorf("the password in a token's place: %v", err)
	}
	if _, err := auth.Authenticate(t.Context(), overTLS("bert", nil), sendsSCRAM("sbp_good", nil)); codeOf(err) != claimpool.CodeInvalidPassword {
		t.Errorf("the token in a password's place: %v", err)
	}
	elsewhere := asks("bert")
	elsewhere.Database = "other"
	if _, err := auth.Authenticate(t.Context(), elsewhere, sendsSCRAM("correct", nil)); err != nil {
		t.Errorf("a database without an API: %v", err)
	}
	if len(a.asked) != 1 {
		t.Errorf("asked for %v", a.asked)
	}
}

func TestJITByRule(t *testing.T) {
	rule := Rule{Name: "jit", Databases: []string{"app"}, Method: claimpool.MethodJIT, Role: "shared"}
	id, err := jitAuth(t, newAPI(), func(j *JIT) { j.Lifetime, j.HandOn = time.Minute, true }, rule).Authenticate(t.Context(), overTLS("bert", nil), sends("sbp_good"))
	if err != nil {
		t.Fatal(err)
	}
	if id.Role != "shared" || !id.Expires.Equal(epoch.Add(time.Minute)) || string(id.Token) != "sbp_good" || id.Rule != "jit" {
		t.Errorf("%+v", id)
	}
	lost := Rule{Name: "jit", Method: claimpool.MethodJIT}
	req := overTLS("bert", nil)
	req.Database = "other"
	if _, err := jitAuth(t, newAPI(), nil, lost).Authenticate(t.Context(), req, sends("sbp_good")); codeOf(err) != claimpool.CodeInvalidPassword {
		t.Errorf("a database without an API: %v", err)
	}
	for name, bad := range map[string]Rule{
		"in the clear":  {Method: claimpool.MethodJIT, TLS: TLSOff},
		"with contexts": {Method: claimpool.MethodJIT, Contexts: newIssuer(t, token.RoleRule{From: token.RoleFixed, Value: "x"}).set},
	} {
		if _, err := New(Config{Rules: []Rule{bad}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestJITRefusals(t *testing.T) {
	ended := newAPI()
	ended.grants["sbp_good"].Expires = epoch
	nobody := newAPI()
	nobody.grants["sbp_good"].Subject = ""
	down := newAPI()
	down.down = errors.New("connection refused")
	inTheClear, context := overTCP("bert"), asks("bert")
	inTheClear.JIT = true
	context.Context = claimpool.Secret("x")
	for name, test := range map[string]struct {
		api     *api
		req     Request
		token   string
		code    claimpool.Code
		message string
	}{
		"a wrong token":                 {newAPI(), asks("bert"), "sbp_bad", "28P01", `password authentication failed for user "bert"`},
		"an ended grant":                {ended, asks("bert"), "sbp_good", "28P01", `password authentication failed for user "bert"`},
		"no token":                      {newAPI(), asks("bert"), "", "28P01", `password authentication failed for user "bert"`},
		"a long role":                   {newAPI(), asks(strings.Repeat("r", 64)), "sbp_good", "28P01", `password authentication failed for user "` + strings.Repeat("r", 64) + `"`},
		"an outage":                     {down, asks("bert"), "sbp_good", "XX000", `(EJITREQUESTFAILED) failed to reach JIT provider for user "bert"`},
		"an answer of no use":           {nobody, asks("bert"), "sbp_good", "XX000", `(EJITREQUESTFAILED) failed to reach JIT provider for user "bert"`},
		"no TLS":                        {newAPI(), inTheClear, "sbp_good", "XX000", "(ESSLREQUIRED) SSL connection is required for user: bert"},
		"a token in jwt.context on top": {newAPI(), context, "sbp_good", "28000", `parameter "jwt.context" is not taken`},
	} {
		_, err := jitAuth(t, test.api, nil).Authenticate(t.Context(), test.req, sends(test.token))
		e := claimpool.AsError(err)
		if err == nil || e.Code != test.code || e.Message != test.message {
			t.Errorf("%s: %v", name, err)
		}
		if name == "no TLS" && len(test.api.asked) > 0 {
			t.Error("the API was asked for a token that came in the clear")
		}
	}
}

// TestAttackJITTokenAsPassword: the attacker has a token that was good a moment ago. It was revoked; he hopes that it is
// remembered, as a grant or as the user's password (as Supavisor kept it for a day).
//
// Must: Each login asks the API anew; the token opens nothing without just-in-time access.
func TestAttackJITTokenAsPassword(t *testing.T) {
	a := newAPI()
	auth := jitAuth(t, a, nil)
	for range 2 {
		if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("sbp_good")); err != nil {
			t.Fatal(err)
		}
	}
	delete(a.grants, "sbp_good")
	if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("sbp_good")); codeOf(err) != claimpool.CodeInvalidPassword {
		t.Errorf("after its end: %v", err)
	}
	if _, err := auth.Authenticate(t.Context(), overTLS("bert", nil), sendsSCRAM("sbp_good", nil)); codeOf(err) != claimpool.CodeInvalidPassword {
		t.Errorf("as a password: %v", err)
	}
	if len(a.asked) != 3 {
		t.Errorf("asked %d times", len(a.asked))
	}
}

// TestAttackJITLockOutByOutage: the attacker brings the API down, and sends logins from the address that all share, so that
// everybody there is locked out.
//
// Must: An outage counts for nobody: as soon as the API answers, logins work. Wrong tokens do count.
func TestAttackJITLockOutByOutage(t *testing.T) {
	a := newAPI()
	auth := jitAuth(t, a, nil)
	a.down = errors.New("timeout")
	for range 20 {
		if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("sbp_good")); codeOf(err) != claimpool.CodeInternalError {
			t.Fatal(err)
		}
	}
	a.down = nil
	if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("sbp_good")); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	for range 3 {
		auth.Authenticate(t.Context(), asks("bert"), sends("sbp_guess"))
	}
	asked := len(a.asked)
	if _, err := auth.Authenticate(t.Context(), asks("bert"), sends("sbp_guess")); codeOf(err) != claimpool.CodeConnectionRejected {
		t.Errorf("after many guesses: %v", err)
	}
	if len(a.asked) != asked {
		t.Error("the API is asked for those who are slowed down")
	}
}

// TestAttackJITAroundTheRule: the attacker asks for just-in-time access where his rule rejects him, wants another token, or trusts
// only this machine.
//
// Must: The rule decides: the wish changes only which credential a password rule asks for.
func TestAttackJITAroundTheRule(t *testing.T) {
	for name, rule := range map[string]Rule{
		"reject": {Method: claimpool.MethodReject},
		"trust":  {Method: claimpool.MethodTrust},
		"jwt":    {Method: claimpool.MethodJWT, Issuers: newIssuer(t, token.RoleRule{From: token.RoleFixed, Value: "bert"}).set},
	} {
		a := newAPI()
		if _, err := jitAuth(t, a, nil, rule).Authenticate(t.Context(), asks("bert"), sends("sbp_good")); err == nil || len(a.asked) > 0 {
			t.Errorf("%s: %v, asked %v", name, err, a.asked)
		}
	}
}
