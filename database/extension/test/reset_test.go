package extension_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestAttackLeftovers: t1 leaves on the connection whatever PostgreSQL lets it leave.
//
// Must: The next identity, t2, finds nothing of it.
// Dialects: native
// Not sql: TestAttackLeftOverState leaves the same through the proxy
func TestAttackLeftovers(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("create sequence numbers; grant usage on sequence numbers to pool")
		c := s.pooled(t)
		for _, row := range []struct{ leave, look, want string }{
			{"set search_path = pg_temp", "show search_path", `"$user", public`},
			{"set standard_conforming_strings = off", "show standard_conforming_strings", "on"},
			{"set statement_timeout = '1s'", "show statement_timeout", "0"},
			{"set default_transaction_read_only = on", "show default_transaction_read_only", "off"},
			{"set row_security = off", "show row_security", "on"},
			{"set claimed.tenant = 'x'", "select current_setting('claimed.tenant', true)", ""},
			{"set role plain", "select current_user", "pool"},
			{"create temp table secrets as select 'fake' as tenant, 1 as value", "select count(*) from secrets where tenant = 'fake'", "0"},
			{"create temp view v as select 1", "select to_regclass('pg_temp.v')", "NULL"},
			{"prepare p as select 1", "select count(*) from pg_prepared_statements", "0"},
			{"declare c cursor with hold for select 1", "select count(*) from pg_cursors", "0"},
			{"select pg_advisory_lock(7)", "select count(*) from pg_locks where locktype = 'advisory'", "0"},
			{"listen x", "select count(*) from pg_listening_channels()", "0"},
			{"set client_min_messages = debug5", "show client_min_messages", "notice"},
			{"set constraints all deferred; set transaction_isolation = 'serializable'", "show transaction_isolation", "read committed"},
		} {
			c.become("t1")
			if r := c.exec(row.leave); r.code() != "" {
				t.Fatalf("%s: %s", row.leave, describe(r))
			}
			c.become("t2")
			if got := c.one(row.look); got != row.want {
				t.Errorf("after %s: %s = %s", row.leave, row.look, got)
			}
		}
		c.become("t1")
		c.one("select nextval('numbers')")
		c.become("t2")
		if r := c.exec("select lastval()"); r.code() != "55000" {
			t.Errorf("lastval: %s", describe(r))
		}
		seeded := func() string {
			c.become("t1")
			c.mustExec("select setseed(0.5)")
			c.become("t2")
			return c.one("select random()")
		}
		if a, b := seeded(), seeded(); a == b {
			t.Errorf("t1 foretells t2's random(): %s", a)
		}
		c.become("t1") // the same identity keeps what it has: no reset
		c.mustExec("set search_path = pg_catalog")
		c.become("t1")
		if got := c.one("show search_path"); got != "pg_catalog" {
			t.Errorf("the same identity was reset: %s", got)
		}
		g := c.next("t1")
		g.flags = flagReset
		c.handOver(g)
		if got := c.one("show search_path"); got == "pg_catalog" {
			t.Error("flag reset did not reset")
		}
	})
}

// TestAttackSettingOfALibrary: t1 sets what a library will know before it is loaded, and loads it then: the setting that was set is
// another one from there on, and the list in which the reset looks for it is as long as before.
//
// Must: The next identity, t2, finds the library's default.
// Dialects: native
// Not sql: RESET ALL itself looks there
func TestAttackSettingOfALibrary(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := start(t, inst).pooled(t)
		c.become("t1")
		c.mustExec("set plpgsql.print_strict_params = off; set plpgsql.variable_conflict = error; " +
			"set plpgsql.extra_warnings = none; set plpgsql.extra_errors = none") // with check_asserts, all that it has
		for _, load := range []string{"select 1", "do $$ begin null; end $$", "select 1"} {
			c.become("t1")
			c.mustExec("set plpgsql.check_asserts = off")
			c.mustExec(load)
			c.become("t2")
			if got := c.one("select current_setting('plpgsql.check_asserts')"); got != "on" && got != "" {
				t.Errorf("after %s: %q", load, got)
			}
		}
	})
}

// TestAttackFailingReset: t1 makes DISCARD ALL expensive and the time short.
//
// Must: Either t2 gets a clean connection or none.
// Dialects: native
// Not sql: TestAttackDiscardFails is its counterpart
func TestAttackFailingReset(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		c.become("t1")
		c.mustExec("do $$ begin for i in 1..200 loop execute 'create temp table t' || i || ' (a text)'; end loop; end $$; set statement_timeout = '1ms'")
		r := c.handOver(c.next("t2"))
		if r.dead {
			return
		}
		if r.code() != "" {
			if r := c.exec("select 1"); r.code() != "28000" {
				t.Errorf("behind a failed hand-over: %s", describe(r))
			}
			return
		}
		if got := c.one("select count(*) from pg_class where relpersistence = 't'"); got != "0" {
			t.Errorf("temporary tables left: %s", got)
		}
	})
}

// TestAttackPinnedRole: t1 leaves the role that the startup packet pinned, in the ways that PostgreSQL has. In old minor releases
// the setting role says after SET SESSION AUTHORIZATION still what it said, and the role is another.
//
// Must: The next identity, t2, has the pinned role.
// Dialects: native
// Not sql: DISCARD ALL and RESET ROLE run there
func TestAttackPinnedRole(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		s.login(t, "postgres").mustExec("create role powerless; create role other; grant powerless, other to pool")
		c := s.login(t, "pool", "options", "-c role=powerless")
		c.establish(s, s.key)
		c.become("t1")
		if got := c.one("select current_user"); got != "powerless" {
			t.Fatal(got)
		}
		const is = "select current_user || ' ' || session_user || ' ' || current_setting('role')"
		for range 2 {
			for _, leave := range []string{
				"set role none", "reset role", "set role other", "set session authorization pool", "set session authorization default",
				"set role other; set session authorization pool", "set session authorization pool; set role other", "select set_config('role', 'none', false)",
				"begin; set local role none; commit", "begin; set role none; rollback", "select 1",
			} {
				c.become("t1")
				c.mustExec(leave)
				c.become("t2")
				if got := c.one(is); got != "powerless pool powerless" {
					t.Errorf("after %s: %s", leave, got)
				}
			}
		}
	})
}

// TestAttackLibraryState: connections of dblink and variables of PL/Perl, and of languages that nobody has listed, outlive DISCARD ALL.
//
// Must: Who used them is the last one on that connection; postgres_fdw can be told to close its own.
// Dialects: native
// Not sql: only an extension can see which libraries are loaded; use isolation strict
func TestAttackLibraryState(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		defer admin.mustExec("alter role pool reset session_preload_libraries; drop function if exists public.of_library()")
		defer admin.mustExec("drop function if exists other_call_handler() cascade")
		for _, function := range []string{"other_call_handler", "dblink_connect", "plperl_call_handler", "plpython3_call_handler", "pltcl_call_handler", "postgres_fdw_disconnect_all"} {
			library := stub(t, inst.Major, function)
			told := func(how string, r reply) {
				t.Helper()
				if function != "postgres_fdw_disconnect_all" {
					if !r.dead || r.code() != "55000" {
						t.Errorf("%s is loaded %s: %s", function, how, describe(r))
					}
				} else if r.dead || len(r.notices) != 1 || r.notices[0] != "stub called" {
					t.Errorf("%s, loaded %s, was not called: %s, %v", function, how, describe(r), r.notices)
				}
			}
			admin.mustExec("alter role pool reset session_preload_libraries")
			if function == "other_call_handler" { // of a language that only the catalog knows
				admin.mustExec(fmt.Sprintf("create function other_call_handler() returns language_handler language c as '%s'; create language other handler other_call_handler", library))
			}
			admin.mustExec(fmt.Sprintf("create or replace function public.of_library() returns bool language c as '%s', '%s'", library, function))
			late := s.pooled(t)
			late.become("t1")
			late.become("t2") // nothing is there yet
			late.mustExec("select public.of_library()")
			told("between two hand-overs", late.handOver(late.next("t1")))

			admin.mustExec("alter role pool set session_preload_libraries = '" + library + "'")
			c := s.login(t, "pool")
			c.establish(s, s.key)
			told("at the start", c.handOver(c.next("t1")))
		}
	})
}

// TestAttackCancelHammer: a neighbour of the same role cancels the connection all the time, in the hope that a hand-over fails
// and the statement behind it runs as the one before. Hand-over and statement go out in one write.
//
// Must: No statement runs behind a failed hand-over, and none as somebody else.
// Dialects: native
// Not sql: it awaits its hand-overs; TestAttackCancelBackends hammers them
func TestAttackCancelHammer(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c, stop := hammered(t, s)
		defer func() { stop() }()
		leases, failed, wrong := 0, 0, 0
		late := time.Now().Add(time.Minute)
		for want := pgtest.Leases(t, 900); leases < want || failed == 0 && time.Now().Before(late); leases++ {
			tenant := fmt.Sprint("t", leases%3)
			c.send(call(c.switcher, c.next(tenant).bytes(c.key)), &pgproto3.Query{String: "select jwt('tenant')"})
			prefix := c.receive()
			if cut(t, prefix) { // nothing runs behind that
				failed++
				stop()
				c, stop = hammered(t, s)
				continue
			}
			r := c.receive()
			if len(prefix.errors) > 0 || len(r.errors) > 0 {
				failed++
			}
			if len(prefix.errors) > 0 && len(r.rows) > 0 {
				t.Errorf("lease %d: ran behind a failed hand-over: %s", leases, describe(r))
			}
			for _, row := range r.rows {
				if row[0] != tenant {
					wrong++
				}
			}
		}
		t.Logf("%d leases, %d failed, %d wrong", leases, failed, wrong)
		if wrong > 0 || failed == 0 {
			t.Errorf("%d leases, %d failed, %d as somebody else", leases, failed, wrong)
		}
	})
}
