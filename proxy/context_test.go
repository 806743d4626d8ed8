package proxy_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// passwordsToo lets in the user "app" with the password "secret" before all others. taken says whose tokens it may bring as its
// context: "the issuer's", or "" for nobody's.
func passwordsToo(taken string) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		o.Pool = pgtest.DefaultPool()
		rule := auth.Rule{Name: "app", Users: []string{"app"}, TLS: auth.TLSRequired, Method: claimpool.MethodMD5, Role: o.Role, Userlist: appUsers}
		if taken != "" {
			rule.Contexts = o.Rules[0].Issuers
		}
		o.Rules = append([]auth.Rule{rule}, o.Rules...)
	}
}

var appUsers = func() *auth.Userlist {
	l, err := auth.ParseUserlist([]byte(`"app" "secret"`))
	if err != nil {
		panic(err) // cannot happen: it is our own
	}
	return l
}()

// startPassword begins a login as "app" and stops before the password.
func (f *tenants) startPassword(t testing.TB, params ...[2]string) *peer {
	t.Helper()
	p := (&plain{Proxy: f.Proxy}).dialTLS(t)
	return p.start(wire.Version30, "app", append([][2]string{{"database", f.database}}, params...)...)
}

// password answers the proxy's md5 request.
func (p *peer) password(user, password string) *peer {
	p.t.Helper()
	typ, body, err := wire.ReadMessage(p, 1<<10)
	if err != nil || typ != wire.MsgAuthentication || len(body) != 8 {
		p.t.Fatalf("the proxy asks %c %q %v", typ, body, err)
	}
	p.send(wire.AppendPassword(nil, []byte(md5Proof(user, password, body[4:]))))
	return p
}

func (f *tenants) withPassword(t testing.TB, params ...[2]string) *peer {
	t.Helper()
	return f.startPassword(t, params...).password("app", "secret").ready()
}

// TestContextOnTopOfAPassword: an application with a password brings the token of the person that it works for.
func TestContextOnTopOfAPassword(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			f := startTenants(t, pgtest.Newest(t), func(o *pgtest.ProxyOptions) {
				passwordsToo("the issuer's")(o)
				o.Pool.Mode, o.Pool.Size = mode, 5
			})
			none := f.withPassword(t)
			a := f.withPassword(t, [2]string{"options", "-c jwt.context=" + f.fresh("t1", "t1")}, [2]string{"TimeZone", "Asia/Tokyo"})
			b := f.withPassword(t, [2]string{"JWT.Context", f.fresh("t2", "t2")})
			for range 3 {
				a.expect(whoami, rowsOf("t1"))
				b.expect(whoami, rowsOf("t2"))
				none.expect(whoami, "T D(nobody 0) C(SELECT 1) Z(I)")
			}
			a.expect("SELECT coalesce(current_setting('jwt.context', true), '') || current_setting('TimeZone')", "T D(Asia/Tokyo) C(SELECT 1) Z(I)")
			a.expect(renewal(f.fresh("t1", "t3")), "C(SET) Z(I)")
			a.expect(whoami, rowsOf("t3"))
			a.expect(renewal(f.fresh("t2", "t2")), "E(28000) Z(I)")
			a.expect(whoami, rowsOf("t3"))
			if log := f.Log.String(); !strings.Contains(log, "role=app method=md5 identity=user-of-t1@https://issuer.test") {
				t.Error("the log does not say for whom the application works")
			}
		})
	}
}

// TestAttackContextOnTopOfAPassword: the attacker has the application's password, or none, and tokens that are not good enough.
//
// Must: He does not get in with any of them, does not learn from the answer without the password whether contexts are taken,
// and none of them comes to light.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackContextOnTopOfAPassword(t *testing.T) {
	eachDialect(t, []string{sql, native}, attackContext)
}

func attackContext(t *testing.T, start starter) {
	f := start(t, passwordsToo("the issuer's"))
	stranger := pgtest.NewIssuer(t, "https://issuer.test")
	other := pgtest.NewIssuer(t, "https://other.test")
	good := f.fresh("t1", "t1")
	tokens := map[string]string{
		"forged": good[:len(good)-6] + "AAAAAA", "signed by a stranger": stranger.Mint("user-of-t1", map[string]any{"tenant_id": "t1"}),
		"of another issuer": other.Mint("user-of-t1", nil), "expired": f.issuer.Mint("user-of-t1", map[string]any{"iat": 1000, "exp": 2000}),
		"unsigned": unsigned(good), "no token": "hello", "for another service": f.issuer.Mint("user-of-t1", map[string]any{"aud": "else"}),
	}
	secrets := []string{good}
	for name, token := range tokens {
		secrets = append(secrets, token)
		p := f.startPassword(t, [2]string{"options", "-c jwt.context=" + token}).password("app", "secret")
		if got := p.gone(); got != "E(28000 fatal) EOF" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, options := range map[string]string{"as an argument": "jwt.context=" + good, "by itself": good, "without a value": "-c " + good} {
		p := f.startPassword(t, [2]string{"options", options}).password("app", "secret")
		if got := p.gone(); got != "R E(42601 fatal) EOF" && got != "E(42601 fatal) EOF" {
			t.Errorf("%s: %s", name, got)
		}
	}
	p := f.startPassword(t, [2]string{"jwt.context", good}).password("app", "wrong")
	if got := p.gone(); got != "E(28P01 fatal) EOF" {
		t.Errorf("with a wrong password: %s", got)
	}
	closed := start(t, passwordsToo(""))
	mine := closed.fresh("t1", "t1")
	if got := closed.startPassword(t, [2]string{"jwt.context", mine}).password("app", "secret").gone(); got != "E(28000 fatal) EOF" {
		t.Errorf("where no contexts are taken: %s", got)
	}
	if got := closed.startPassword(t, [2]string{"jwt.context", mine}).password("app", "wrong").gone(); got != "E(28P01 fatal) EOF" {
		t.Errorf("there, with a wrong password: %s", got)
	}
	f.hidden(t, secrets...)
	closed.hidden(t, mine)
}
