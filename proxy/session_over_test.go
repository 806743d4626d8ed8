package proxy_test

import (
	"testing"

	"github.com/claimpool/claimpool/pool"
)

// TestSessionsMakeTheirTemporarySchema: PostgreSQL gives a connection a schema for temporary objects with the first of them, and for as long
// as it lasts. So in session mode a server whose session has made one is not given to another; all others are.
func TestSessionsMakeTheirTemporarySchema(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 1))
	const pid, schema = "SELECT pg_backend_pid()::text", "SELECT pg_my_temp_schema()::text"
	before, anew := "", true
	for i, test := range []struct {
		does string
		anew bool // the next session gets a new server
	}{
		{"SELECT 1", false},
		{"SET DateStyle = german; LISTEN x", false},
		{"CREATE TEMP TABLE mine (x int)", true},
		{"SELECT 1", false},
		{"BEGIN; CREATE TEMP TABLE mine (x int); COMMIT; DROP TABLE mine", true},
		{"BEGIN", false},
		{"DO $$ BEGIN CREATE TEMP TABLE mine (x int); END $$", true},
		{"BEGIN; CREATE TEMP TABLE mine (x int)", false}, // rolled back
		{"SELECT 1", false},
	} {
		p := f.login(t)
		if got := p.one(schema); got != "0" {
			t.Errorf("session %d begins with the schema %s", i, got)
		}
		now := p.one(pid)
		if (now != before) != anew {
			t.Errorf("session %d has server %s, and the one before it %s", i, now, before)
		}
		p.ask(test.does)
		before, anew = now, test.anew
		p.leave()
	}
	if got := f.PoolStats().Closed[pool.SessionOver]; got != 3 {
		t.Errorf("%d servers were closed", got)
	}
}

// TestSessionOverDuringARenewal: the same for a session that ends while its context is put on again.
func TestSessionOverDuringARenewal(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f, v := behindValve(t, start, inMode(pool.Session, 1))
		for i, does := range []string{"CREATE TEMP TABLE mine (x int)", "SELECT 1"} {
			p := f.raw(t, "t1")
			p.ask(does)
			p.expect("RESET ALL", "C(RESET) Z(I)") // the next request needs a context
			v.Shut()
			p.query("SELECT 1")
			soon(t, "the context is put on", func() bool { return len(v.Kept()) > 0 })
			p.Close()
			soon(t, "the client has left", func() bool { return f.Clients() == 0 })
			v.Open()
			next := f.raw(t, "t1")
			if got := next.one("SELECT pg_my_temp_schema()::text || coalesce(to_regclass('mine')::text, '')"); got != "0" {
				t.Errorf("behind %s the next session finds %s", does, got)
			}
			next.leave()
			soon(t, "it has left, too", func() bool { st := f.PoolStats(); return st.Leased+st.Opening == 0 })
			if st := f.PoolStats(); st.Closed[pool.SessionOver] != 1 || st.Opened != 2 {
				t.Errorf("%d: %d server connections were opened, %d closed", i, st.Opened, st.Closed[pool.SessionOver])
			}
		}
	})
}
