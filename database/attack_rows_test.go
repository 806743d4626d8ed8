package database_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

const notes = `
create table notes (id int generated always as identity, owner text not null, body text, big text default repeat('x', 200));
insert into notes (owner, body) select case i % 2 when 0 then 'alice' else 'bob' end, i::text from generate_series(1, 2000) i;
create index on notes (owner);
analyze notes;
alter table notes enable row level security;
alter table notes force row level security;
create policy own on notes using (owner = (select jwt('sub'))) with check (owner = (select jwt_required('sub')));
create table plain (like notes including all);
insert into plain (owner, body) select owner, body from notes;
analyze plain;
alter table plain enable row level security;
create policy own on plain using (owner = jwt('sub'));
create view all_notes with (security_barrier) as select * from notes;
create function count_notes() returns bigint language sql security definer set search_path = public as 'select count(*) from notes';
grant select, insert, update, delete on notes, plain, all_notes to public;
alter table notes owner to claimpool_test_owner;
`

// withNotes is a prepared database with a table of two owners' rows.
func withNotes(t *testing.T, test func(t *testing.T, p *prepared)) {
	t.Helper()
	eachVersion(t, func(t *testing.T, p *prepared) {
		owner, _ := p.NewRole(t)
		p.Exec(t, p.db, "grant usage, create on schema public to "+owner+"; "+strings.ReplaceAll(notes, "claimpool_test_owner", owner)+
			"; alter function count_notes() owner to "+owner+"; alter view all_notes owner to "+owner+"; create schema scratch; grant all on schema scratch to "+p.role)
		test(t, p)
	})
}

// TestAttackOtherRows: the attacker has no context, a wrong one, or his own.
//
// Must: He sees nothing, an error, or his own rows, through every way to the table.
// Dialects: sql
// Not native: TestAttackForeignRows and TestAttackPlans try the same through the proxy, in both dialects
func TestAttackOtherRows(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		s.want("select count(*)::text from notes", "0")
		s.want("select count(*)::text from plain", "0")
		s.set("garbage").want("select count(*)::text from notes", invalid)
		s.want("select count(*)::text from plain", invalid)
		s.as(`{"no":"sub"}`).want("select count(*)::text from notes", "0")
		s.as(`{"sub":"bob"}`)
		for _, sql := range []string{
			"select string_agg(distinct owner, ',') from notes",
			"select string_agg(distinct owner, ',') from plain",
			"select string_agg(distinct owner, ',') from all_notes",
			"select string_agg(distinct owner, ',') from notes where owner = 'alice' or true",
			"select string_agg(distinct n.owner, ',') from notes n join notes m on n.owner <> m.owner or n.id = m.id",
			"with w as materialized (select * from notes) select string_agg(distinct owner, ',') from w",
		} {
			s.want(sql, "bob")
		}
		s.want("select count_notes()::text", "1000") // SECURITY DEFINER of the table's owner: forced policies, the client's claims
		s.exec("begin")
		s.exec("declare c cursor with hold for select owner from notes")
		s.want("fetch from c", "bob")
		s.exec("commit")
		s.as(`{"sub":"alice"}`)
		s.want("fetch from c", "bob") // of its own time; DISCARD ALL closes it before another identity comes
		s.exec("discard all")
		s.as(`{"sub":"alice"}`).want("select string_agg(distinct owner, ',') from notes", "alice")
	})
}

// TestAttackWriteForeignRow: the attacker writes a row for somebody else, moves one to him, or writes without a context.
//
// Must: 28000 without a context, 42501 for a foreign row, 0A000 for COPY FROM; nothing is changed.
// Dialects: sql
// Not native: TestAttackForeignRows and TestAttackPlans try the same through the proxy, in both dialects
func TestAttackWriteForeignRow(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		s.want("insert into notes (owner) values ('bob') returning owner", invalid)
		s.as(`{"sub":"mallory"}`)
		s.want("insert into notes (owner) values ('bob') returning owner", denied)
		s.want("insert into notes (owner, body) values ('mallory', 'mine') returning owner", "mallory")
		s.want("update notes set owner = 'bob' returning owner", denied)
		s.want("update notes set body = 'x' where owner = 'bob' returning owner", "no row")
		s.want("delete from notes where owner = 'bob' returning owner", "no row")
		_, err := s.PgConn().CopyFrom(t.Context(), strings.NewReader("bob\n"), "copy notes (owner) from stdin")
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "0A000" {
			t.Errorf("COPY FROM: %v", err)
		}
	})
}

// TestAttackPlanOfAnotherIdentity: a plan that was made under one identity runs under another.
//
// Must: It reads the claims again.
// Dialects: sql
// Not native: TestAttackForeignRows and TestAttackPlans try the same through the proxy, in both dialects
func TestAttackPlanOfAnotherIdentity(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		for _, mode := range []string{"auto", "force_generic_plan", "force_custom_plan"} {
			for _, table := range []string{"notes", "plain"} {
				s := p.login(t, "plan_cache_mode", mode)
				s.exec("prepare q as select string_agg(distinct owner, ',') from " + table)
				s.exec("create function pg_temp.f() returns text language plpgsql as $$begin return (select string_agg(distinct owner, ',') from " + table + "); end$$")
				for range 8 {
					for _, who := range []string{"alice", "bob"} {
						s.as(`{"sub":"`+who+`"}`).want("execute q", who)
						s.want("select pg_temp.f()", who)
					}
				}
				s.set("").want("execute q", "NULL")
			}
		}
	})
}

// TestAttackParallelQuery: the attacker, or chance, has a query planned in parallel, so that the workers read the policies
// without the context.
//
// Must: A parallel query gives all of the client's rows or none, with and without the leader's help; policies still allow it.
// Dialects: sql
// Not native: TestAttackParallelWorkers is its counterpart
func TestAttackParallelQuery(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		s := p.login(t, "min_parallel_table_scan_size", "0", "parallel_setup_cost", "0", "parallel_tuple_cost", "0",
			"parallel_leader_participation", "off", "enable_indexscan", "off", "enable_bitmapscan", "off", "enable_indexonlyscan", "off").as(`{"sub":"bob"}`)
		for _, table := range []string{"notes", "plain"} {
			s.want("select count(*)::text from "+table, "1000")
		}
		plan := ""
		rows, err := s.Query(t.Context(), "explain select count(*) from notes")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			plan += line + "\n"
		}
		if rows.Err() != nil || !strings.Contains(plan, "Parallel Seq Scan") || !strings.Contains(plan, "InitPlan") {
			t.Errorf("(select jwt('sub')) is not read once in front of a parallel plan:\n%s", plan)
		}
	})
}

// TestAttackLeakyFunction: the attacker's own cheap function stands in WHERE, to be called before the policy; or an error in
// WHERE that tells what it has met.
//
// Must: It sees his own rows alone.
// Dialects: sql
// Not native: TestAttackForeignRows and TestAttackPlans try the same through the proxy, in both dialects
func TestAttackLeakyFunction(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		s := p.login(t).as(`{"sub":"bob"}`)
		s.exec("create table scratch.seen (owner text)")
		s.exec("create function scratch.leak(text) returns boolean language plpgsql cost 0.0000001 as $$begin insert into scratch.seen values ($1); return true; end$$")
		for _, table := range []string{"notes", "plain", "all_notes"} {
			s.want("select count(*)::text from "+table+" where scratch.leak(owner)", "1000")
			s.want("select string_agg(distinct owner, ',') from "+table+" where 1 / (case owner when 'alice' then 0 else 1 end) = 1", "bob")
		}
		s.want("select string_agg(distinct owner, ',') from scratch.seen", "bob")
	})
}

// TestAttackDeferredTrigger: the attacker writes a row whose deferred trigger fires at COMMIT, when the context might be gone
// or another's.
//
// Must: A deferred trigger at COMMIT runs under the client's own claims.
// Dialects: sql
// Not native: TestAttackForeignRows and TestAttackPlans try the same through the proxy, in both dialects
func TestAttackDeferredTrigger(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		p.Exec(t, p.db, "create table audit (who text); grant all on audit to public; "+
			"create function audit() returns trigger language plpgsql as $$begin insert into audit values (jwt('sub')); return null; end$$; "+
			"create constraint trigger audit after insert on notes deferrable initially deferred for each row execute function audit()")
		s := p.login(t).as(`{"sub":"bob"}`)
		s.exec("begin")
		s.exec("insert into notes (owner) values ('bob')")
		s.exec("commit")
		s.want("select string_agg(who, ',') from audit", "bob")
	})
}

// jwt() in a policy uses the index, and stands in plans as a STABLE function, never folded into a constant of the plan.
func TestIndexIsUsed(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		p.Exec(t, p.db, "insert into plain (owner) select 'u' || i from generate_series(1, 20000) i; analyze plain")
		s := p.login(t).as(`{"sub":"u77"}`)
		for _, sql := range []string{"explain (costs off) select * from plain", "explain (costs off) select * from plain where owner = (select jwt('sub'))"} {
			rows, err := s.PgConn().Exec(t.Context(), sql).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			plan := ""
			for _, row := range rows[0].Rows {
				plan += string(row[0]) + "\n"
			}
			if !strings.Contains(plan, "Index Cond") || strings.Contains(plan, "u77") {
				t.Errorf("%s:\n%s", sql, plan)
			}
		}
	})
}

// TestAttackRowCountOfExplain: the attacker asks EXPLAIN ANALYZE how many rows a policy has removed.
//
// Must: It tells him: known, and documented as the limit of row-level security. The test fails when it tells no more.
// Dialects: sql
// Not native: it is PostgreSQL's own
func TestAttackRowCountOfExplain(t *testing.T) {
	withNotes(t, func(t *testing.T, p *prepared) {
		s := p.login(t, "enable_indexscan", "off", "enable_bitmapscan", "off", "enable_indexonlyscan", "off", "max_parallel_workers_per_gather", "0").as(`{"sub":"bob"}`)
		rows, err := s.PgConn().Exec(t.Context(), "explain (analyze, costs off, timing off, summary off) select * from notes").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		plan := ""
		for _, row := range rows[0].Rows {
			plan += string(row[0]) + "\n"
		}
		if !strings.Contains(plan, "Rows Removed by Filter: 1000") {
			t.Errorf("PostgreSQL no longer tells; change the documentation:\n%s", plan)
		}
	})
}
