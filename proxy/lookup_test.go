package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
)

// lookups is a proxy that knows no password at all: users are looked up in PostgreSQL, and their servers are logged in to with what
// they prove.
type lookups struct {
	*pgtest.Proxy
	cluster        *pgtest.Cluster
	database       string
	user, password string // of an ordinary user
	asker          string // the role that asks, and its password
	secret         string
}

func startLookups(t *testing.T, inst cluster.Installation, change func(*pgtest.ProxyOptions)) *lookups {
	t.Helper()
	c := pgtest.Start(t, inst)
	f := &lookups{cluster: c, database: c.NewDatabase(t)}
	f.user, f.password = c.NewRole(t)
	f.asker, f.secret = c.NewRole(t)
	admin := c.Connect(t, f.database, cluster.Superuser, "")
	plan, err := database.PlanInstall(t.Context(), admin, database.Options{With: []string{"lookup"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Run(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, f.database, fmt.Sprintf("GRANT USAGE ON SCHEMA claimpool_lookup TO %[1]s; GRANT EXECUTE ON FUNCTION claimpool_lookup.password TO %[1]s", f.asker))
	way := &server.Config{
		Hosts: []string{c.Address()}, Database: f.database, Role: f.asker,
		Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(f.secret), nil },
	}
	lookup := server.NewLookup(way, "SELECT claimpool_lookup.password($1)")
	t.Cleanup(lookup.Close)
	keys := new(auth.Keys)
	o := pgtest.ProxyOptions{
		Cluster: c, Database: f.database, Keys: keys,
		Server: &server.Config{Hosts: []string{c.Address()}, Database: f.database},
		Rules: []auth.Rule{{
			Name: "users", Method: claimpool.MethodSCRAM, Keys: keys,
			Lookup: auth.NewLookup(map[string]auth.Asked{f.database: {Source: lookup, MaxAge: time.Minute}}, nil),
		}},
	}
	if change != nil {
		change(&o)
	}
	f.Proxy = pgtest.StartProxy(t, o)
	return f
}

// who logs in and asks PostgreSQL who that was; or gives the SQLSTATE and the text of the refusal.
func (f *lookups) who(t testing.TB, user, password, mode string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), f.DSN(f.database, user, password, mode))
	if err != nil {
		return err.Error()
	}
	defer c.Close(context.Background())
	return value(t, c, "SELECT session_user || ' ' || current_setting('search_path')")
}

// TestPasswordsFromTheServer: nothing but the look-up role's password is known to the proxy.
func TestPasswordsFromTheServer(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startLookups(t, inst, nil)
		const path = ` "$user", public`
		for _, mode := range []string{"disable", "require"} { // with TLS by SCRAM-SHA-256-PLUS, where the client can
			if got := f.who(t, f.user, f.password, mode); got != f.user+path {
				t.Errorf("sslmode %s: %s", mode, got)
			}
			for _, wrong := range [][2]string{{f.user, "wrong"}, {"nobody", "wrong"}, {f.user + " ", f.password}} {
				if got := f.who(t, wrong[0], wrong[1], mode); !strings.Contains(got, `password authentication failed for user "`+wrong[0]+`" (SQLSTATE 28P01)`) {
					t.Errorf("%s: %s", wrong, got)
				}
			}
		}
		other, password := f.cluster.NewRole(t)
		if got := f.who(t, other, password, "disable"); got != other+path {
			t.Errorf("a new user: %s", got)
		}
		f.cluster.Exec(t, "postgres", fmt.Sprintf("ALTER ROLE %s PASSWORD 'another one'", other))
		soon(t, "the new password is good", func() bool { return f.who(t, other, "another one", "disable") == other+path })
		if got := f.who(t, other, password, "disable"); !strings.Contains(got, "28P01") {
			t.Errorf("with the old password: %s", got)
		}
		f.cluster.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", f.asker))
		if got := f.who(t, "third", "wrong", "disable"); !strings.Contains(got, "28P01") {
			t.Errorf("after the look-up's connection was cut: %s", got)
		}
		if found := f.cluster.LogHas(t, "SCRAM-SHA-256$"); len(found) > 0 || strings.Contains(f.Log.String(), "SCRAM-SHA-256$") {
			t.Error("a verifier is in a log")
		}
	})
}

// TestAttackLookupGivesAway: an ordinary user of a database with look-ups wants stored passwords, of others and of superusers: by the
// function, by what he puts into its way, and by the proxy's own connection.
//
// Must: He gets none. The look-up role itself is not told those of superusers, of who may replicate, or of who may not log in.
// Dialects: none
func TestAttackLookupGivesAway(t *testing.T) {
	f := startLookups(t, pgtest.Newest(t), nil)
	f.cluster.Exec(t, f.database, "CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'x'; CREATE ROLE copy REPLICATION LOGIN PASSWORD 'x'; "+
		"CREATE ROLE off NOLOGIN PASSWORD 'x'; CREATE ROLE late LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'; GRANT CREATE ON SCHEMA public TO "+f.user)
	user := f.cluster.Connect(t, f.database, f.user, f.password)
	for _, sql := range []string{
		"SELECT claimpool_lookup.password('boss')", "SELECT rolpassword FROM pg_authid", "SELECT passwd FROM pg_shadow",
		"ALTER FUNCTION claimpool_lookup.password(text) OWNER TO CURRENT_USER", "SET ROLE claimpool_owner", "CREATE FUNCTION claimpool_lookup.password(name) RETURNS text RETURN 'x'",
	} {
		if v, err := fetch(t.Context(), user, sql); sqlState(err) != "42501" {
			t.Errorf("%s gave %s, %v", sql, deref(v), err)
		}
	}
	// What he can make: objects of the same names, where a path could find them.
	run(t, user, "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trojan''; END'")
	run(t, user, "CREATE TEMP TABLE pg_authid (rolname name, rolpassword text)")
	asker := f.cluster.Connect(t, f.database, f.asker, f.secret)
	run(t, asker, "SET search_path = public, pg_catalog")
	for _, name := range []string{"boss", "copy", "off", "late", "postgres", "claimpool_owner", "nobody"} {
		if v, err := fetch(t.Context(), asker, "SELECT claimpool_lookup.password($1)", name); err != nil || v != nil {
			t.Errorf("the look-up role got %v of %s, %v", deref(v), name, err)
		}
	}
	if got := value(t, asker, "SELECT left(claimpool_lookup.password($1), 14)", f.user); got != "SCRAM-SHA-256$" {
		t.Errorf("the look-up role got %q of an ordinary user", got)
	}
	for _, sql := range []string{"SELECT rolpassword FROM pg_authid", "SELECT passwd FROM pg_shadow"} {
		if v, err := fetch(t.Context(), asker, sql); sqlState(err) != "42501" {
			t.Errorf("the look-up role: %s gave %s, %v", sql, deref(v), err)
		}
	}
	if s, err := database.Status(t.Context(), f.cluster.Connect(t, f.database, cluster.Superuser, ""), f.asker); err != nil ||
		!strings.Contains(strings.Join(s.Problems, "\n"), "may call claimpool_lookup.password(text), and so read the stored passwords") {
		t.Errorf("status does not warn of a pool's role that may look up: %v %v", s, err)
	}
}

// TestAttackLookupConnection: a client sends settings and names that would change what the look-up's query means, if they reached its
// connection.
//
// Must: Nothing of the client is on it but the user name, as a parameter: he is refused like anybody, and the next login works.
// Dialects: none
func TestAttackLookupConnection(t *testing.T) {
	f := startLookups(t, pgtest.Newest(t), nil)
	f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.asker+" SET search_path = public")
	f.cluster.Exec(t, f.database, "CREATE SCHEMA trap; CREATE FUNCTION trap.password(text) RETURNS text RETURN 'md5'; GRANT USAGE ON SCHEMA trap TO PUBLIC")
	for _, name := range []string{"x') UNION SELECT passwd FROM pg_shadow --", "$1", "\\", "'", strings.Repeat("é", 40), "a\tb"} {
		cfg, err := pgx.ParseConfig(f.DSN(f.database, "x", "wrong", "disable"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.User = name
		cfg.RuntimeParams = map[string]string{"search_path": "trap", "options": "-c search_path=trap -c statement_timeout=1"}
		if c, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
			c.Close(t.Context())
			t.Errorf("user %q is in", name)
		} else if !strings.Contains(err.Error(), "28P01") {
			t.Errorf("user %q: %v", name, err)
		}
	}
	if got := f.who(t, f.user, f.password, "disable"); !strings.HasPrefix(got, f.user) {
		t.Error(got)
	}
	admin := f.cluster.Connect(t, "postgres", cluster.Superuser, "")
	if got := value(t, admin, "SELECT string_agg(application_name || ': ' || query, '; ') FROM pg_stat_activity WHERE usename = $1", f.asker); got != "claimpool look-up: SELECT claimpool_lookup.password($1)" {
		t.Errorf("on the look-up's connection: %s", got)
	}
}
