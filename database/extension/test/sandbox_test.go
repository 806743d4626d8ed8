package extension_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/jackc/pgx/v5/pgproto3"
)

var outOfTheSandbox = []string{
	"set role plain", "set session role plain", "set local role plain", "begin; set local role plain", "set role 'plain'", "set role none",
	"set role to plain", `set "role" = plain`, "set ROLE = plain", "set role to default", "reset role", `reset "ROLE"`, "set role from current",
	"set session authorization plain", "set session authorization default", "reset session authorization", "set session_authorization = plain",
	"set local session authorization plain", "reset session_authorization", "set session_authorization to default",
	"select set_config('role', 'plain', false)", "select set_config('role', 'plain', true)", "select set_config('ROLE', 'plain', false)",
	"select set_config('session_authorization', 'plain', false)",
	"with x as (select set_config('role', 'plain', false)) table x",
	"do $$ begin set role plain; end $$", "do $$ begin execute 'set role plain'; end $$", "do $$ begin execute 'reset role'; end $$",
	"do $$ begin perform set_config('role', 'plain', false); end $$", "do $$ begin set local role plain; exception when syntax_error then null; end $$",
	"create function box.f() returns text language sql set role = plain as 'select current_user::text'; select box.f()",
	"create procedure box.p() language plpgsql set role = plain as 'begin end'; call box.p()",
	"create function box.g() returns text language sql as 'select current_user::text'; alter function box.g() set role = plain; select box.g()",
	"create function box.h() returns text language plpgsql as $$ begin set role plain; return current_user; end $$; select box.h()",
	"select admins()",
	"alter role boxed set search_path = box", "alter role current_user set role = plain", "alter role boxed password 'x'", "alter user boxed with password 'x'",
	"alter role boxed reset all", "alter role session_user set search_path = x", "alter role all set search_path = x", "alter database postgres set search_path = x",
	"prepare p as select 1", "execute p", "deallocate p", "deallocate all", "explain execute p", "create table box.x as execute p",
	"listen x", "do $$ begin listen x; end $$", "declare c cursor with hold for select 1", "begin; declare c cursor with hold for select 1",
	"begin; insert into notes values ('x'); prepare transaction 'x'", "load 'plpgsql'",
	"create temp table x ()", "create temporary view x as select 1", "create table pg_temp.x ()", "select 1 into temp x", "create temp sequence x",
	"create function pg_temp.f() returns int language sql as 'select 1'", "create domain pg_temp.text as pg_catalog.text", "create type pg_temp.x as (a int)",
	"create local temp table x as select 1", "do $$ begin create temp table x (); end $$", "do $$ begin execute 'select 1 into temp x'; end $$",
	"begin; create temp table x (); commit", "create view pg_temp.v as select 1", "create operator pg_temp.= (procedure = int4eq, leftarg = int, rightarg = int)",
	"select pg_advisory_lock(1)", "select pg_advisory_lock(1, 2)", "select pg_advisory_lock_shared(1)", "select pg_try_advisory_lock(1)",
	"select pg_try_advisory_lock_shared(1, 2)", "select setseed(0.5)", "select pg_cancel_backend(1)", "select pg_terminate_backend(1)",
	"do $$ begin perform pg_advisory_lock(1); end $$", "select * from setseed(0.1)", "select pg_catalog.setseed(0.1) from generate_series(1, 3)",
	"set claimpool.sandbox = off", "select set_config('claimpool.sandbox', 'off', false)", "alter role boxed set claimpool.sandbox = off",
	"alter system set claimpool.sandbox = off", "create function box.i() returns int language sql set claimpool.sandbox = off as 'select 1'",
}

// TestAttackRoleSandbox: the attacker may become the role "plain", says PostgreSQL, and tries it in every spelling, beside
// whatever outlives a transaction or reaches a neighbour. The server connection is pinned to the role "powerless".
//
// Must: Every way is refused, the role stays, and no temporary object is left.
// Dialects: native
// Not sql: only an extension can refuse statements
func TestAttackRoleSandbox(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		s.login(t, "postgres").mustExec(`
			drop role if exists boxed, low;
			create role boxed login password 'boxed'; create role low; grant low, plain to boxed;
			alter role boxed set claimpool.sandbox = on;
			create schema if not exists box; grant all on schema box to low, boxed;
			grant temp on database postgres to low;
			create or replace function public.admins() returns text language sql set role = plain as 'select current_user::text'`)
		c := s.login(t, "boxed", "options", "-c role=low")
		if got := c.one("select current_user"); got != "low" {
			t.Fatal(got)
		}
		for _, sql := range outOfTheSandbox {
			if r := c.exec(sql); r.code() == "" || r.code() == "08P01" || r.dead {
				t.Errorf("%s: %s", sql, describe(r))
			}
			c.exec("rollback")
			if got := c.one("select current_user || ' ' || session_user || ' ' || current_setting('role')"); got != "low boxed low" {
				t.Fatalf("after %s I am %s", sql, got)
			}
			if got := c.one("select count(*) from pg_class where relpersistence = 't'"); got != "0" {
				t.Errorf("%s left a temporary object", sql)
			}
		}
		for _, sql := range []string{"update pg_settings set setting = 'plain' where name in ('role', 'session_authorization')",
			"select set_config(name, 'plain', false) from pg_settings where name = 'role'", "reset all", "discard all", "discard temp", "discard plans", "discard sequences"} {
			c.mustExec(sql)
			if got := c.one("select current_user || ' ' || session_user"); got != "low boxed" {
				t.Errorf("after %s I am %s", sql, got)
			}
		}
		for _, sql := range []string{
			"select set_config('app.user', 'x', false)", "set search_path = public", "begin; select pg_advisory_xact_lock(1); commit", "begin; declare c cursor for select 1; fetch c; commit",
			"set local statement_timeout = 100", "unlisten *", "notify x", "select 1",
		} {
			c.mustExec(sql)
		}
		c = s.login(t, "boxed", "options", "-c role=low") // hand-overs inside the sandbox
		c.establish(s, s.key)
		for _, tenant := range []string{"t1", "t2", "t1"} {
			c.become(tenant)
			if got := c.one("select current_user || ' ' || jwt('tenant')"); got != "low "+tenant {
				t.Errorf("after a hand-over to %s: %s", tenant, got)
			}
			c.mustExec("begin")
			c.exec("select 1/0")
			c.mustExec("rollback")
		}
	})
}

// TestAttackAroundTheSandbox: the attacker has refused functions called by those who ask nobody: by the planner, which estimates with an
// operator how many rows it selects, and by autovacuum or a superuser's ANALYZE, which look at what his table computes and do not know his role's
// settings. There he alters his role, too.
//
// Must: His neighbour's connection and his role stay what they are, and he holds no lock.
// Dialects: native
// Not sql: only an extension can refuse functions
func TestAttackAroundTheSandbox(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec(`drop role if exists around; create role around login password 'around'; alter role around set claimpool.sandbox = on;
			create schema around authorization around`)
		s.set(t, admin, "autovacuum_naptime", "1s")
		defer s.set(t, admin, "autovacuum_naptime", "1min")
		defer admin.mustExec("drop schema around cascade")
		c, neighbour := s.login(t, "around"), s.login(t, "around")
		c.mustExec(fmt.Sprintf(`create table around.pids (pid int); insert into around.pids select %d from generate_series(1, 20); analyze around.pids`, neighbour.pid))
		for _, function := range []string{"pg_terminate_backend", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"} {
			other := map[bool]string{true: "int8", false: "int4"}[function == "pg_terminate_backend"]
			operator := fmt.Sprintf("create operator around.=== (procedure = %s, leftarg = int4, rightarg = %s, restrict = eqsel)", function, other)
			if r := c.exec(operator); r.code() != "42501" {
				t.Errorf("%s: %s", operator, describe(r))
			}
			c.exec("explain select * from around.pids where pid operator(around.===) 0::" + other)
		}
		if got := c.one("select count(*) from pg_locks where locktype = 'advisory'"); got != "0" {
			t.Errorf("%s advisory locks", got)
		}
		c.mustExec(`create operator around.=== (procedure = int4eq, leftarg = int4, rightarg = int4, restrict = eqsel)`)

		c.mustExec(`create sequence around.tried;
			create function around.try(int) returns int language plpgsql as $$ begin
				begin execute 'alter role around set search_path = around'; exception when insufficient_privilege then null; end;
				perform nextval('around.tried'); perform pg_terminate_backend($1); return 1; end $$;
			create function around.kill(int) returns int language plpgsql immutable as $$ begin return around.try($1); end $$;
			create table around.analyzed (pid int) with (autovacuum_analyze_threshold = 0, autovacuum_analyze_scale_factor = 0);
			create statistics around.computed on (around.kill(pid)), pid from around.analyzed`)
		c.mustExec(fmt.Sprintf("insert into around.analyzed select %d from generate_series(1, 20)", neighbour.pid))
		c.send(&pgproto3.Terminate{}) // a connection that goes tells at once what it has done
		for i := 0; admin.one("select is_called from around.tried") != "t"; i++ {
			if i > 3000 {
				t.Fatal("autovacuum does not come")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if r := admin.exec("analyze around.analyzed"); r.code() != "42501" {
			t.Errorf("a superuser's ANALYZE: %s", describe(r))
		}
		if got := admin.one("select coalesce(array_to_string(rolconfig, ' '), '') from pg_roles where rolname = 'around'"); got != "claimpool.sandbox=on" {
			t.Errorf("the role's settings are now %s", got)
		}
		admin.mustExec("create materialized view around.seeded as select setseed(0.5)::text") // for others all is as it was
		if r := neighbour.exec("select 1"); r.dead {
			t.Errorf("the neighbour: %s", describe(r))
		}
	})
}

// TestAttackGiveAway: the attacker is a member of another role, whose rights it does not inherit, and his connection is pinned to none. He may not
// become that role, so he makes something that runs as its owner, and gives it away.
//
// Must: He cannot.
// Dialects: native
// Not sql: only an extension can refuse statements
func TestAttackGiveAway(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec(`drop role if exists giver; create role giver login noinherit password 'giver'; alter role giver set claimpool.sandbox = on;
			grant plain to giver; grant create on database postgres to giver; create schema given; grant all on schema given to giver, plain`)
		defer admin.mustExec("drop schema given cascade; drop owned by giver")
		c := s.login(t, "giver")
		c.mustExec("create function given.who() returns text language sql security definer as 'select current_user::text'; create table given.rows (i int); create view given.view as select 1")
		for _, sql := range []string{
			"alter function given.who() owner to plain", "alter routine given.who() owner to plain", "alter table given.rows owner to plain", "alter table only given.rows set (fillfactor = 90), owner to plain",
			"alter view given.view owner to plain", "do $$ begin alter function given.who() owner to plain; end $$", "reassign owned by giver to plain",
			"create schema given_too authorization plain", "create schema authorization plain create table rows (i int)",
		} {
			if r := c.exec(sql); r.code() != "42501" || !strings.Contains(describe(r), "not allowed on a shared connection") {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		if got := c.one("select given.who()"); got != "giver" {
			t.Errorf("he is %s", got)
		}
	})
}
