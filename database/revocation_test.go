package database_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

func TestLifeOfTheRevocationPack(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", "create role admin login createrole password 'p'; create role door login password 'p'; create role app login password 'p'")
		for _, db := range []string{"app", "other"} {
			c.Exec(t, "postgres", "create database "+db+" owner admin")
			if inst.Major < 15 {
				c.Exec(t, db, "alter schema public owner to admin; revoke create on schema public from public")
			}
		}
		conn, other := c.Connect(t, "app", "admin", "p"), c.Connect(t, "other", "admin", "p")
		opts := database.Options{With: []string{"revocation"}}
		run(t, conn)(database.PlanInstall(t.Context(), conn, opts))
		run(t, other)(database.PlanInstall(t.Context(), other, opts)) // the role is there already
		if p, err := database.PlanInstall(t.Context(), conn, opts); err != nil || !p.Empty() {
			t.Errorf("it would be done again: %v %v", p, err)
		}
		c.Exec(t, "app", "set session authorization admin; grant claimpool_revocation to door")
		const revoke = `select claimpool_revocation.revoke('{subject,token}', array[sha256('a'), sha256('b')], 'iss', 'ada', null, 'test')::text`
		if got := one(t, c.Connect(t, "app", "door", "p"), revoke); got != "true" {
			t.Error(got)
		}
		if got := one(t, c.Connect(t, "app", "door", "p"), `select string_agg(kind || ' ' || (before is null) || ' ' || made_by, ',' order by id) from claimpool_revocation.since(0)`); got != "subject false door,token true door" {
			t.Error(got)
		}
		for _, undo := range [][2]string{{"1", "done"}, {"1", "undone"}, {"3", "unknown"}, {"99", "unknown"}, {"null", "unknown"}} { // 3 is an undo
			if got := one(t, c.Connect(t, "app", "door", "p"), "select claimpool_revocation.undo("+undo[0]+", 'a mistake')"); got != undo[1] {
				t.Errorf("undo %s: %s", undo[0], got)
			}
		}
		for _, role := range []string{"app", "admin"} {
			for _, sql := range []string{revoke, "select claimpool_revocation.undo(2, '')"} {
				if got := (&session{t: t, Conn: c.Connect(t, "app", role, "p")}).ask(sql); got != denied {
					t.Errorf("as %s: %s", role, got)
				}
			}
		}
		if s := status(t, conn, "app"); len(s.Packs) != 1 || len(s.Problems) != 0 {
			t.Errorf("packs %q, problems %q", s.Packs, s.Problems)
		}
		for _, test := range []struct{ do, undo, want string }{
			{"grant claimpool_revocation to app", "revoke claimpool_revocation from app", "role app may call claimpool_revocation."},
			{"grant execute on function claimpool_revocation.revoke to public", "revoke execute on function claimpool_revocation.revoke from public", "role app may call claimpool_revocation.revoke"},
			{"grant select on claimpool_revocation.revocations to app", "revoke all on claimpool_revocation.revocations from app", "SELECT on claimpool_revocation.revocations is granted to app"},
			{"alter role claimpool_revocation login", "alter role claimpool_revocation nologin", "may log in"},
		} {
			c.Exec(t, "app", test.do)
			if s := status(t, c.Connect(t, "app", cluster.Superuser, ""), "app"); len(s.Problems) == 0 || !strings.Contains(strings.Join(s.Problems, "\n"), test.want) {
				t.Errorf("%s: %q", test.do, s.Problems)
			}
			c.Exec(t, "app", test.undo)
		}
		run(t, conn)(database.PlanRemove(t.Context(), conn))
		if got := one(t, conn, `select count(*)::text from pg_roles where rolname = 'claimpool_revocation'`); got != "1" {
			t.Error("the role of the other database is gone")
		}
		run(t, other)(database.PlanRemove(t.Context(), other))
		if got := one(t, conn, `select count(*)::text from pg_roles where rolname like 'claimpool%'`); got != "0" {
			t.Errorf("%s roles are left", got)
		}
	})
}
