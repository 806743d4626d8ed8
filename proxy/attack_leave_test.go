package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

var copyIn = wire.AppendQuery(nil, "COPY own_notes FROM STDIN")

// TestAttackLeave: the attacker leaves in the middle of everything, politely or not, with one server connection in the pool.
//
// Must: What he had begun is undone, and the next client is served at once, by the same server connection only where that is
// in step, and sees nothing of him.
// Dialects: sql, native, pgbouncer
func TestAttackLeave(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "CREATE TABLE own_notes (body text); GRANT ALL ON own_notes TO "+f.role)
		b := f.connect(t, "t2")
		insert := "INSERT INTO own_notes VALUES ('from a')"
		half := wire.AppendQuery(nil, "SELECT 1 /* "+strings.Repeat("x", 40_000)+" */")
		for _, test := range []struct {
			name string
			do   [][]byte // each waits for an answer, but for the last
			in   bool     // the last one is not answered to the end
		}{
			{"in a transaction", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert)}, false},
			{"in a failed transaction", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert+"; SELECT 1/0")}, false},
			{"in COPY", [][]byte{wire.AppendCopyData(copyIn, []byte("from a\n"))}, true},
			{"in COPY by the extended protocol", [][]byte{wire.AppendSync(extended("COPY own_notes FROM STDIN"))}, true},
			{"in the middle of COPY data", [][]byte{append(copyIn, wire.AppendCopyData(nil, []byte(strings.Repeat("from a\n", 9)))[:20]...)}, true},
			{"in a COPY to him", [][]byte{wire.AppendQuery(nil, "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT")}, true},
			{"in a batch without Sync", [][]byte{wire.AppendFlush(extended(insert))}, true},
			{"behind a failed batch without Sync", [][]byte{wire.AppendFlush(append(extended(insert), extended("SELECT 1/0")...))}, true},
			{"in a batch without Sync in a transaction", [][]byte{wire.AppendQuery(nil, "BEGIN"), wire.AppendFlush(extended(insert))}, true},
			{"with a query behind a batch without Sync", [][]byte{wire.AppendQuery(extended("SELECT 2"), "SELECT 1")}, true},
			{"in the middle of a message", [][]byte{half[:30_000]}, true},
			{"in the middle of a message in a transaction", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert), half[:30_000]}, true},
			{"in the middle of a header", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert), half[:3]}, true},
			{"in a query", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert), wire.AppendQuery(nil, "SELECT pg_sleep(60)")}, true},
			{"in a pipeline", [][]byte{append(wire.AppendQuery(nil, "BEGIN; "+insert), wire.AppendQuery(nil, "SELECT pg_sleep(60)")...)}, true},
			{"in an answer that he does not read", [][]byte{wire.AppendQuery(nil, "SELECT repeat('x', 1000000) FROM generate_series(1, 100)")}, true},
			{"with a portal half read", [][]byte{wire.AppendQuery(nil, "BEGIN; "+insert),
				wire.AppendFlush(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SELECT generate_series(1, 9)"), "", "", nil), "", 1))}, true},
		} {
			for _, goodbye := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, goodbye %v", test.name, goodbye), func(t *testing.T) {
					a := f.raw(t, "t1")
					for i, messages := range test.do {
						if goodbye { // what was asked before is carried out, as PostgreSQL does
							messages = bytes.ReplaceAll(messages, []byte("sleep(60)"), []byte("sleep(00)"))
						}
						a.send(messages)
						if i < len(test.do)-1 || !test.in {
							if got := a.answer(); !strings.HasSuffix(got, "Z(T)") && !strings.HasSuffix(got, "Z(E)") {
								t.Errorf("the attack is broken: %s", got)
							}
						}
					}
					if !goodbye && test.name == "in a query" {
						f.busy(t)
					}
					if goodbye {
						a.send(wire.AppendTerminate(nil))
					}
					a.Close()
					began := time.Now()
					mustBe(t, b, "t2")
					if held := time.Since(began); held > prompt {
						t.Errorf("the next client waited for %v", held)
					}
					if got := value(t, b, "SELECT count(*)::text FROM own_notes"); got != "0" {
						t.Errorf("%s rows of the attacker's transaction were committed", got)
						f.cluster.Exec(t, f.database, "TRUNCATE own_notes")
					}
				})
			}
		}
		b.Close(t.Context())
		if f.dialect != bouncer { // it leaves PostgreSQL alone with the queries of those who are gone
			f.atRest(t, 0, 1)
		}
	})
}

// extended is a statement by the extended protocol, without Sync.
func extended(sql string) []byte {
	return wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", sql), "", "", nil), "", 0)
}

// busy waits until a server connection sleeps.
func (f *tenants) busy(t *testing.T) {
	t.Helper()
	admin := f.admin(t)
	soon(t, "for the query to run", func() bool {
		return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND usename = $1", f.role) == "1"
	})
}

// TestAttackDiscardFails: the attacker makes the reset fail: with a statement timeout of 1 ms and hundreds of temporary
// tables, and with a lock that a second session of his holds on his temporary table.
//
// Must: The timeout does nothing, because the settings are reset first, or costs the server connection. With the lock, the server
// connection is closed, the neighbour is served by another one, and what waits for the lock ends with it.
// Dialects: sql, native
// Not pgbouncer: it resets nothing; what that means is TestAttackLeftOverState
func TestAttackDiscardFails(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		accomplice, a, b := f.connect(t, "t3"), f.connect(t, "t1"), f.connect(t, "t2")
		run(t, accomplice, "BEGIN") // has one of the two servers
		run(t, a, "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TEMP TABLE note_%s (x int); CREATE INDEX ON note_%s (x)', i, i); END LOOP; END $$")
		pid := backend(t, a)
		run(t, a, "SET statement_timeout = 1")
		mustBe(t, b, "t2")
		// On a busy machine a millisecond may be over before the extension's switch() has begun, which ends the timeout.
		slow := f.dialect == native && strings.Contains(f.Log.String(), `err="canceling statement due to statement timeout"`)
		if backend(t, b) != pid && !slow {
			t.Errorf("300 tables and a timeout cost a server connection")
		}

		run(t, a, "CREATE TEMP TABLE note (tenant text)")
		pid = backend(t, a)
		run(t, accomplice, "DROP OWNED BY CURRENT_USER") // locks all that the role owns, in other sessions too
		began := time.Now()
		mustBe(t, b, "t2")
		if held := time.Since(began); held > 15*time.Second {
			t.Errorf("the neighbour waited for %v", held)
		}
		if backend(t, b) == pid {
			t.Errorf("the neighbour got server connection %s, which could not be reset", pid)
		}
		run(t, accomplice, "ROLLBACK")
		admin := f.admin(t)
		soon(t, "for the stuck server connection to end", func() bool {
			return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE pid = $1::int", pid) == "0"
		})
		if !strings.Contains(f.Log.String(), "reason=handover_failed") {
			t.Error("the log does not say why the server connection was closed")
		}
	})
}

// TestAttackSlowHandOver: the attacker makes the reset wait for a lock for longer than a seal is good for.
//
// Must: The neighbour waits, and is served with a new seal.
// Dialects: sql, native
// Not pgbouncer: it resets nothing
func TestAttackSlowHandOver(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(2)(o)
			window(o, time.Second)
		})
		accomplice, a, b := f.connect(t, "t3"), f.connect(t, "t1"), f.connect(t, "t2")
		run(t, accomplice, "BEGIN") // has one of the two servers
		run(t, a, "CREATE TEMP TABLE note (tenant text)")
		pid := backend(t, a)
		run(t, accomplice, "DROP OWNED BY CURRENT_USER") // locks all that the role owns, in other sessions too
		unlocked := make(chan error, 1)
		time.AfterFunc(1500*time.Millisecond, func() {
			_, err := accomplice.Exec(context.Background(), "ROLLBACK")
			unlocked <- err
		})
		mustBe(t, b, "t2")
		if err := <-unlocked; err != nil {
			t.Error(err)
		}
		if backend(t, b) != pid {
			t.Error("the neighbour was given another server connection: nothing was tested")
		}
	})
}

// victim is a client who comes back whenever his connection has been ended by force.
type victim struct {
	*peer
	f      *tenants
	tenant string
	errors int
}

// check asks until there is an answer, which must be his own.
func (v *victim) check(t *testing.T) {
	t.Helper()
	soon(t, "for an answer to "+v.tenant, func() bool {
		if v.peer == nil {
			v.peer = v.f.raw(t, v.tenant)
		}
		switch got := v.put(whoami); {
		case got == "T D("+own(v.tenant)+") C(SELECT 1) Z(I)":
			return true
		case v.f.ended(got):
			v.peer = nil
			v.errors++
		default:
			t.Fatalf("%s is answered %s", v.tenant, got)
		}
		return false
	})
}

// ended reports whether an answer says that the server connection was ended; PgBouncer has a code of its own for it.
func (f *tenants) ended(answer string) bool {
	return strings.Contains(answer, "E(57P01 fatal)") || strings.Contains(answer, "E(08006 fatal)") || f.dialect == bouncer && strings.Contains(answer, "E(08P01 fatal)")
}

// TestAttackTerminate: the attacker calls pg_terminate_backend on the shared server connections in every phase of his
// neighbours' work.
//
// Must: Their transactions end with PostgreSQL's own error, never with foreign rows, and the next ones run.
// Dialects: sql, native, pgbouncer
func TestAttackTerminate(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		b, c := &victim{f: f, tenant: "t2"}, &victim{f: f, tenant: "t3"}
		admin := f.admin(t)
		for _, phase := range []struct{ sql, state string }{
			{"SELECT 1", "idle"},
			{"BEGIN; SELECT 1", "idle in transaction"},
			{"BEGIN; SELECT 1/0", "idle in transaction (aborted)"},
			{"SELECT pg_sleep(60)", "active"},
			{"BEGIN; SELECT pg_sleep(60)", "active"},
			{"COPY (SELECT pg_sleep(1) FROM generate_series(1, 60)) TO STDOUT", "active"},
		} {
			b.check(t)
			c.check(t)
			b.query(phase.sql)
			if phase.state != "active" {
				b.answer()
			}
			soon(t, "for a server connection to be "+phase.state, func() bool {
				return value(t, admin, `SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity
					WHERE usename = $1 AND state = $2 AND backend_type = 'client backend' AND (state <> 'active' OR query LIKE '%pg_sleep%')`, f.role, phase.state) != "0"
			})
			if phase.state != "idle" {
				b.query("SELECT 'too late'")
				if got := everything(b.peer); !f.ended(got) || strings.Contains(got, "late") {
					t.Errorf("%s: %s", phase.sql, got)
				}
				b.peer = nil
			}
		}
		b.check(t)
		c.check(t)
	})
}
