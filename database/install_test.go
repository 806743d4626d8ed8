package database_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

// run carries out a plan and gives the key that it made.
func run(t testing.TB, conn *pgx.Conn) func(*database.Plan, error) *database.Key {
	return func(p *database.Plan, err error) *database.Key {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		key, err := p.Run(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
}

func status(t testing.TB, conn *pgx.Conn, roles ...string) *database.State {
	t.Helper()
	s, err := database.Status(t.Context(), conn, roles...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLifeOfAnInstallation(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		conn := c.Connect(t, "postgres", cluster.Superuser, "")
		if s := status(t, conn); s.Version != 0 || len(s.Keys) != 0 {
			t.Fatalf("an empty database has %+v", s)
		}
		key := run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{}))
		if key == nil || key.ID != "k1" || len(key.Secret) != 64 {
			t.Fatalf("key %+v", key)
		}
		s := status(t, conn, "postgres")
		if s.Version != database.Version || s.API != "public" || len(s.Keys) != 1 || s.Keys[0].ID != "k1" {
			t.Errorf("state %+v", s)
		}
		again, err := database.PlanInstall(t.Context(), conn, database.Options{})
		if err != nil || !again.Empty() || again.String() != "-- nothing to do\n" {
			t.Errorf("a second install would do: %v %v", again, err)
		}
		if k := run(t, conn)(again, nil); k != nil {
			t.Error("a second install made a key")
		}
		if _, err := database.PlanInstall(t.Context(), conn, database.Options{API: "other"}); err == nil {
			t.Error("a second install into another schema was planned")
		}
		run(t, conn)(database.PlanAddKey(t.Context(), conn, "k2"))
		if _, err := database.PlanAddKey(t.Context(), conn, "k2"); err == nil {
			t.Error("a key was made twice")
		}
		run(t, conn)(database.PlanRemoveKey(t.Context(), conn, "k1"))
		if _, err := database.PlanRemoveKey(t.Context(), conn, "k1"); err == nil {
			t.Error("a key was removed twice")
		}
		if s := status(t, conn); len(s.Keys) != 1 || s.Keys[0].ID != "k2" {
			t.Errorf("keys %+v", s.Keys)
		}
		c.Exec(t, "postgres", "create table t (owner text); create policy p on t using (owner = jwt('sub'))")
		p, err := database.PlanRemove(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "depend") {
			t.Errorf("removed below a policy: %v", err)
		}
		c.Exec(t, "postgres", "drop table t")
		run(t, conn)(p, nil)
		if s := status(t, conn); s.Version != 0 {
			t.Errorf("left behind: %+v", s)
		}
		var left int
		if err := conn.QueryRow(t.Context(), `select count(*) from pg_roles where rolname like 'claimpool%'`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d roles are left (%v)", left, err)
		}
		if p, err := database.PlanRemove(t.Context(), conn); err != nil || !p.Empty() {
			t.Errorf("nothing to remove, but: %v %v", p, err)
		}
	})
}

// A managed database gives no superuser: an administrator with CREATEROLE who owns the database is enough.
func TestInstallByAnOrdinaryAdministrator(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", "create role admin login createrole password 'p'")
		c.Exec(t, "postgres", "create database app owner admin")
		if inst.Major < 15 {
			c.Exec(t, "app", "alter schema public owner to admin")
		}
		conn := c.Connect(t, "app", "admin", "p")
		for range 2 {
			if key := run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{API: "public"})); key == nil {
				t.Fatal("no key")
			}
			s := status(t, conn, "admin")
			if s.Version != database.Version || len(s.Keys) != 1 {
				t.Errorf("state %+v", s)
			}
			run(t, conn)(database.PlanAddKey(t.Context(), conn, "k2"))
			run(t, conn)(database.PlanRemoveKey(t.Context(), conn, "k1"))
			for _, sql := range []string{"select * from claimpool.keys", "select claimpool.add_key('mine')", "set role claimpool_owner"} {
				if _, err := conn.Exec(t.Context(), sql); err == nil {
					t.Errorf("%s: the administrator stayed the owner", sql)
				}
			}
			run(t, conn)(database.PlanRemove(t.Context(), conn))
		}
	})
}

func TestOwnerStaysForAnotherDatabase(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	c.Exec(t, "postgres", "create database a")
	c.Exec(t, "postgres", "create database b")
	a, b := c.Connect(t, "a", cluster.Superuser, ""), c.Connect(t, "b", cluster.Superuser, "")
	ka := run(t, a)(database.PlanInstall(t.Context(), a, database.Options{}))
	kb := run(t, b)(database.PlanInstall(t.Context(), b, database.Options{}))
	if string(ka.Secret) == string(kb.Secret) {
		t.Error("two databases have one key")
	}
	run(t, a)(database.PlanRemove(t.Context(), a))
	if s := status(t, b); s.Version != database.Version {
		t.Errorf("the other database has %+v", s)
	}
	run(t, b)(database.PlanRemove(t.Context(), b))
}

func TestStrangeNames(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	c.Exec(t, "postgres", `create schema "it's ""a"" \schema"`)
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{API: `it's "a" \schema`}))
	if s := status(t, conn); s.API != `it's "a" \schema` {
		t.Errorf("installed in %q", s.API)
	}
	run(t, conn)(database.PlanRemove(t.Context(), conn))
	for _, id := range []string{"a b", "a.b", "'", strings.Repeat("k", 33), "ä"} {
		if _, err := database.PlanInstall(t.Context(), conn, database.Options{KeyID: id}); err == nil {
			t.Errorf("key name %q was taken", id)
		}
	}
}

// What --dry-run prints is a script that psql can run, and it is what Run runs.
func TestDryRunIsTheScript(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	p, err := database.PlanInstall(t.Context(), conn, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := status(t, conn); s.Version != 0 {
		t.Fatal("planning changed the database")
	}
	c.Exec(t, "postgres", p.String())
	if s := status(t, conn); s.Version != database.Version || len(s.Keys) != 1 {
		t.Errorf("the script made %+v", s)
	}
	if strings.Contains(p.String(), ":api") || strings.Contains(p.String(), `:"api"`) {
		t.Error("a variable is left in the script")
	}
}

func TestProblemsAreFound(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{}))
	c.Exec(t, "postgres", "create role app login; create role other login")
	if s := status(t, conn, "app", "other"); len(s.Problems) != 0 {
		t.Fatalf("problems from the start: %q", s.Problems)
	}
	for _, test := range []struct{ do, undo, want string }{
		{"alter role claimpool_owner login", "alter role claimpool_owner nologin", "may log in"},
		{"alter role claimpool_owner superuser", "alter role claimpool_owner nosuperuser", "claimpool_owner is a superuser"},
		{"grant claimpool_owner to app", "revoke claimpool_owner from app", "role app may become"},
		{"alter role app superuser", "alter role app nosuperuser", "role app is a superuser"},
		{"alter role app bypassrls", "alter role app nobypassrls", "BYPASSRLS"},
		{"alter role app createrole", "alter role app nocreaterole", "CREATEROLE"},
		{"grant pg_read_all_data to app", "revoke pg_read_all_data from app", "read every table"},
		{"grant select on claimpool.keys to app", "revoke all on claimpool.keys from app", "SELECT on claimpool.keys is granted to app"},
		{"grant create on schema claimpool to public", "revoke create on schema claimpool from public", "CREATE on schema claimpool is granted to PUBLIC"},
		{"grant execute on function claimpool.add_key to app", "revoke all on function claimpool.add_key from app", "add_key may be called by app"},
		{"alter function claimpool.jwt() owner to app", "alter function claimpool.jwt() owner to claimpool_owner", "function claimpool.jwt() does not belong"},
		{"grant create on schema public to public", "revoke create on schema public from public", "beside jwt()"},
	} {
		t.Run(test.want, func(t *testing.T) {
			c.Exec(t, "postgres", test.do)
			s := status(t, conn, "app")
			if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], test.want) {
				t.Errorf("%s: %q", test.do, s.Problems)
			}
			c.Exec(t, "postgres", test.undo)
		})
	}
}
