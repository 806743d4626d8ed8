package extension_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestLifeOfAContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		s.login(t, "postgres").mustExec(`
			create procedure twice() language plpgsql as $$ begin insert into notes values ('a'); commit; rollback;
				insert into notes values (jwt('tenant')); end $$;
			create function fails() returns int language plpgsql as $$ begin raise 'no'; end $$`)
		for _, row := range []struct {
			name  string
			flags byte
			sql   []string
			kept  bool
		}{
			{"lease: nothing happened", 0, nil, true},
			{"lease: a statement", 0, []string{"select 1"}, true},
			{"lease: commit", 0, []string{"begin", "select 1", "commit"}, true},
			{"lease: rollback", 0, []string{"begin", "select 1", "rollback"}, true},
			{"lease: rollback and chain", 0, []string{"begin", "select 1", "rollback and chain", "commit"}, true},
			{"lease: rollback in one query", 0, []string{"begin; insert into notes values ('x'); rollback"}, true},
			{"lease: rollback without a transaction", 0, []string{"rollback"}, true},
			{"lease: rollback to a savepoint", 0, []string{"begin", "savepoint a", "select 1", "rollback to a", "commit"}, true},
			{"lease: error in a subtransaction", 0, []string{"begin", "savepoint a", "select 1/0", "rollback to a", "commit"}, true},
			{"lease: error caught in a block", 0, []string{"do $$ begin perform 1/0; exception when others then null; end $$"}, true},
			{"lease: procedure that commits and rolls back", 0, []string{"call twice()"}, true},
			{"lease: error", 0, []string{"select 1/0"}, false},
			{"lease: syntax error", 0, []string{"selec"}, false},
			{"lease: error in a transaction", 0, []string{"begin", "select 1/0", "rollback"}, false},
			{"lease: error after a rollback in a failed transaction", 0, []string{"begin", "select 1/0", "rollback", "rollback"}, false},
			{"lease: failed, rolled back, and an error", 0, []string{"begin; savepoint a", "select 1/0", "rollback to a", "commit", "select fails()"}, false},
			{"lease: prepared transaction", 0, []string{"begin", "insert into notes values ('p')", "prepare transaction 'p'"}, false},
			{"lease: discard all", 0, []string{"discard all"}, true},
			{"lease: reset all", 0, []string{"reset all"}, true},
			{"session: error", flagSession, []string{"select 1/0"}, true},
			{"session: error in a transaction", flagSession, []string{"begin", "select 1/0", "rollback"}, true},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := s.pooled(t)
				g := c.next("t1")
				g.flags = row.flags
				if r := c.handOver(g); r.dead || r.code() != "" {
					t.Fatal(describe(r))
				}
				for _, sql := range row.sql {
					c.exec(sql)
				}
				r := c.exec("select jwt('tenant')")
				if row.kept && (len(r.rows) != 1 || r.rows[0][0] != "t1") || !row.kept && r.code() != "28000" {
					t.Errorf("kept should be %v: %s", row.kept, describe(r))
				}
			})
		}
		s.login(t, "postgres").mustExec("rollback prepared 'p'")
	})
}

func TestExpiry(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		g := c.next("t1")
		g.flags, g.expires = flagSession, time.Now().Add(3*time.Second).UnixMilli()
		c.handOver(g)
		c.mustExec("begin")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Fatal(got)
		}
		r := c.exec("do $$ begin perform pg_sleep(3.2); perform jwt('tenant'); end $$") // now() stands still here
		if r.code() != "28000" {
			t.Errorf("read after the expiry, in an old transaction: %s", describe(r))
		}
		c.mustExec("rollback")
		if r := c.exec("select 1"); r.code() != "28000" {
			t.Errorf("a statement after the expiry: %s", describe(r))
		}
		c.become("t1")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Errorf("after a new hand-over: %s", got)
		}
	})
}

// TestAttackGate: the attacker has the pool's password and logs in himself, or cancels a hand-over.
//
// Must: Nothing that he sends may run.
// Dialects: native
// Not sql: it has no gate; without a context there are no rows (TestAttackOtherRows)
func TestAttackGate(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("begin; insert into notes values ('left'); prepare transaction 'left'")
		admin.mustExec(`create domain checked as text check (lo_creat(-1) > 0 and value <> '')`)
		for _, sql := range []string{
			"select 1", "table notes", "insert into notes values ('x')", "values (1)", "do $$ begin null; end $$", "copy notes to stdout",
			"copy notes from stdin", "explain select 1", "declare c cursor with hold for select 1", "show search_path", "set search_path = public",
			"set role plain", "set session authorization plain", "set claimpool.gate = off", "lock notes", "truncate notes", "listen x", "notify x",
			"prepare p as select 1", "execute p", "deallocate p", "fetch all from c", "create temp table x ()", "create table x ()", "alter role pool password 'x'",
			"alter role current_user set search_path = x", "commit prepared 'left'", "rollback prepared 'left'", "prepare transaction 'x'",
			"vacuum notes", "analyze notes", "checkpoint", "load 'plpgsql'", "comment on table notes is 'x'", "create function f() returns int language sql as 'select 1'",
			"select claimpool.challenge()", "refresh materialized view x", "grant select on notes to plain", "reassign owned by pool to plain",
			"begin; select 1", "begin; declare c cursor for select 1",
		} {
			c := s.login(t, "pool")
			if r := c.exec(sql); r.code() != "28000" || len(r.rows) > 0 {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		c := s.login(t, "pool")
		for _, sql := range []string{"begin", "commit", "rollback", "begin; savepoint a; rollback to a; release a; commit", "discard all", "discard temp", "reset all", "reset role", "reset search_path", ""} {
			c.mustExec(sql)
		}
		for name, messages := range map[string][]pgproto3.FrontendMessage{
			"extended":      {&pgproto3.Parse{Query: "select 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}},
			"function call": {call(admin.function("lo_creat(int)"), []byte{0, 0, 0, 1})},
			"set_config":    {call(admin.function("set_config(text,text,boolean)"), []byte("search_path"), []byte("x"), []byte{0})},
			"domain in a parameter": {&pgproto3.Parse{Query: "select $1", ParameterOIDs: []uint32{admin.typeOID("checked")}},
				&pgproto3.Bind{Parameters: [][]byte{[]byte("a")}}, &pgproto3.Execute{}, &pgproto3.Sync{}},
		} {
			c.send(messages...)
			if r := c.receive(); r.code() != "28000" {
				t.Errorf("%s: %s", name, describe(r))
			}
		}
		for _, settings := range [][]string{{"claimpool.gate", "off"}, {"options", "-c claimpool.gate=off"}, {"claimpool.proxy_keys", ""}} {
			var refused *pgconn.PgError
			if _, err := s.tryLogin(t, "pool", settings...); !errors.As(err, &refused) || refused.Code != "42501" && refused.Code != "55P02" {
				t.Errorf("login with %v: %v", settings, err)
			}
		}
		admin.mustExec("alter role pool replication") // its connections for replication take SQL, too
		defer admin.mustExec("alter role pool noreplication")
		c = s.login(t, "pool", "replication", "database")
		for _, sql := range []string{"table notes", "select 1", "copy notes to stdout", "set role plain"} {
			if r := c.exec(sql); r.code() != "28000" || len(r.rows) > 0 {
				t.Errorf("on a connection for replication: %s: %s", sql, describe(r))
			}
		}
		if r := c.exec("IDENTIFY_SYSTEM"); r.code() != "" {
			t.Errorf("what is not SQL: %s", describe(r))
		}
		if got := admin.one("select count(*) from pg_largeobject_metadata"); got != "0" {
			t.Errorf("large objects made: %s", got)
		}
		admin.mustExec("rollback prepared 'left'")
	})
}

// TestAttackOpenGate: the attacker has an identity of his own, and wants the gate open for good.
//
// Must: The gate stays, whatever he sets, resets or plants, and for plans that were kept.
// Dialects: native
// Not sql: it has no gate and no switch()
func TestAttackOpenGate(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t) // a plan that was kept does not pass either
		g := c.next("t1")
		c.handOver(g)
		c.send(&pgproto3.Parse{Name: "s", Query: "select 7"}, &pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		if r := c.receive(); r.code() != "" || r.rows[0][0] != "7" {
			t.Fatal(describe(r))
		}
		c.exec("selec")
		c.send(&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		if r := c.receive(); r.code() != "28000" {
			t.Errorf("a kept plan: %s", describe(r))
		}
		for _, sql := range []string{"set claimpool.gate = off", "alter role pool set claimpool.gate = off", "alter role pool reset claimpool.gate",
			"alter role all set claimpool.gate = off", "alter database postgres set claimpool.gate = off", "alter system set claimpool.gate = off",
			"create function pg_temp.f() returns int language sql set claimpool.gate = off as 'select 1'",
			"select set_config('claimpool.gate', 'off', false)", "set claimpool.proxy_keys = ''", "set claimpool.unknown = 1"} {
			c.become("t1")
			if r := c.exec(sql); r.code() != "42501" && r.code() != "55P02" && r.code() != "42602" {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		c.become("t1")
		c.exec("reset claimpool.gate") // allowed or not: it stays on
		c.become("t1")
		c.mustExec("reset all")
		c.mustExec("discard all")
		if got := c.one("show claimpool.gate"); got != "on" {
			t.Errorf("the gate after RESET: %s", got)
		}
	})
}

// TestAttackOpenGateByAFriend: the attacker may call a superuser's own SECURITY DEFINER function that turns the gate off.
//
// Must: The gate stays closed without a context, because the proxy relies on it for the life of the connection.
// Dialects: native
// Not sql: it has no gate
func TestAttackOpenGateByAFriend(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		s.login(t, "postgres").mustExec(`create or replace function open_gate() returns text language sql security definer
			as $$ select set_config('claimpool.gate', 'off', false) $$; grant execute on function open_gate to pool`)
		c := s.pooled(t)
		c.become("t1")
		c.mustExec("select open_gate()")
		c.exec("select 1/0") // takes the context away
		if r := c.exec("select 1"); r.code() != "28000" {
			t.Errorf("without a context: %s", describe(r))
		}
	})
}

func (c *client) function(name string) uint32 {
	c.t.Helper()
	var oid uint32
	fmt.Sscan(c.one(fmt.Sprintf("select '%s'::regprocedure::oid", name)), &oid)
	return oid
}

func (c *client) typeOID(name string) uint32 {
	c.t.Helper()
	var oid uint32
	fmt.Sscan(c.one(fmt.Sprintf("select '%s'::regtype::oid", name)), &oid)
	return oid
}

// TestAttackPortalAfterExpiry: the attacker has taken a part of a query's rows, by a portal or by a loop, and asks for the others when his
// context has expired.
//
// Must: They are refused.
// Dialects: native
// Not sql: expiry is looked at by the proxy there, at the beginning of each transaction
func TestAttackPortalAfterExpiry(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		soon := time.Now().Add(2 * time.Second)
		g := c.next("t1")
		g.expires = soon.UnixMilli()
		c.handOver(g)
		c.mustExec("begin")
		c.send(&pgproto3.Parse{Query: "select value from secrets"}, &pgproto3.Bind{DestinationPortal: "p"},
			&pgproto3.Execute{Portal: "p", MaxRows: 1}, &pgproto3.Execute{Portal: "p", MaxRows: 1}, &pgproto3.Sync{})
		if r := c.receive(); len(r.rows) != 2 {
			t.Fatalf("before the expiry: %s", describe(r))
		}
		for time.Now().Before(soon) {
			time.Sleep(10 * time.Millisecond)
		}
		c.send(&pgproto3.Execute{Portal: "p", MaxRows: 1}, &pgproto3.Sync{})
		if r := c.receive(); r.code() != "28000" || len(r.rows) > 0 {
			t.Errorf("by a portal: %s", describe(r))
		}
		c.mustExec("rollback")

		g = c.next("t1")
		g.expires = time.Now().Add(time.Second).UnixMilli()
		c.handOver(g)
		r := c.exec(`do $$ declare n int; begin
			for n in select generate_series(1, 30000000) loop if clock_timestamp() > now() + interval '1 hour' then raise 'slow'; end if; end loop;
			end $$`)
		if r.code() != "28000" {
			t.Errorf("by a loop: %s", describe(r))
		}
	})
}

// TestErrorThatIsNotLogged: what fails outside of any transaction takes a lease's context along, though the server logs no errors.
func TestErrorThatIsNotLogged(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		for _, level := range []string{"warning", "panic"} {
			admin.mustExec("alter role pool set log_min_messages = " + level)
			c := s.pooled(t)
			for _, flags := range []byte{0, flagSession} {
				g := c.next("t1")
				g.flags = flags
				c.handOver(g)
				c.send(&pgproto3.Bind{PreparedStatement: "none"}, &pgproto3.Sync{})
				if r := c.receive(); r.code() != "26000" {
					t.Fatal(describe(r))
				}
				if r := c.exec("select jwt('tenant')"); (r.code() == "28000") != (flags == 0) {
					t.Errorf("log_min_messages %s, flags %d: %s", level, flags, describe(r))
				}
			}
		}
		admin.mustExec("alter role pool reset log_min_messages")
	})
}
