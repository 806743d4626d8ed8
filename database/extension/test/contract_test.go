package extension_test

import (
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// answer is the one value of a query: "NULL" for null, the SQLSTATE for an error.
func (c *client) answer(sql string) string {
	c.t.Helper()
	if r := c.exec(sql); r.code() != "" {
		return r.code()
	} else if len(r.rows) == 1 && len(r.rows[0]) == 1 {
		return r.rows[0][0]
	}
	return "no row"
}

func (c *client) reads(readings []pgtest.Reading) {
	c.t.Helper()
	for _, r := range readings {
		if got := c.answer(r.SQL); got != r.Want {
			c.t.Errorf("%s: got %s, want %s", r.SQL, got, r.Want)
		}
	}
}

// TestReading: the answers of the SQL dialect, from both of the extension's ways to a context.
func TestReading(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		t.Run("native", func(t *testing.T) {
			c := s.login(t, "plain") // without the gate, so that it can ask before the hand-over
			c.establish(s, s.key)
			c.reads(pgtest.WithoutContext)
			hold := func(claims string) {
				g := c.next("alice")
				g.flags, g.claims = flagSession, claims // errors do not end it
				if r := c.handOver(g); r.dead || len(r.errors) > 0 {
					t.Fatal(describe(r))
				}
			}
			hold(pgtest.ReadingClaims)
			c.reads(pgtest.Readings)
			hold(`{}`)
			c.reads([]pgtest.Reading{{SQL: `select jwt()::text`, Want: "{}"}})
		})
		t.Run("direct", func(t *testing.T) {
			s, key := direct(t, inst)
			admin := s.login(t, "postgres")
			s.set(t, admin, "jwt.compatibility", "on") // the table's claims have no exp
			defer s.set(t, admin, "jwt.compatibility", "off")
			c := s.login(t, "plain")
			c.reads(pgtest.WithoutContext)
			hold := func(claims string) { c.mustExec("set jwt.context = '" + mint(t, key, edHeader, claims) + "'") }
			hold(pgtest.ReadingClaims)
			c.reads(pgtest.Readings)
			hold(`{}`)
			c.reads([]pgtest.Reading{{SQL: `select jwt()::text`, Want: "{}"}})
		})
	})
}
