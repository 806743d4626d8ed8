package extension_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackClaimsOfPostgREST: policies read request.jwt.claims, as those of PostgREST do, and the attacker writes it in every way that
// PostgreSQL has.
//
// Must: No way is left, and the policies see the verified claims, in parallel workers too.
// Dialects: native
// Not sql: everybody may write any setting there; its pack has a function in place of it, see TestAttackPacks
func TestAttackClaimsOfPostgREST(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec(`
			drop table if exists requested; create table requested as select 't' || i % 3 tenant, i from generate_series(1, 3000) i;
			alter table requested enable row level security; grant all on requested to pool, plain;
			create policy p on requested using (tenant = current_setting('request.jwt.claims', true)::json ->> 'tenant'); analyze requested`)
		const count, parallel = "select count(*) from requested", "set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; " +
			"set parallel_tuple_cost = 0; set parallel_leader_participation = off"
		c := s.pooled(t)
		for _, tenant := range []string{"t1", "t2", "t1"} {
			c.become(tenant)
			c.mustExec(parallel)
			if got := c.one(count + " where tenant = '" + tenant + "'"); got != "1000" {
				t.Errorf("%s sees %s rows of its own", tenant, got)
			}
			if got := c.one(count); got != "1000" {
				t.Errorf("%s sees %s rows", tenant, got)
			}
		}
		for _, sql := range []string{
			"set request.jwt.claims = '%'", "set session request.jwt.claims to '%'", `set "Request.JWT.claims" = '%'`, "begin; set local request.jwt.claims = '%'",
			"select set_config('request.jwt.claims', '%', false)", "select set_config('request.jwt.claims', '%', true)", "reset request.jwt.claims",
			"update pg_settings set setting = '%' where name = 'request.jwt.claims'; select jwt_required('none')", // which does not show it, so that this has no row
			"alter role current_user set request.jwt.claims = '%'", "do $$ begin perform set_config('request.jwt.claims', '%', false); end $$",
			"create function pg_temp.f() returns int language sql set request.jwt.claims = '%' as 'select 1'; select pg_temp.f()",
		} {
			if r := c.exec(strings.ReplaceAll(sql, "%", `{"tenant":"t2"}`)); r.code() == "" {
				t.Errorf("%s: %s", sql, describe(r))
			}
			c.exec("rollback")
			c.become("t1")
			if got := c.one("select string_agg(distinct tenant, ',') from requested"); got != "t1" {
				t.Errorf("after %s: %s", sql, got)
			}
		}
		if _, err := s.tryLogin(t, "plain", "options", `-c request.jwt.claims={"tenant":"t2"}`); err == nil {
			t.Error("a login could bring claims")
		}
		plain := s.login(t, "plain") // without a context, and without the gate
		if got := plain.one("select current_setting('request.jwt.claims', true)"); got != "" {
			t.Errorf("without a context: %s", got)
		}
		if r := plain.exec(count); r.code() != "22P02" {
			t.Errorf("without a context: %s", describe(r))
		}
		for _, sql := range []string{"select count(*) from pg_settings", "reset all", "discard all"} {
			plain.mustExec(sql)
		}
	})
}

// TestAttackOlderClaimsOfSupabase: policies call the functions that Supabase has put into its databases, which look at names of older versions
// of PostgREST first. The attacker writes a victim's name there.
//
// Must: Nobody can, and what the functions give are the verified claims.
// Dialects: native
// Not sql: there those functions have to be changed, which db status says
func TestAttackOlderClaimsOfSupabase(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		defer admin.mustExec("drop schema supabase cascade")
		admin.mustExec(`
			create schema supabase; grant usage on schema supabase to public;
			create function supabase.tenant() returns text language sql stable as $$ select coalesce(
				nullif(current_setting('request.jwt.claim.sub', true), ''),
				nullif(current_setting('request.jwt.claim.role', true), ''), nullif(current_setting('request.jwt.claim.email', true), ''),
				(nullif(coalesce(nullif(current_setting('request.jwt.claim', true), ''), current_setting('request.jwt.claims', true)), '')::jsonb ->> 'tenant')) $$`)
		c := s.pooled(t)
		for _, name := range []string{"request.jwt.claim", "request.jwt.claim.sub", "request.jwt.claim.role", "Request.JWT.claim.EMAIL"} {
			for _, sql := range []string{
				`set "%" = '{"tenant":"t2"}'`, `begin; set local "%" = '{"tenant":"t2"}'`, `select set_config('%', '{"tenant":"t2"}', false)`,
				`alter role current_user set "%" = '{"tenant":"t2"}'`,
			} {
				c.become("t1")
				if r := c.exec(strings.ReplaceAll(sql, "%", name)); r.code() == "" {
					t.Errorf("%s, %s: %s", sql, name, describe(r))
				}
				c.exec("rollback")
				c.become("t1")
				if got := c.one("select supabase.tenant()"); got != "t1" {
					t.Errorf("after %s, %s: %s", sql, name, got)
				}
			}
			if _, err := s.tryLogin(t, "plain", "options", "-c "+name+"=t2"); err == nil {
				t.Errorf("a login could bring %s", name)
			}
		}
	})
}
