package proxy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
)

// houses is a proxy before three databases: those of the tenants abc and 7, and "shared", which is nobody's. Each is another database of one
// cluster. Their clients come with tokens, but in "shop7" those from a rule of its own, where an API judges those of the user "jay", and the user "app" with a password.
type houses struct {
	*pgtest.Proxy
	issuer *pgtest.Issuer
	role   string
}

func startHouses(t *testing.T) *houses {
	t.Helper()
	c := pgtest.Shared(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	h := &houses{issuer: pgtest.NewIssuer(t, "https://id.example.com"), role: role}
	tokens := pgtest.JWTRule(t, role, h.issuer)
	tokens.Databases, tokens.Users = []string{"abc", "shared", "console"}, []string{role, "ann"}
	seven := tokens
	seven.Name, seven.Databases = "of seven", []string{"shop7"}
	app := scramRule(t, nil, "app")
	app.Contexts, app.Role = tokens.Issuers, role
	jay := auth.Rule{Name: "jit", Databases: []string{"shop7"}, Users: []string{"jay"}, Method: claimpool.MethodJIT, Role: role}
	o := pgtest.ProxyOptions{
		Cluster: c, Role: role, Password: password, Database: "abc", Rules: []auth.Rule{app, jay, tokens, seven},
		JIT: map[string]*auth.JIT{"shop7": {Ask: func(context.Context, claimpool.Secret, string, string) (*auth.Grant, bool, error) {
			return &auth.Grant{Subject: "jay", Claims: claimpool.Claims(`{"sub":"jay"}`)}, false, nil
		}}},
		Tenants: proxy.Tenants{
			Databases: map[string]string{"abc": "abc", "7": "shop7"}, User: true, Options: true, SNI: true, Claim: "tenant_id",
		},
	}
	h.Proxy = pgtest.StartProxy(t, o)
	cfg := o.Config(t)
	way := func(name string) *server.Config {
		return &server.Config{
			Hosts: []string{c.Address()}, Database: name, ConnectTimeout: patience,
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil },
		}
	}
	for name, db := range map[string]string{"abc": "postgres", "shop7": "template1", "shared": c.NewDatabase(t)} {
		cfg.Databases[name] = choice(cfg.Databases["abc"], way(db))
		cfg.Databases[name].Name = name
	}
	cfg.Console = &proxy.Console{Database: "console", Admits: func(*claimpool.Identity) bool { return false }}
	h.Reload(cfg)
	return h
}

// login gives the database that a client has got, or the SQLSTATE.
func (h *houses) login(t *testing.T, database, user, password, host string, options ...string) (got string, c *pgx.Conn) {
	t.Helper()
	cfg, err := pgx.ParseConfig(h.DSN(database, user, password, "require"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLSConfig.ServerName = host
	if len(options) > 0 {
		cfg.RuntimeParams["options"] = strings.Join(options, " ")
	}
	c, err = pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		return sqlState(err), nil
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	switch name := value(t, c, "SELECT current_database()"); name {
	case "postgres":
		return "abc", c
	case "template1":
		return "shop7", c
	default:
		return "shared", c
	}
}

func (h *houses) token(tenant any) string {
	return h.issuer.Mint("ann", map[string]any{"tenant_id": tenant})
}

// TestTenantClaim: a token gets the database of its tenant, whatever its client asks for.
func TestTenantClaim(t *testing.T) {
	h := startHouses(t)
	for what, test := range map[string]struct {
		database, user string
		tenant         any
		want           string
	}{
		"its own database":                     {"abc", "ann", "abc", "abc"},
		"its own, by a number":                 {"shop7", "ann", 7, "shop7"},
		"its own, by the user name":            {"shared", "ann.abc", "abc", "abc"},
		"nobody's becomes its own":             {"shared", "ann", "abc", "abc"},
		"a tenant without a database":          {"shared", "ann", "other", "shared"},
		"no tenant":                            {"shared", "ann", nil, "shared"},
		"its own, where another rule lets in":  {"shared", "ann", 7, "28000"},
		"another's":                            {"shop7", "ann", "abc", "28000"},
		"another's, without one of its own":    {"abc", "ann", "other", "28000"},
		"a tenant's, without a tenant":         {"abc", "ann", nil, "28000"},
		"a tenant's, with a list of all":       {"abc", "ann", []string{"abc", "7"}, "28000"},
		"a tenant's, with something else":      {"abc", "ann", map[string]any{"abc": true}, "28000"},
		"a tenant's, with a number like its 7": {"shop7", "ann", 7.5, "28000"},
	} {
		if got, _ := h.login(t, test.database, test.user, h.token(test.tenant), "localhost"); got != test.want {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
	if got, _ := h.login(t, "shop7", "jay", "sbp_token", "localhost"); got != "shop7" {
		t.Errorf("who is judged by the database's own API: %s", got)
	}
	if got, _ := h.login(t, "abc", "app", "correct", "localhost"); got != "abc" {
		t.Errorf("who has no token: %s", got)
	}
	if got, _ := h.login(t, "console", "ann", h.token("abc"), "localhost"); got != "42501" {
		t.Errorf("at the console, which is for others: %s", got)
	}
}

// TestAttackTokenOfAnotherTenant: the attacker has good tokens of the tenant abc, and the password of an application that works for people of all
// tenants. He names the database of the tenant 7 in every way, and comes there by a fresh token.
//
// Must: With a token he gets the database of its tenant, or none (28000). A fresh token of another tenant is refused, and
// the connection keeps the claims that it had.
// Dialects: none
func TestAttackTokenOfAnotherTenant(t *testing.T) {
	h := startHouses(t)
	mine, theirs := h.token("abc"), h.token("7")
	for what, try := range map[string]func() (string, *pgx.Conn){
		"the database":             func() (string, *pgx.Conn) { return h.login(t, "shop7", "ann", mine, "localhost") },
		"the user name":            func() (string, *pgx.Conn) { return h.login(t, "abc", "ann.7", mine, "localhost") },
		"the user name, otherwise": func() (string, *pgx.Conn) { return h.login(t, "abc", "ann.cluster.7", mine, "localhost") },
		"options":                  func() (string, *pgx.Conn) { return h.login(t, "abc", "ann", mine, "localhost", "reference=7") },
		"the host":                 func() (string, *pgx.Conn) { return h.login(t, "abc", "ann", mine, "7.localhost") },
		"a context of the other's": func() (string, *pgx.Conn) {
			return h.login(t, "shop7", "app", "correct", "localhost", "-c jwt.context="+mine)
		},
		"a context, for no tenant's database": func() (string, *pgx.Conn) {
			return h.login(t, "shared", "app", "correct", "localhost", "-c jwt.context="+theirs)
		},
	} {
		if got, _ := try(); got != "28000" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got, _ := h.login(t, "abc", "app", "correct", "localhost", "-c jwt.context="+mine); got != "abc" {
		t.Errorf("the application at the right database: %s", got)
	}
	for _, database := range []string{"abc", "shared"} {
		before := map[string]string{"abc": mine, "shared": h.token("other")}[database]
		got, c := h.login(t, database, "ann", before, "localhost")
		if got != database {
			t.Fatalf("%s: %s", database, got)
		}
		if _, err := c.Exec(t.Context(), "SET jwt.context = '"+theirs+"'"); sqlState(err) != "28000" {
			t.Errorf("%s: a fresh token of another tenant: %v", database, err)
		}
		if _, err := c.Exec(t.Context(), "SET jwt.context = '"+before+"'"); err != nil {
			t.Errorf("%s: a fresh token of the same tenant: %v", database, err)
		}
	}
}
