package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// brought is a request with a token in the startup packet.
func brought(r Request, raw string) Request {
	r.Context = claimpool.Secret(raw)
	return r
}

// TestContexts: claims on top of a password. The role is the rule's, whatever the token says.
func TestContexts(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	der, _ := certificate(t)
	sha := Rule{Name: "app", Method: claimpool.MethodSCRAM, Userlist: list(t), Contexts: iss.set}
	pooled, none, open := sha, sha, sha
	pooled.Role, none.Contexts, open.TLS = "pool", nil, TLSAny
	jwt := Rule{Method: claimpool.MethodJWT, Issuers: iss.set}
	raw := iss.mint(t, "zoe", `,"role":"postgres"`)
	for _, test := range []struct {
		name   string
		rule   Rule
		req    Request
		client *client
		code   claimpool.Code
		role   string
		who    string
	}{
		{"password and token", sha, brought(overTLS("anna", der), raw), sendsSCRAM("correct", nil), "", "anna", "zoe@" + issuerName},
		{"the rule's role", pooled, brought(overTLS("anna", der), raw), sendsSCRAM("correct", nil), "", "pool", "zoe@" + issuerName},
		{"password alone", sha, overTLS("anna", der), sendsSCRAM("correct", nil), "", "anna", "anna"},
		{"trust and token", Rule{Method: claimpool.MethodTrust, Contexts: iss.set}, brought(overUnix("anna"), raw), sends(""), "", "anna", "zoe@" + issuerName},
		{"no contexts here", none, brought(overTLS("anna", der), raw), sendsSCRAM("correct", nil), claimpool.CodeInvalidAuthorization, "", ""},
		{"no contexts here, wrong password", none, brought(overTLS("anna", der), raw), sendsSCRAM("wrong", nil), claimpool.CodeInvalidPassword, "", ""},
		{"token as password, and another", jwt, brought(overTLS("anna", der), raw), sends(iss.mint(t, "anna", "")), claimpool.CodeInvalidAuthorization, "", ""},
		{"forged", sha, brought(overTLS("anna", der), flip(raw)), sendsSCRAM("correct", nil), claimpool.CodeInvalidAuthorization, "", ""},
		{"forged, wrong password", sha, brought(overTLS("anna", der), flip(raw)), sendsSCRAM("wrong", nil), claimpool.CodeInvalidPassword, "", ""},
		{"expired", sha, brought(overTLS("anna", der), expired(t, iss)), sendsSCRAM("correct", nil), claimpool.CodeInvalidAuthorization, "", ""},
		{"in the clear", sha, brought(overTCP("anna"), raw), sendsSCRAM("correct", nil), claimpool.CodeInvalidAuthorization, "", ""},
		{"in the clear, as the rule allows", open, brought(overTCP("anna"), raw), sendsSCRAM("correct", nil), "", "anna", "zoe@" + issuerName},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := newAuth(t, test.rule).Authenticate(t.Context(), test.req, test.client)
			if test.code != "" {
				refused(t, err, test.code, "")
				return
			}
			if err != nil || id.Role != test.role || id.String() != test.who || id.Rule != test.rule.Name || (id.Claims != nil) != (test.req.Context != nil) {
				t.Errorf("got %v as %v of rule %q (%v)", id, id.Role, id.Rule, err)
			}
			if id.Claims != nil && (id.Expires.IsZero() || id.Method != test.rule.Method) {
				t.Errorf("it ends %v, by method %s", id.Expires, id.Method)
			}
		})
	}
}

// TestRenew: whose fresh tokens are taken, as the rules stand now.
func TestRenew(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{From: token.RoleFromClaim, Claim: "role", Allow: []string{"a", "b"}})
	stranger := newIssuer(t, token.RoleRule{})
	jwt := Rule{Name: "people", Method: claimpool.MethodJWT, Issuers: iss.set}
	app := Rule{Name: "app", Method: claimpool.MethodSCRAM, Userlist: list(t), Contexts: iss.set}
	der, _ := certificate(t)
	login := func(r Rule, req Request, c *client) *claimpool.Identity {
		id, err := newAuth(t, r).Authenticate(t.Context(), req, c)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := iss.mint(t, "zoe", `,"role":"a"`)
	zoe := login(jwt, overTLS("zoe", der), sends(first))
	behind := login(app, brought(overTLS("anna", der), first), sendsSCRAM("correct", nil))
	bare := login(app, overTLS("anna", der), sendsSCRAM("correct", nil))
	closed, changed := app, app
	closed.Contexts, changed.Name = nil, "people"
	for _, test := range []struct {
		name string
		rule Rule // as it is now
		id   *claimpool.Identity
		raw  string
		ok   bool
	}{
		{"fresh", jwt, zoe, iss.mint(t, "zoe", `,"role":"a","jti":"2"`), true},
		{"the same again", jwt, zoe, first, true},
		{"more claims", jwt, zoe, iss.mint(t, "zoe", `,"role":["b","a"],"more":1`), true},
		{"another role", jwt, zoe, iss.mint(t, "zoe", `,"role":"b"`), false},
		{"no role", jwt, zoe, iss.mint(t, "zoe", ""), false},
		{"a role that nobody may have", jwt, zoe, iss.mint(t, "zoe", `,"role":["c"]`), false},
		{"another subject", jwt, zoe, iss.mint(t, "yan", `,"role":"a"`), false},
		{"the role as the subject", jwt, zoe, iss.mint(t, "a", `,"role":"a"`), false},
		{"forged", jwt, zoe, flip(first), false},
		{"expired", jwt, zoe, expired(t, iss), false},
		{"of a stranger", jwt, zoe, stranger.mint(t, "zoe", `,"role":"a"`), false},
		{"empty", jwt, zoe, "", false},
		{"the rule is gone", app, zoe, first, false},
		{"the rule asks for passwords now", changed, zoe, first, false},
		{"behind a password, whatever role it gives", app, behind, iss.mint(t, "zoe", `,"role":"b"`), true},
		{"behind a password, another subject", app, behind, iss.mint(t, "yan", `,"role":"a"`), false},
		{"behind a password, no longer taken", closed, behind, first, false},
		{"without a token before", app, bare, first, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			next, err := newAuth(t, test.rule).Renew(test.id, Request{Database: "app"}, claimpool.Secret(test.raw), unnoticed)
			if !test.ok {
				refused(t, err, claimpool.CodeInvalidAuthorization, "token in jwt.context refused")
				if claimpool.AsError(err).Cause == nil {
					t.Error("the log gets no reason")
				}
				return
			}
			if err != nil || next.Role != test.id.Role || next.Subject != test.id.Subject || next.Rule != test.id.Rule || next.Method != test.id.Method {
				t.Errorf("got %+v (%v)", next, err)
			}
			if text := fmt.Sprintf("%v %+v", next, err); strings.Contains(text, test.raw) {
				t.Error("the token is in it")
			}
		})
	}
	set, err := token.NewSet(&token.Verifier{Rules: token.Rules{Issuer: issuerName, Audience: []string{"db"}}, Keys: down{}, Clock: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = newAuth(t, Rule{Name: "people", Method: claimpool.MethodJWT, Issuers: set}).Renew(zoe, Request{Database: "app"}, claimpool.Secret(first), unnoticed)
	refused(t, err, claimpool.CodeInvalidAuthorization, "token in jwt.context refused")
	var r *token.Refusal
	if !errors.As(err, &r) || r.Reason != token.KeysUnavailable {
		t.Errorf("the reason is %v", err)
	}
}

// unnoticed is for tests to which it does not matter who waits.
func unnoticed() (over func()) { return func() {} }

// asking is a verifier with keys that are far away, and looks whether others may work meanwhile.
type asking struct {
	Verifier
	waits *int // how many wait at this moment
	told  int
}

func (a *asking) VerifyWaiting(raw []byte, waiting func() (over func())) (*token.Token, error) {
	defer waiting()()
	a.told += *a.waits
	return a.Verifier.Verify(raw)
}

// waiter is a client's wire that counts who waits for somebody else.
type waiter struct {
	*client
	waits int
	told  int // of waits so far
}

func (w *waiter) Waiting() (over func()) {
	w.waits++
	w.told++
	return func() { w.waits-- }
}

// Whoever asks somebody else about a token says so, wherever the token stands: a turn and a slot are for others then.
func TestAskingIsWaiting(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	der, _ := certificate(t)
	raw := iss.mint(t, "anna", "")
	for name, c := range map[string]*client{"token": sends(raw), "context": sendsSCRAM("correct", nil)} {
		w := &waiter{client: c}
		judge := &asking{Verifier: iss.set, waits: &w.waits}
		rule, req := Rule{Name: name, Method: claimpool.MethodJWT, Issuers: judge}, overTLS("anna", der)
		if name == "context" {
			rule, req = Rule{Name: name, Method: claimpool.MethodSCRAM, Userlist: list(t), Contexts: judge}, brought(req, raw)
		}
		a := newAuth(t, rule)
		id, err := a.Authenticate(t.Context(), req, w)
		if err != nil || judge.told != 1 || w.waits != 0 {
			t.Fatalf("%s: said %d times that it waits, want 1; %d wait on (%v)", name, judge.told, w.waits, err)
		}
		if _, err := a.Renew(id, Request{Database: "app"}, claimpool.Secret(raw), w.Waiting); err != nil || judge.told != 2 || w.waits != 0 {
			t.Errorf("%s, renewed: said %d times that it waits, want 2; %d wait on (%v)", name, judge.told, w.waits, err)
		}
	}
}
