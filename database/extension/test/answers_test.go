package extension_test

import (
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestHeldAnswersCome: whatever switch() was told of calls that follow, and whatever does follow, nobody waits for an answer.
func TestHeldAnswersCome(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		c.become("t0")
		pid, fails := call(c.function("pg_backend_pid()")), call(c.function("pg_catalog.inet_same_family(inet,inet)"))
		query := &pgproto3.Query{String: "select jwt('tenant')"}
		batch := []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: "select jwt('tenant')"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{},
		}
		rows := []struct {
			name    string
			behind  []pgproto3.FrontendMessage
			answers int
			values  int
		}{
			{"nothing", nil, 1, 0},
			{"a call", []pgproto3.FrontendMessage{pid}, 2, 0},
			{"a query", []pgproto3.FrontendMessage{query}, 2, 1},
			{"a batch", batch, 2, 1},
			{"two calls and a query", []pgproto3.FrontendMessage{pid, pid, query}, 4, 1},
			{"two queries", []pgproto3.FrontendMessage{query, query}, 3, 2},
			{"a call that fails and a query", []pgproto3.FrontendMessage{fails, query}, 3, 0},
			{"a query that fails and another", []pgproto3.FrontendMessage{&pgproto3.Query{String: "select 1/0"}, query}, 3, 0},
		}
		for _, following := range []byte{0, 1, 2, 3, 254, 255} {
			for _, row := range rows {
				g := c.next("t1")
				g.following = following
				c.send(append([]pgproto3.FrontendMessage{call(c.switcher, g.bytes(c.key))}, row.behind...)...)
				values := 0
				for i := range row.answers {
					r := c.receive()
					if r.dead {
						t.Fatalf("%d calls announced, %s sent: answer %d: %s", following, row.name, i, describe(r))
					}
					for _, v := range r.rows {
						if v[0] != "t1" {
							t.Errorf("%d calls announced, %s sent: %s", following, row.name, v[0])
						}
						values++
					}
				}
				if values != row.values {
					t.Errorf("%d calls announced, %s sent: %d rows", following, row.name, values)
				}
				c.become("t2")
			}
		}
	})
}
