package proxy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
)

// TestAttackListenToAnotherTenant: NOTIFY knows no rights in PostgreSQL. The attacker listens to the channels of another tenant: in every
// spelling, in a function that no text shows, with a name that holds the other's, on a connection that is his alone, and behind
// claims that have changed.
//
// Must: Nobody may hear what the templates of databases.NAME.channels do not give to his claims, however he listens.
// Dialects: sql, native
// Not pgbouncer: it passes no notifications in transaction mode, and all of them in session mode
func TestAttackListenToAnotherTenant(t *testing.T) {
	tries := []string{
		`LISTEN tenant_t2_orders`, `LISTEN "tenant_t2_orders"`, `listen/**/TENANT_T2_ORDERS`, `LISTEN U&"tenant_t2\005forders"`,
		`DO $$BEGIN LISTEN tenant_t2_orders; END$$`, `DO $$BEGIN EXECUTE 'LISTEN ' || 'tenant_t2_orders'; END$$`,
		`SELECT 1; LISTEN tenant_t2_orders`, `BEGIN; LISTEN tenant_t2_orders; COMMIT`, `LISTEN tenant_t1_t2_orders`,
		`LISTEN tenant_t1_x; LISTEN tenant_t2_orders`, `LISTEN public`, `LISTEN "tenant_t1_*"`, `LISTEN "*"`,
	}
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for name, choose := range listenChoices {
			t.Run(name, func(t *testing.T) {
				f := start(t, func(o *pgtest.ProxyOptions) {
					choose(o)
					o.Channels = []string{"tenant_${tenant_id}_*"}
				})
				owner, thief := f.connect(t, "t2"), f.connect(t, "t1")
				for _, c := range []*pgx.Conn{owner, thief} {
					if _, err := c.Exec(t.Context(), "LISTEN tenant_"+map[bool]string{true: "t2", false: "t1"}[c == owner]+"_orders"); err != nil {
						t.Fatal(err)
					}
				}
				for _, try := range tries {
					thief.Exec(t.Context(), try) // whatever it answers
					thief.Exec(t.Context(), "ROLLBACK")
				}
				thief.Exec(t.Context(), "BEGIN")
				thief.Exec(t.Context(), "LISTEN tenant_t2_orders")
				thief.Exec(t.Context(), "COMMIT")
				const news = "NOTIFY tenant_t2_orders, 'secret'; NOTIFY tenant_t1_t2_orders, 'secret'; NOTIFY public, 'secret'; " +
					"NOTIFY \"tenant_t1_*\", 'secret'; NOTIFY \"*\", 'secret'; NOTIFY tenant_t1_orders, 'mine'"
				f.cluster.Exec(t, f.database, news)
				if got := hears(t, owner, "tenant_t2_orders secret"); !slices.Equal(got, []string{"tenant_t2_orders secret"}) {
					t.Errorf("the owner heard %q", got)
				}
				if got := hears(t, thief, "tenant_t1_orders mine"); !slices.Equal(slices.DeleteFunc(got, func(s string) bool { return s == "tenant_t1_* secret" }), []string{"tenant_t1_orders mine"}) {
					t.Errorf("the thief heard %q", got)
				}
			})
		}
	})
}

// TestAttackListenWithOldClaims: the attacker listens to a channel of his tenant, and then hands in a token for another tenant, to go on
// hearing the first.
//
// Must: What he may hear must follow his claims, and end with his token.
// Dialects: sql, native
// Not pgbouncer: it knows no claims
func TestAttackListenWithOldClaims(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			listening(o)
			o.Channels = []string{"tenant_${tenant_id}_*"}
		})
		c := f.connect(t, "t1")
		if _, err := c.Exec(t.Context(), "LISTEN tenant_t1_orders"); err != nil {
			t.Fatal(err)
		}
		f.cluster.Exec(t, f.database, "NOTIFY tenant_t1_orders, 'mine'")
		if got := hears(t, c, "tenant_t1_orders mine"); !slices.Equal(got, []string{"tenant_t1_orders mine"}) {
			t.Fatalf("heard %q", got)
		}
		token := f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t2"})
		if _, err := c.Exec(t.Context(), fmt.Sprintf("SET jwt.context = '%s'", token)); err != nil {
			t.Fatal(err)
		}
		f.cluster.Exec(t, f.database, "NOTIFY tenant_t1_orders, 'secret'; NOTIFY tenant_t2_orders, 'not asked for'")
		if got := hears(t, c, ""); got != nil {
			t.Errorf("heard %q", got)
		}
	})
}

// TestAttackListenWithoutTemplates: a database with a context and without templates. The attacker listens to what others may send.
//
// Must: LISTEN must be refused, and nothing must be heard.
// Dialects: sql, native
// Not pgbouncer: it knows no claims
func TestAttackListenWithoutTemplates(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, name := range []string{"shared", "pinned"} {
			f := start(t, listenChoices[name])
			c := f.connect(t, "t1")
			if _, err := c.Exec(t.Context(), "LISTEN news"); sqlState(err) != "42501" {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := c.Exec(t.Context(), "DO $$BEGIN LISTEN news; END$$"); err != nil {
				t.Errorf("%s: the attack is broken: %v", name, err)
			}
			f.cluster.Exec(t, f.database, "NOTIFY news, 'secret'")
			if got := hears(t, c, ""); got != nil {
				t.Errorf("%s: heard %q", name, got)
			}
		}
	})
}

// TestAttackPinnedLeftovers: the attacker leaves things on a server that was his alone, and lets it go, or closes the connection. The
// victim of another identity gets the server, and one of the same identity does.
//
// Must: Neither may find anything of it.
// Dialects: sql, native
// Not pgbouncer: it pins nothing
func TestAttackPinnedLeftovers(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, chosen(pinned, 1, 1))
		for _, l := range left {
			if l.name == "a channel" {
				continue // refused, without templates
			}
			for how, end := range map[string]func(c *pgx.Conn){
				"by the end of the connection": func(c *pgx.Conn) { c.Close(t.Context()) },
				"in a transaction that would have released it": func(c *pgx.Conn) {
					if _, err := c.Exec(t.Context(), "BEGIN; "+l.take); err != nil {
						t.Errorf("%s in a transaction: %v", l.take, err)
					}
					c.PgConn().Conn().Close()
				},
				"by releasing": func(c *pgx.Conn) {
					if _, err := c.Exec(t.Context(), l.take); err != nil {
						t.Errorf("%s: %v", l.take, err)
					}
				},
			} {
				thief := f.connect(t, "t1")
				if _, err := thief.Exec(t.Context(), l.make); err != nil {
					t.Fatalf("%s: %v", l.make, err)
				}
				if l.name == "an advisory lock" {
					thief.Exec(t.Context(), "SET setting.of = 'the thief'")
				}
				end(thief)
				for _, tenant := range []string{"t2", "t1"} {
					victim := f.connect(t, tenant)
					if got := value(t, victim, l.see); got != "0" {
						t.Errorf("%s, left %s, is found by %s", l.name, how, tenant)
					}
					mustBe(t, victim, tenant)
				}
				thief.Close(t.Context())
			}
		}
	})
}
