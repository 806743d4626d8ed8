package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// pinned are the choices that keep a server with its client.
var pinned = feature.Choices{
	Listen: feature.Pin, AdvisoryLocks: feature.Pin, TemporaryTables: feature.Pin, WithHold: feature.Pin, Set: feature.Pin, Prepare: feature.Pin,
}

var refusing = feature.Choices{
	Listen: feature.Refuse, AdvisoryLocks: feature.Refuse, TemporaryTables: feature.Refuse, WithHold: feature.Refuse,
	Set: feature.Refuse, Prepare: feature.Refuse,
}

// chosen gives the proxy a pool with choices, of which pins servers may be pinned.
func chosen(c feature.Choices, size, pins int) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		poolOf(size)(o)
		o.Pool.Pins = pins
		o.Features = c
	}
}

// left are requests that leave something behind, what takes it away, and what shows it.
var left = []struct{ name, make, made, take, see string }{
	{"an advisory lock", "select pg_advisory_lock(7)", "T D() C(SELECT 1) Z(I)", "select pg_advisory_unlock(7)",
		"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"},
	{"a temporary table", "create temp table scratch (a int)", "C(CREATE TABLE) Z(I)", "drop table scratch",
		"select count(*)::text from pg_class where relnamespace = pg_my_temp_schema()"},
	{"a cursor with hold", "declare c cursor with hold for select 1", "C(DECLARE CURSOR) Z(I)", "close c",
		"select count(*)::text from pg_cursors where is_holdable"},
	{"a statement", "prepare p as select 1", "C(PREPARE) Z(I)", "deallocate p",
		"select count(*)::text from pg_prepared_statements where from_sql"},
	{"a channel", "listen news", "C(LISTEN) Z(I)", "unlisten news", "select count(*)::text from pg_listening_channels()"},
	{"a setting", "set work_mem = '77MB'", "C(SET) Z(I)", "reset work_mem",
		"select (current_setting('work_mem') = '77MB')::int::text"},
}

// pins waits until so many servers are pinned: PostgreSQL is asked behind the answer.
func (f *plain) pins(t testing.TB, what string, n int) {
	t.Helper()
	soon(t, what, func() bool { return f.PoolStats().Pinned == n })
}

// TestPinnedServersStayWithTheirClients: until what was left has been taken away, by itself or with everything.
func TestPinnedServersStayWithTheirClients(t *testing.T) {
	f := startPlain(t, chosen(pinned, 2, 1))
	a, b := f.login(t), f.login(t)
	for _, l := range left {
		for _, take := range []string{l.take, "discard all"} {
			a.expect(l.make, l.made)
			pid := a.one("select pg_backend_pid()::text")
			f.pins(t, l.name+" pins", 1)
			for range 3 {
				if other := b.one("select pg_backend_pid()::text"); other == pid {
					t.Errorf("%s: somebody else got the server", l.name)
				}
				if again := a.one("select pg_backend_pid()::text"); again != pid {
					t.Errorf("%s: the client got another server", l.name)
				}
			}
			if n := a.one(l.see); n != "1" {
				t.Errorf("%s is not there", l.name)
			}
			a.ask(take)
			f.pins(t, take+" releases "+l.name, 0)
			for range 3 {
				if n := b.one(l.see); n != "0" {
					t.Errorf("%s, behind %s: somebody else finds it", l.name, take)
				}
			}
		}
	}
	if log := f.Log.String(); strings.Count(log, `msg="server connection pinned"`) != 2*len(left) || !strings.Contains(log, "reason=advisory_locks") ||
		strings.Count(log, `msg="server connection unpinned"`) != 2*len(left) {
		t.Errorf("the log does not show it:\n%s", log)
	}
}

// TestNothingLeftIsNoPin: PostgreSQL is asked what there is, so that what has not come about pins nothing.
func TestNothingLeftIsNoPin(t *testing.T) {
	f := startPlain(t, chosen(pinned, 1, 1))
	a, b := f.login(t), f.login(t)
	for _, query := range []string{
		"begin; create temp table t (a int); rollback", "create temp table t (a int) on commit drop", "select pg_advisory_xact_lock(1)",
		"select 'pg_advisory_lock'", "prepare p as nonsense", "set local work_mem = '1MB'", "begin; listen x; rollback",
		"select pg_advisory_lock(3); select pg_advisory_unlock(3)",
	} {
		a.ask(query)
		if st := f.PoolStats(); st.Pinned != 0 {
			t.Errorf("%s pins", query)
		}
		if got := b.ask("select 1"); got != "T D(1) C(SELECT 1) Z(I)" {
			t.Errorf("behind %s: %s", query, got)
		}
	}
	if got := a.ask("begin; prepare p as select 'own'; execute p; commit; select 1"); !strings.Contains(got, "D(own)") {
		t.Error(got)
	}
	f.pins(t, "a request of several statements pins", 1)
	a.expect("execute p", "T D(own) C(SELECT 1) Z(I)")
}

// TestPinsByPreparedStatements: what a statement does counts when it is executed, on whatever server that is.
func TestPinsByPreparedStatements(t *testing.T) {
	f := startPlain(t, chosen(pinned, 2, 2))
	a, b := f.login(t), f.login(t)
	a.tell(parsed, prepare("lock", "select pg_advisory_lock($1)"))
	a.tell(parsed, prepare("unlock", "select pg_advisory_unlock($1)"))
	for range 3 {
		f.pins(t, "no lock, no pin", 0)
		a.tell("2 D() C(SELECT 1) Z(I)", execute("lock", "5"))
		f.pins(t, "a lock pins", 1)
		if got := b.one("select pg_try_advisory_lock(5)::text"); got != "false" {
			t.Error("two clients have the lock")
		}
		a.tell("2 D(t) C(SELECT 1) Z(I)", execute("unlock", "5"))
	}
	a.tell(parsed, prepare("", "select pg_advisory_lock($1)"))
	for range 2 {
		f.pins(t, "no lock, no pin", 0)
		a.tell("2 D() C(SELECT 1) Z(I)", execute("", "5"))
		f.pins(t, "a lock by a statement without a name pins", 1)
		a.tell("2 D(t) C(SELECT 1) Z(I)", execute("unlock", "5"))
	}
	a.tell("1 2 C(DEALLOCATE) Z(I)", wire.AppendParse(nil, "", "deallocate lock"), execute(""))
	a.tell("E(26000) Z(I)", execute(""))
}

// TestPinsAreBounded: by count, with an error in the place of the request; and by time, with the end of the connection.
func TestPinsAreBounded(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		chosen(pinned, 3, 1)(o)
		o.PinTimeout = 5 * time.Second // longer than all that b asks for takes on a busy machine
	})
	a, b := f.login(t), f.login(t)
	a.expect("select pg_advisory_lock(1)", "T D() C(SELECT 1) Z(I)")
	for _, l := range left {
		b.expect(l.make, "E(53300) Z(I)")
		b.expect(l.see, "T D(0) C(SELECT 1) Z(I)")
	}
	b.tell("E(53300) Z(I)", prepare("", "select pg_advisory_lock($1)"))
	b.tell("E(53300) Z(I)", prepare("named", "select pg_advisory_lock($1)"))
	b.tell("E(26000) Z(I)", execute("named", "1"))
	b.expect("begin", "C(BEGIN) Z(T)")
	b.expect("prepare p as select 1", "E(53300) Z(E)")
	b.expect("rollback", "C(ROLLBACK) Z(I)")
	b.tell("E(53300) Z(I)", wire.AppendQuery(nil, "select pg_advisory_lock(1) /* "+strings.Repeat("x", 300_000)+" */"))
	b.expect("select 1", "T D(1) C(SELECT 1) Z(I)")
	if got := a.gone(); got != "E(57P05 fatal) EOF" {
		t.Error(got)
	}
	b.expect("select pg_advisory_lock(1)", "T D() C(SELECT 1) Z(I)")
	if s := f.state(t); s.Counts.PinsTimedOut != 1 || s.Pool.Pins != 1 && s.Pool.Pins != 2 { // PostgreSQL is asked behind the answer
		t.Errorf("%+v", s)
	}
}

// TestRefusedFeatures: an error with a hint, in simple and extended requests and in transactions.
func TestRefusedFeatures(t *testing.T) {
	f := startPlain(t, chosen(refusing, 1, 1))
	p := f.login(t)
	for _, l := range left {
		p.expect(l.make, "E(0A000) Z(I)")
		p.expect("select 1; "+l.make, "E(0A000) Z(I)")
		p.tell("E(0A000) Z(I)", wire.AppendParse(nil, "", l.make), execute(""))
		p.tell("E(0A000) Z(I)", prepare("named", l.make))
		if l.name != "a statement" {
			p.expect("begin", "C(BEGIN) Z(T)")
			p.expect(l.make, "E(0A000) Z(E)")
			p.expect("select 1", "E(25P02) Z(E)")
			p.expect(l.make, "E(25P02) Z(E)")
			p.tell("E(25P02) Z(E)", prepare("", l.make))
			p.expect("rollback", "C(ROLLBACK) Z(I)")
		}
		p.tell("C(BEGIN) Z(T) E(0A000) Z(E) C(ROLLBACK) Z(I)"[:len("C(BEGIN) Z(T)")], wire.AppendQuery(nil, "begin"), wire.AppendQuery(nil, l.make), wire.AppendQuery(nil, "rollback"))
		p.answer()
		p.answer()
		p.expect(l.see, "T D(0) C(SELECT 1) Z(I)")
	}
	p.expect("set application_name = 'mine'", "C(SET) Z(I)")
	p.expect("begin", "C(BEGIN) Z(T)")
	p.expect("prepare p as select 'here'", "C(PREPARE) Z(T)")
	p.expect("execute p", "T D(here) C(SELECT 1) Z(T)")
	p.expect("commit", "C(COMMIT) Z(I)")
	p.expect("execute p", "E(26000) Z(I)")
	if log := f.Log.String(); !strings.Contains(log, "request refused") {
		t.Error("the log does not show it")
	}
}

// TestSettingsFollow: what a client sets goes with it, and with nobody else.
func TestSettingsFollow(t *testing.T) {
	f := startPlain(t, chosen(feature.Choices{Set: feature.Follow}, 2, 0))
	a, b, hold := f.login(t, [2]string{"options", "-c work_mem=5MB"}), f.login(t), f.login(t)
	both := func(want string) {
		t.Helper()
		for range 2 {
			if got := a.one("select current_setting('work_mem') || ' ' || current_setting('my.own', true)"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := b.one("select current_setting('work_mem')"); got != "4MB" {
				t.Errorf("somebody else has %s", got)
			}
			hold.ask("begin; select 1")
		}
		hold.ask("rollback")
	}
	a.expect("set work_mem = '7MB'", "C(SET) Z(I)")
	a.ask("set my.own to 'it''s'")
	both("7MB it's")
	a.ask("begin; set work_mem = '9MB'; rollback")
	both("7MB it's")
	a.ask("begin; set work_mem = '9MB'; commit")
	both("9MB it's")
	a.tell("1 2 C(SET) Z(I)", wire.AppendParse(nil, "", "set work_mem = '11MB'"), execute(""))
	both("11MB it's")
	a.ask("reset work_mem")
	both("5MB it's")
}

// TestDeallocateByName: SQL's DEALLOCATE drops what was prepared by the protocol, as in PostgreSQL.
func TestDeallocateByName(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Session, pool.Transaction, pool.Statement} {
		t.Run(string(mode), func(t *testing.T) {
			f := startPlain(t, inMode(mode, 1))
			p := f.login(t)
			gone := func(name string) {
				t.Helper()
				p.tell("E(26000) Z(I)", execute(name))
				p.expect("deallocate "+name, "E(26000) Z(I)")
				p.tell(parsed, prepare(name, "select 'anew'"))
				p.tell("2 D(anew) C(SELECT 1) Z(I)", execute(name))
			}
			p.tell(parsed, prepare("s", "select 's'"))
			p.expect("deallocate s", "C(DEALLOCATE) Z(I)")
			gone("s")
			p.expect("DEALLOCATE PREPARE \"s\";", "C(DEALLOCATE) Z(I)")
			gone("s")
			p.tell("1 2 n C(DEALLOCATE) Z(I)", wire.AppendParse(nil, "", "deallocate s"), wire.AppendBind(nil, "", "", nil),
				wire.AppendDescribe(nil, wire.KindPortal, ""), wire.AppendExecute(nil, "", 0), wire.AppendSync(nil))
			gone("s")
			p.expect("deallocate unknown", "E(26000) Z(I)")
			p.expect("deallocate all", "C(DEALLOCATE ALL) Z(I)")
			gone("s")
			if mode == pool.Statement {
				return
			}
			p.expect("begin", "C(BEGIN) Z(T)")
			p.expect("deallocate s", "C(DEALLOCATE) Z(T)")
			p.expect("deallocate s", "E(26000) Z(E)")
			p.expect("deallocate s", "E(25P02) Z(E)")
			p.expect("rollback", "C(ROLLBACK) Z(I)")
			gone("s")
		})
	}
}
