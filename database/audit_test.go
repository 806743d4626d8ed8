package database_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

const addRecord = `insert into claimpool_audit.records (proxy, number, time, event, more) values (gen_random_uuid(), 1, now(), 'login', '{"user":"ada"}')`

func TestLifeOfTheAuditPack(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", `create role admin login createrole password 'p'; create role door login password 'p'; create role reader login password 'p';
			create role app login password 'p'; create role janitor login password 'p'`)
		for _, db := range []string{"app", "other"} {
			c.Exec(t, "postgres", "create database "+db+" owner admin")
			if inst.Major < 15 {
				c.Exec(t, db, "alter schema public owner to admin; revoke create on schema public from public")
			}
		}
		conn, other := c.Connect(t, "app", "admin", "p"), c.Connect(t, "other", "admin", "p")
		opts := database.Options{With: []string{"audit"}}
		run(t, conn)(database.PlanInstall(t.Context(), conn, opts))
		run(t, other)(database.PlanInstall(t.Context(), other, opts)) // the roles are there already
		if p, err := database.PlanInstall(t.Context(), conn, opts); err != nil || !p.Empty() {
			t.Errorf("it would be done again: %v %v", p, err)
		}
		c.Exec(t, "app", "set session authorization admin; grant claimpool_audit to door; grant claimpool_auditor to reader")
		door, reader := &session{t: t, Conn: c.Connect(t, "app", "door", "p")}, &session{t: t, Conn: c.Connect(t, "app", "reader", "p")}
		door.exec(addRecord)
		reader.want(`select recorded_by || ' ' || event || ' ' || (more ->> 'user') from claimpool_audit.records`, "door login ada")
		if s := status(t, conn, "app"); len(s.Packs) != 1 || len(s.Problems) != 0 {
			t.Errorf("packs %q, problems %q", s.Packs, s.Problems)
		}
		for _, test := range []struct{ do, undo, want string }{
			{"grant claimpool_audit to app", "revoke claimpool_audit from app", "role app is a member of claimpool_audit: its clients could make up"},
			{"grant claimpool_auditor to app", "revoke claimpool_auditor from app", "role app is a member of claimpool_auditor: its clients could read"},
			{"grant execute on function claimpool_audit.prune to public", "revoke execute on function claimpool_audit.prune from public", "role app may call claimpool_audit.prune"},
			{"grant update on claimpool_audit.records to claimpool_audit", "revoke update on claimpool_audit.records from claimpool_audit", "UPDATE on claimpool_audit.records is granted to claimpool_audit"},
			{"grant select (sub) on claimpool_audit.records to claimpool_audit", "revoke select (sub) on claimpool_audit.records from claimpool_audit", "SELECT (sub) on claimpool_audit.records is granted to claimpool_audit"},
			{"alter role claimpool_auditor login", "alter role claimpool_auditor nologin", "role claimpool_auditor may log in"},
		} {
			c.Exec(t, "app", test.do)
			if s := status(t, c.Connect(t, "app", cluster.Superuser, ""), "app"); len(s.Problems) == 0 || !strings.Contains(strings.Join(s.Problems, "\n"), test.want) {
				t.Errorf("%s: %q", test.do, s.Problems)
			}
			c.Exec(t, "app", test.undo)
		}
		for _, sql := range []string{ // as the page says for those who are no superuser
			"grant claimpool_owner to current_user", "set role claimpool_owner", "grant usage on schema claimpool_audit to janitor",
			"grant execute on function claimpool_audit.prune to janitor", "reset role", "revoke claimpool_owner from current_user",
		} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(sql, err)
			}
		}
		c.Exec(t, "app", `insert into claimpool_audit.records (recorded, time, event) values (now() - interval '31 days', now(), 'login')`)
		janitor := &session{t: t, Conn: c.Connect(t, "app", "janitor", "p")}
		janitor.want(`select claimpool_audit.prune('1 hour')`, "22023")
		janitor.want(`select claimpool_audit.prune(null)`, "22023")
		janitor.want(`select claimpool_audit.prune('30 days')::text`, "1")
		janitor.want(`select claimpool_audit.prune('30 days')::text`, "0")
		reader.want(`select string_agg(event || ' by ' || recorded_by || coalesce(': ' || rows, ''), ', ' order by id) from claimpool_audit.records`, "login by door, prune by janitor: 1")
		c.Exec(t, "app", "drop owned by janitor")
		run(t, conn)(database.PlanRemove(t.Context(), conn))
		if got := one(t, conn, `select count(*)::text from pg_roles where rolname in ('claimpool_audit', 'claimpool_auditor')`); got != "2" {
			t.Error("the roles of the other database are gone")
		}
		run(t, other)(database.PlanRemove(t.Context(), other))
		if got := one(t, conn, `select count(*)::text from pg_roles where rolname like 'claimpool%'`); got != "0" {
			t.Errorf("%s roles are left", got)
		}
	})
}

// TestAttackAuditWriter: the attacker has taken over a proxy, or its password for the audit table, and wants to hide what he does: he
// reads, changes and takes away records, makes up the time and the name that the database gives them, and plants what runs in the next
// prune.
//
// Must: He must be able to add records under his own name and the database's time, and nothing else; those who read must change nothing.
// Dialects: none
func TestAttackAuditWriter(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		installing.Lock()
		conn := p.Connect(t, p.db, cluster.Superuser, "")
		run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{With: []string{"audit"}}))
		installing.Unlock()
		for _, member := range []string{"claimpool_audit", "claimpool_auditor"} {
			role, password := p.NewRole(t)
			p.Exec(t, p.db, "grant "+member+" to "+role)
			s := &session{t: t, Conn: p.Connect(t, p.db, role, password)}
			for _, sql := range []string{
				`update claimpool_audit.records set reason = null`,
				`delete from claimpool_audit.records`,
				`truncate claimpool_audit.records`,
				`drop table claimpool_audit.records`,
				`alter table claimpool_audit.records disable trigger all`,
				`create trigger t after insert on claimpool_audit.records execute function pg_catalog.tsvector_update_trigger()`,
				`create table claimpool_audit.mine (x int)`,
				`create function claimpool_audit.prune(text) returns bigint language sql as 'select 1::bigint'`,
				`select claimpool_audit.prune('1 day')`,
				`do $$ begin lock table claimpool_audit.records in access exclusive mode; end $$`,
				`insert into claimpool_audit.records (id, time, event) overriding system value values (7, now(), 'login')`,
				`insert into claimpool_audit.records (recorded, time, event) values (now(), now(), 'login')`,
				`insert into claimpool_audit.records (recorded_by, time, event) values ('postgres', now(), 'login')`,
				`select setval(pg_get_serial_sequence('claimpool_audit.records', 'id'), 1)`,
				`set role claimpool_owner`,
			} {
				s.want(sql, denied)
			}
			if member == "claimpool_audit" {
				s.exec(addRecord)
				s.want(`select count(*)::text from claimpool_audit.records`, denied)
				s.want(`select count(sub)::text from claimpool_audit.records`, denied)
				s.want(`copy claimpool_audit.records to stdout`, denied)
				s.want(`insert into claimpool_audit.records (time, event) values (now(), 'login') returning sub`, denied)
			} else {
				s.want(addRecord, denied)
				s.want(`select count(*)::text from claimpool_audit.records`, "1")
			}
		}
	})
}
