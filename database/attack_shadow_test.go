package database_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

// TestAttackSettings: the attacker leaves settings on the server connection, before any function of ours has been compiled in
// it.
//
// Must: The answers stay the same: only RESET ALL stands between this and the next client, and jwt() must not depend on it.
// Dialects: sql
// Not native: its functions are in C and look nothing up by name
func TestAttackSettings(t *testing.T) {
	const claims = `{"sub":"alice","n":1.5,"t":"2020-02-03","a":["x"],"q":"\\'\""}`
	eachVersion(t, func(t *testing.T, p *prepared) {
		planning := []string{"force_parallel_mode", "on"}
		if p.Installation.Major >= 16 {
			planning[0] = "debug_parallel_query"
		}
		for _, settings := range [][]string{
			{"search_path", ""},
			{"search_path", "pg_temp, public, pg_catalog"},
			{"standard_conforming_strings", "off", "backslash_quote", "on", "escape_string_warning", "off"},
			{"array_nulls", "off", "transform_null_equals", "on"},
			{"bytea_output", "escape", "extra_float_digits", "-15"},
			{"DateStyle", "German, DMY", "IntervalStyle", "sql_standard", "TimeZone", "Asia/Kathmandu"},
			{"plan_cache_mode", "force_custom_plan"},
			{"plan_cache_mode", "force_generic_plan"},
			{"jit", "on", "jit_above_cost", "0", "jit_inline_above_cost", "0", "jit_optimize_above_cost", "0"},
			{"row_security", "off"},
			{"default_transaction_read_only", "on", "default_transaction_isolation", "serializable", "default_transaction_deferrable", "on"},
			{"client_encoding", "LATIN1"},
			{"client_min_messages", "debug5", "debug_print_plan", "on", "debug_print_parse", "on", "debug_print_rewritten", "on"},
			{"enable_seqscan", "off", "enable_indexscan", "off", "enable_bitmapscan", "off"},
			{"xmloption", "document", "xmlbinary", "hex", "lc_numeric", "C", "lc_time", "C"},
			{"work_mem", "64kB", "max_parallel_workers_per_gather", "8", "parallel_setup_cost", "0", "parallel_tuple_cost", "0"},
			planning,
		} {
			s := p.login(t, settings...)
			s.want("select public.jwt('sub')", "NULL")
			s.as(claims)
			for sql, want := range map[string]string{
				"select public.jwt('sub')": "alice", "select public.jwt('n')": "1.5", "select public.jwt('q')": `\'"`,
				"select public.jwt_required('t')": "2020-02-03", "select public.jwt_required('none')": invalid,
			} {
				if got := s.ask(sql); got != want {
					t.Errorf("%v: %s: got %s, want %s", settings, sql, got, want)
				}
			}
			s.set(s.seal(claims)[1:]).want("select public.jwt('sub')", invalid)
		}
	})
}

// TestAttackShadowedNames: the attacker plants functions, operators, types, tables and casts of the names that ours use, in
// pg_temp and in a schema of his own in front of the search_path, to be run as claimpool_owner or to bend an answer.
//
// Must: Nothing of his is run as claimpool_owner, and all answers are right.
// Dialects: sql
// Not native: its functions are in C and look nothing up by name
func TestAttackShadowedNames(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.Exec(t, p.db, "create schema scratch; grant all on schema scratch to "+p.role)
		s := p.login(t)
		s.exec("create table scratch.loot (who text, what text)")
		s.exec("grant all on scratch.loot to public")
		steal := "begin insert into scratch.loot select current_user, inside::text from claimpool.keys; return %s; exception when others then " +
			"insert into scratch.loot values (current_user, ''); return %s; end"
		for _, f := range []struct{ name, args, returns, result string }{
			{"current_setting", "text, boolean", "text", "'x'"},
			{"substr", "text, integer", "text", "'x'"},
			{"split_part", "text, text, integer", "text", "'x'"},
			{"encode", "bytea, text", "text", "'x'"},
			{"sha256", "bytea", "bytea", "'x'::bytea"},
			{"convert_to", "text, name", "bytea", "'x'::bytea"},
			{"left", "text, integer", "text", "'x'"},
			{"least", "bigint, integer", "bigint", "1"},
			{"strpos", "text, text", "integer", "1"},
			{"concat", "text, text", "text", "'x'"},
			{"transaction_timestamp", "", "timestamptz", "now()"},
			{"pg_backend_pid", "", "integer", "1"},
			{"format", "text, text", "text", "'x'"},
			{"jsonb_in", "cstring", "text", "'{}'"},
			{"jwt", "text", "text", "'victim'"},
			{"jwt", "", "jsonb", `'{"sub":"victim"}'::jsonb`},
			{"binding", "", "text", "'x'"},
		} {
			for _, schema := range []string{"scratch", "pg_temp"} {
				sql := fmt.Sprintf("create function %s.%q(%s) returns %s language plpgsql as $$"+steal+"$$", schema, f.name, f.args, f.returns, f.result, f.result)
				if _, err := s.Exec(t.Context(), sql); err != nil && f.name != "jsonb_in" {
					t.Fatalf("%s: %v", sql, err)
				}
			}
		}
		s.exec("create function scratch.yes(text, text) returns boolean language plpgsql as $$" + fmt.Sprintf(steal, "true", "true") + "$$")
		s.exec("create function scratch.no(bytea, bytea) returns boolean language plpgsql as $$" + fmt.Sprintf(steal, "false", "false") + "$$")
		s.exec("create function scratch.cat(text, text) returns text language plpgsql as $$" + fmt.Sprintf(steal, "'x'", "'x'") + "$$")
		for _, op := range []string{"= (function = scratch.yes, leftarg = text, rightarg = text)", "<> (function = scratch.no, leftarg = bytea, rightarg = bytea)",
			"|| (function = scratch.cat, leftarg = text, rightarg = text)", "->> (function = scratch.cat, leftarg = text, rightarg = text)"} {
			s.exec("create operator scratch." + op)
		}
		for _, typ := range []string{"text", "bytea", "bigint", "numeric", "jsonb"} {
			for _, schema := range []string{"scratch", "pg_temp"} {
				s.exec(fmt.Sprintf("create domain %s.%q as pg_catalog.text check (scratch.yes(value::pg_catalog.text, 'x'))", schema, typ))
			}
		}
		s.exec("create temp table keys as select 'k1'::pg_catalog.text kid, ''::pg_catalog.bytea inside, ''::pg_catalog.bytea outside")
		s.exec("set search_path = pg_temp, scratch, public, pg_catalog")
		seal := s.seal(`{"sub":"mallory"}`)
		s.exec("select pg_catalog.set_config('claimpool.context', $1, false)", seal)
		s.want("select public.jwt('sub')", "mallory")
		s.want("select public.jwt()::pg_catalog.text", `{"sub": "mallory"}`)
		s.want("select public.jwt_required('sub')", "mallory")
		s.want("select public.jwt_required('none')", invalid)
		s.want("select claimpool.binding()", s.binding)
		s.exec("select pg_catalog.set_config('claimpool.context', $1, false)", seal[1:])
		s.want("select public.jwt('sub')", invalid)
		s.want("select pg_catalog.count(*)::pg_catalog.text from scratch.loot where who operator(pg_catalog.=) 'claimpool_owner'", "0")
	})
}

// TestAttackOurObjects: the attacker changes, replaces, borrows or reads what is ours.
//
// Must: Everything is refused, and jwt() answers as before.
// Dialects: sql
// Not native: its objects belong to a superuser
func TestAttackOurObjects(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.Exec(t, p.db, "create schema scratch; grant all on schema scratch to "+p.role)
		s := p.login(t).as(`{"sub":"mallory"}`)
		for _, sql := range []string{
			"create or replace function public.jwt() returns jsonb language sql as $$select '{}'::jsonb$$",
			"create or replace function claimpool.jwt() returns jsonb language sql as $$select '{}'::jsonb$$",
			"create function claimpool.jwt(integer) returns text language sql as $$select ''$$",
			"create table claimpool.t ()",
			"alter function claimpool.jwt() security invoker",
			"alter function claimpool.jwt() set search_path = pg_temp",
			"alter function claimpool.jwt() owner to current_user",
			"alter function claimpool.jwt() rename to x",
			"alter function claimpool.jwt() set schema scratch",
			"drop function public.jwt(text)",
			"drop schema claimpool cascade",
			"alter schema claimpool rename to x",
			"select * from claimpool.keys",
			"select count(*) from claimpool.keys",
			"select inside from claimpool.keys where kid = 'k1'",
			"copy claimpool.keys to stdout",
			"table claimpool.version",
			"insert into claimpool.keys select 'mine', repeat('x', 64)::bytea, repeat('x', 64)::bytea",
			"update claimpool.keys set kid = 'mine'",
			"delete from claimpool.keys",
			"truncate claimpool.keys",
			"select 1; lock table claimpool.keys in access exclusive mode",
			"alter table claimpool.keys enable row level security",
			"create trigger t before insert on claimpool.keys for each row execute function suppress_redundant_updates_trigger()",
			"create policy p on claimpool.keys using (true)",
			"create rule r as on select to claimpool.keys do instead select 1",
			"create index on claimpool.keys (inside)",
			"create table scratch.f (kid text references claimpool.keys)",
			"analyze (verbose) claimpool.keys",
			"select claimpool.add_key('mine')",
			"set role claimpool_owner",
			"set session authorization claimpool_owner",
			"grant claimpool_owner to current_user",
			"alter role claimpool_owner login password 'x'",
			"drop role claimpool_owner",
			"reassign owned by claimpool_owner to current_user",
			"drop owned by claimpool_owner",
			"alter default privileges for role claimpool_owner grant select on tables to public",
			"alter system set claimpool.context = 'x'",
			"alter database " + p.db + " set claimpool.context = 'x'",
			"comment on function claimpool.jwt() is 'x'",
			"create event trigger e on ddl_command_end execute function scratch.f()",
			"select lo_import('/etc/passwd')",
			"create view scratch.v as select * from claimpool.keys; select * from scratch.v",
			"create materialized view scratch.m as select * from claimpool.keys",
			"create function scratch.k() returns setof claimpool.keys language sql as $$select * from claimpool.keys$$; select * from scratch.k()",
		} {
			if _, err := s.PgConn().Exec(t.Context(), sql).ReadAll(); err == nil {
				switch sql {
				case "analyze (verbose) claimpool.keys": // skipped with a warning; pg_stats stays closed, see below
				default:
					t.Errorf("%s: done", sql)
				}
			} else if !strings.Contains(err.Error(), "(SQLSTATE 42501)") { // it must not fail for another reason
				t.Errorf("%s: %v", sql, err)
			}
		}
		s.want("select count(*)::text from pg_stats where schemaname = 'claimpool'", "0")
		s.want("select jwt('sub')", "mallory")
	})
}

// TestAttackPlantedSchema: the attacker may create schemas. Before the installation he makes one of our name, with a view that
// runs his function as the superuser who looks or installs.
//
// Must: Neither status nor installation nor removal believes the schema, and nothing of his is run.
// Dialects: sql
// Not native: CREATE EXTENSION is PostgreSQL's
func TestAttackPlantedSchema(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	db := c.NewDatabase(t)
	role, password := c.NewRole(t)
	c.Exec(t, db, "grant create on database "+db+" to "+role)
	mallory := c.Connect(t, db, role, password)
	if _, err := mallory.PgConn().Exec(t.Context(), `
		create schema claimpool;
		create function claimpool.climb() returns integer language plpgsql as $$begin
			reset role; execute 'alter role `+role+` superuser'; return 1; end$$;
		create view claimpool.version as select claimpool.climb() as version, 'public'::name as api;
		create table claimpool.keys (kid text, created timestamptz);
		grant all on schema claimpool to public; grant all on all tables in schema claimpool to public`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"select 1", "create role claimpool_owner nologin", "alter role claimpool_owner login"} {
		c.Exec(t, db, step)
		conn := c.Connect(t, db, cluster.Superuser, "")
		if _, err := database.Status(t.Context(), conn); err == nil {
			t.Error("status believed the schema")
		}
		if _, err := database.PlanInstall(t.Context(), conn, database.Options{}); err == nil {
			t.Error("an installation was planned")
		}
		if _, err := database.PlanRemove(t.Context(), conn); err == nil {
			t.Error("a removal was planned")
		}
	}
	var super bool
	if err := mallory.QueryRow(t.Context(), "select rolsuper from pg_roles where rolname = current_user").Scan(&super); err != nil || super {
		t.Errorf("the attacker is a superuser: %v %v", super, err)
	}
	c.Exec(t, db, "drop schema claimpool cascade")
	if _, err := database.PlanInstall(t.Context(), c.Connect(t, db, cluster.Superuser, ""), database.Options{}); err == nil {
		t.Error("a role claimpool_owner that may log in was taken")
	}
}

// TestAttackPlantedFunction: the attacker may create in the schema of jwt() and is there first.
//
// Must: The installation stops, and nothing of it is left.
// Dialects: sql
// Not native: CREATE EXTENSION is PostgreSQL's
func TestAttackPlantedFunction(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	db := c.NewDatabase(t)
	role, password := c.NewRole(t)
	c.Exec(t, db, "grant create on schema public to "+role)
	mallory := c.Connect(t, db, role, password)
	if _, err := mallory.Exec(t.Context(), "create function public.jwt(claim text) returns text language sql as $$select 'victim'$$"); err != nil {
		t.Fatal(err)
	}
	conn := c.Connect(t, db, cluster.Superuser, "")
	p, err := database.PlanInstall(t.Context(), conn, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), conn); err == nil {
		t.Error("installed over the attacker's function")
	}
	if s := status(t, conn); s.Version != 0 {
		t.Errorf("left behind: %+v", s)
	}
}
