package database_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

const (
	ada   = "0b9d2f5e-8a4c-4a53-9f0e-3b1c2d4e5f60"
	eve   = "7c1e0a92-13d4-4f7b-8a55-99aa00bb11cc"
	acme  = "5f0c7a31-2222-4b4b-9c9c-aaaaaaaaaaaa"
	adas  = `{"sub":"` + ada + `","role":"authenticated","email":"ada@example.com","tenant_id":"acme","o":{"id":"` + acme + `","slug":"acme","role":"owner"}}`
	eves  = `{"sub":"` + eve + `","role":"anon","email":"eve@example.com","tenant_id":"globex"}`
	table = `create table note (user_id uuid, owner text, tenant_id text, org uuid);
		insert into note values ('` + ada + `', '` + ada + `', 'acme', '` + acme + `'), ('` + eve + `', '` + eve + `', 'globex', null);
		alter table note enable row level security;
		alter table note force row level security;
		grant select, insert on note to public;`
)

// publishedPolicies have the shapes of the examples that the three systems publish.
var publishedPolicies = []string{
	`auth.uid() = user_id`,
	`(select auth.uid()) = user_id`,
	`auth.uid() is not null and (select auth.uid()) = user_id`,
	`auth.jwt() ->> 'tenant_id' = tenant_id`,
	`(select auth.jwt() ->> 'tenant_id') = tenant_id`,
	`auth.role() = 'authenticated' and owner = (select auth.uid()::text)`,
	`auth.email() = 'ada@example.com' and tenant_id = 'acme'`,
	`auth.user_id() = owner`,
	`(select auth.user_id()) = owner`,
	`auth.session() ->> 'sub' = owner`,
	`(auth.organization() ->> 'id')::uuid = org`,
	`auth.organization_id() = org`,
	`request.setting('request.jwt.claims', true)::json ->> 'sub' = owner`,
	`(request.setting('request.jwt.claims', true)::jsonb ->> 'tenant_id') = tenant_id`,
	`request.setting('request.jwt.claim.sub', true) = owner`,
}

var allPacks = database.Options{With: []string{"supabase", "neon", "postgrest"}}

func (p *prepared) installPacks(t testing.TB) {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	conn := p.Connect(t, p.db, cluster.Superuser, "")
	if key := run(t, conn)(database.PlanInstall(t.Context(), conn, allPacks)); key != nil {
		t.Fatal("packs made a key")
	}
}

func TestPublishedPolicies(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.installPacks(t)
		p.Exec(t, p.db, table)
		s := p.login(t)
		for _, policy := range publishedPolicies {
			p.Exec(t, p.db, "drop policy if exists own on note; create policy own on note using ("+policy+")")
			const rows = `select coalesce(string_agg(owner, ','), 'none') from note`
			s.as(adas).want(rows, ada)
			if got := s.as(eves).ask(rows); strings.Contains(got, ada) {
				t.Errorf("%s: eve sees %s", policy, got)
			}
			s.set("").want(rows, "none") // nobody
			s.set("forged").want(rows, invalid)
			s.set("")
			if t.Failed() {
				t.Fatalf("policy: %s", policy)
			}
		}
		if s := status(t, p.Connect(t, p.db, cluster.Superuser, ""), p.role); len(s.Problems) != 0 {
			t.Errorf("problems: %q", s.Problems)
		}
	})
}

func TestPackFunctions(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.installPacks(t)
		s := p.login(t)
		for _, test := range []struct{ claims, sql, want string }{
			{"", `select auth.jwt()::text`, "NULL"},
			{"", `select auth.uid()::text`, "NULL"},
			{"", `select auth.role()`, "NULL"},
			{"", `select auth.user_id()`, "NULL"},
			{"", `select auth.session()::text`, "null"}, // as in pg_session_jwt: JSON's null
			{"", `select (auth.session() is null)::text`, "false"},
			{"", `select auth.organization()::text`, "NULL"},
			{"", `select request.setting('request.jwt.claims', true)`, "NULL"},
			{"", `select request.setting('request.jwt.claims')`, "42704"},
			{"", `select request.setting('request.jwt.claim.sub', false)`, "42704"},
			{`{"sub":""}`, `select auth.uid()::text`, "NULL"},
			{`{"sub":"bob"}`, `select auth.uid()::text`, "22P02"},
			{`{"sub":"bob"}`, `select auth.user_id()`, "bob"},
			{`{"sub":"bob"}`, `select auth.session()::text`, `{"sub": "bob"}`},
			{adas, `select auth.organization() ->> 'slug'`, "acme"},
			{adas, `select auth.organization_id()::text`, acme},
			{`{"o":"acme"}`, `select auth.organization()::text`, "NULL"},
			{`{"o":{"slug":"x"}}`, `select auth.organization()::text`, `{"slug": "x"}`},
			{`{"o":{"slug":"x"}}`, `select auth.organization_id()::text`, "NULL"},
			{`{"o":{"id":"x"}}`, `select auth.organization_id()::text`, "NULL"},
			{adas, `select auth.role() || ' ' || auth.email()`, "authenticated ada@example.com"},
			{adas, `select request.setting('request.jwt.claims')::json ->> 'tenant_id'`, "acme"},
			{adas, `select request.setting('request.jwt.claim.absent', true)`, "NULL"},
			{adas, `select request.setting('request.headers', true)`, "22023"},
			{adas, `select request.setting('search_path', true)`, "22023"},
			{adas, `select request.setting(null, true)`, "22023"},
		} {
			if s.set(""); test.claims != "" {
				s.as(test.claims)
			}
			if got := s.ask(test.sql); got != test.want {
				t.Errorf("%s with %s: got %s, want %s", test.sql, test.claims, got, test.want)
			}
		}
	})
}

// TestAttackPacks: the attacker sets what the originals of these functions read, and puts objects of his own in the way.
//
// Must: The functions answer from the verified context alone.
// Dialects: sql
// Not native: the packs are functions in SQL over jwt(), the same for both
func TestAttackPacks(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.installPacks(t)
		p.Exec(t, p.db, table)
		p.Exec(t, p.db, "create schema his; grant all on schema his to "+p.role)
		s := p.login(t, "request.jwt.claims", adas, "request.jwt.claim.sub", ada).as(eves)
		for _, name := range []string{"request.jwt.claims", "request.jwt.claim", "pg_session_jwt.jwt", "jwt.context"} {
			s.exec("select pg_catalog.set_config($1, $2, false)", name, adas)
		}
		s.exec("select pg_catalog.set_config('request.jwt.claim.sub', $1, false)", ada)
		s.exec(`create function his.jwt() returns jsonb language sql as $$ select '` + adas + `'::jsonb $$`)
		s.exec(`create function his.jwt(text) returns text language sql as $$ select '` + ada + `' $$`)
		s.exec(`create function his.get(jsonb, text) returns text language sql as $$ select '` + ada + `' $$`)
		s.exec(`create operator his.->> (leftarg = jsonb, rightarg = text, function = his.get)`)
		s.exec(`create function his.same(text, text) returns boolean language sql as 'select true'`)
		s.exec(`create operator his.= (leftarg = text, rightarg = text, function = his.same)`)
		s.exec(`create function his.nullif(text, text) returns text language sql as $$ select '` + ada + `' $$`)
		s.exec(`create function his.starts_with(text, text) returns boolean language sql as 'select true'`)
		s.exec(`create type his.uuid as (x text)`)
		s.exec(`create temp table jwt (x int)`)
		s.exec(`set search_path = his, pg_temp, pg_catalog`)
		for _, policy := range publishedPolicies {
			p.Exec(t, p.db, "drop policy if exists own on public.note; create policy own on public.note using ("+policy+")")
			s.as(eves) // a seal holds for seconds
			if got := s.ask(`select coalesce(pg_catalog.string_agg(owner, ','), 'none') from public.note`); strings.Contains(got, ada) {
				t.Errorf("%s: eve sees %s", policy, got)
			}
		}
		s.as(eves).want(`select auth.uid()::text`, eve)
		s.want(`select auth.organization_id()::text`, "NULL")
		s.want(`select request.setting('request.jwt.claims')::json operator(pg_catalog.->>) 'sub'`, eve)
		s.want(`create function auth.uid(text) returns uuid language sql as 'select null::uuid'`, denied)
		s.want(`create or replace function auth.uid() returns uuid language sql as 'select null::uuid'`, denied)
		s.want(`create or replace function request.setting(text, boolean) returns text language sql as 'select null'`, denied)
		s.want(`drop schema auth cascade`, denied)
	})
}

// What reads request.jwt.* cannot be made safe by us, and is named.
func TestForgeableReadersAreNamed(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.installPacks(t)
		p.Exec(t, p.db, table)
		p.Exec(t, p.db, `
			create policy good on note using (owner = jwt('sub'));
			create policy better on note using (owner = request.setting('request.jwt.claims', true)::json ->> 'sub');
			create policy bad on note using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
			create policy worse on note for insert with check (owner = (select current_setting('request.jwt.claim.sub', true)));
			create function old() returns text stable language sql as $$ select current_setting( 'request.jwt.claim.sub', true) $$;
			create function new() returns text stable language sql return current_setting('Request.JWT.claims');`)
		got := status(t, p.Connect(t, p.db, cluster.Superuser, "")).Problems
		for i, want := range []string{"policy bad on", "policy worse on", `function public.new()`, "function public.old()"} {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Fatalf("problem %d: want %q in %q", i, want, got)
			}
		}
		if len(got) != 4 {
			t.Errorf("problems: %q", got)
		}
	})
}

func TestLifeOfPacks(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", "create role admin login createrole password 'p'")
		c.Exec(t, "postgres", "create database app owner admin")
		if inst.Major < 15 {
			c.Exec(t, "app", "alter schema public owner to admin; revoke create on schema public from public")
		}
		conn := c.Connect(t, "app", "admin", "p")
		with := func(names ...string) database.Options { return database.Options{With: names} }
		if _, err := database.PlanInstall(t.Context(), conn, with("oracle")); err == nil || !strings.Contains(err.Error(), `no pack "oracle"`) {
			t.Errorf("an unknown pack: %v", err)
		}
		if key := run(t, conn)(database.PlanInstall(t.Context(), conn, with("neon", "neon"))); key == nil {
			t.Error("no key")
		}
		if key := run(t, conn)(database.PlanInstall(t.Context(), conn, with("postgrest", "supabase", "neon"))); key != nil {
			t.Error("another key")
		}
		if s := status(t, conn, "admin"); !slices.Equal(s.Packs, []string{"supabase", "neon", "postgrest"}) {
			t.Errorf("packs %q, problems %q", s.Packs, s.Problems)
		}
		for _, o := range []database.Options{allPacks, {}, with("neon")} {
			if p, err := database.PlanInstall(t.Context(), conn, o); err != nil || !p.Empty() {
				t.Errorf("%v would be done again: %v %v", o, p, err)
			}
		}
		c.Exec(t, "app", "create table t (owner uuid); create policy p on t using (owner = auth.uid())")
		p, err := database.PlanRemove(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "depend") {
			t.Errorf("removed below a policy: %v", err)
		}
		c.Exec(t, "app", "drop table t; grant create on schema auth to public; create function auth.more() returns int language sql return 1")
		if s := status(t, conn); len(s.Problems) != 2 {
			t.Errorf("problems: %q", s.Problems)
		}
		c.Exec(t, "app", "revoke create on schema auth from public; drop function auth.more()")
		run(t, conn)(p, nil)
		var left int
		err = conn.QueryRow(t.Context(), `select (select count(*) from pg_namespace where nspname in ('auth', 'request', 'claimpool'))
			+ (select count(*) from pg_roles where rolname = 'claimpool_owner')`).Scan(&left)
		if err != nil || left != 0 {
			t.Errorf("%d things are left (%v)", left, err)
		}
	})
}

// A schema of somebody else, such as Supabase's own, is never taken over, and nothing else is installed either.
func TestPacksTakeNothingOver(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	c.Exec(t, "postgres", "create role somebody; create schema auth authorization somebody")
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	for _, name := range []string{"supabase", "neon"} {
		_, err := database.PlanInstall(t.Context(), conn, database.Options{With: []string{"postgrest", name}})
		if err == nil || !strings.Contains(err.Error(), `schema auth that belongs to role "somebody"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{With: []string{"postgrest"}}))
	run(t, conn)(database.PlanRemove(t.Context(), conn))
	c.Exec(t, "postgres", "drop schema auth") // which is still there
}

// installExtension makes the extension's objects. The harness cannot use CREATE EXTENSION, so the catalog is told by hand what that would
// have told it.
func installExtension(t *testing.T, n *pgtest.Native, db string) {
	t.Helper()
	n.Install(t, db)
	n.Exec(t, db, `set allow_system_table_mods = on; insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
		values (16000, 'claimpool', 10, 'public'::regnamespace, false, '1.0')`)
}

// With the extension, packs are all that is installed, and they read its jwt().
func TestPacksOnTheExtension(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		n := pgtest.StartNative(t, inst)
		db, issuer := n.NewDatabase(t), pgtest.NewIssuer(t, "https://issuer.test")
		role, password := n.NewRole(t)
		installExtension(t, n, db)
		conn := n.Connect(t, db, cluster.Superuser, "")
		if _, err := database.PlanInstall(t.Context(), conn, database.Options{}); err == nil || !strings.Contains(err.Error(), "extension") {
			t.Errorf("the SQL dialect over the extension: %v", err)
		}
		if key := run(t, conn)(database.PlanInstall(t.Context(), conn, allPacks)); key != nil {
			t.Error("a key for the extension")
		}
		if again, err := database.PlanInstall(t.Context(), conn, allPacks); err != nil || !again.Empty() {
			t.Errorf("a second install would do: %v %v", again, err)
		}
		if s := status(t, conn, role); s.Extension != "1.0" || s.Version != 0 || len(s.Packs) != 3 || len(s.Problems) != 0 {
			t.Errorf("state %+v", s)
		}
		n.Exec(t, db, table)
		proxy := pgtest.StartProxy(t, pgtest.ProxyOptions{
			Cluster: n.Cluster, Database: db, Role: role, Password: password, Dialect: &trusted.Native{Key: n.Key},
			Rules: []auth.Rule{pgtest.JWTRule(t, role, issuer)},
		})
		client := func(subject string) *pgx.Conn {
			token := issuer.Mint(subject, map[string]any{"role": "authenticated", "email": subject[:3] + "@example.com"})
			return pgtest.Connect(t, proxy.DSN(db, role, token, "require")+" default_query_exec_mode=exec")
		}
		a, e := client(ada), client(eve)
		direct := n.Connect(t, db, role, password)
		for _, policy := range []string{
			`(select auth.uid()) = user_id`, `auth.jwt() ->> 'sub' = owner`, `auth.role() = 'authenticated' and auth.user_id() = owner`,
			`request.setting('request.jwt.claims', true)::json ->> 'sub' = owner`,
		} {
			n.Exec(t, db, "drop policy if exists own on note; create policy own on note using ("+policy+")")
			for _, who := range []struct {
				conn *pgx.Conn
				want string
			}{{a, ada}, {e, eve}, {direct, "none"}} {
				var got string
				err := pgx.BeginFunc(t.Context(), who.conn, func(tx pgx.Tx) error { // so that the forgery reaches the server of the query
					if _, err := tx.Exec(t.Context(), `select set_config('request.jwt.claims', '`+adas+`', false)`); err != nil {
						return err
					}
					return tx.QueryRow(t.Context(), `select coalesce(string_agg(owner, ','), 'none') from note`).Scan(&got)
				})
				if err != nil || got != who.want {
					t.Errorf("%s: got %s (%v), want %s", policy, got, err, who.want)
				}
			}
		}
		n.Exec(t, db, "drop table note")
		run(t, conn)(database.PlanRemove(t.Context(), conn))
		if s := status(t, conn); s.Extension != "1.0" || len(s.Packs) != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// Under the extension's claimpool.request_claims nobody can set request.jwt.claims, so that policies may read it, nor the older names that
// Supabase's functions look at; other names of older versions anybody can.
func TestRequestClaimsOfTheExtension(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		n := pgtest.StartNative(t, inst, pgtest.WithSetting("claimpool.request_claims", "on"))
		db := n.NewDatabase(t)
		installExtension(t, n, db)
		n.Exec(t, db, table+`;
			create policy good on note using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
			create policy bad on note using (owner = current_setting('request.jwt.claim.tenant', true));
			create function uid() returns text stable language sql as $$ select coalesce(current_setting('request.jwt.claim', true), current_setting('request.jwt.claim.sub', true)) $$;
			create function good() returns text stable language sql return current_setting('request.jwt.claims');
			create function worse() returns text stable language sql return current_setting('request.jwt.claims.x', true)`)
		got := status(t, n.Connect(t, db, cluster.Superuser, "")).Problems
		if len(got) != 2 || !strings.HasPrefix(got[0], "policy bad on") || !strings.HasPrefix(got[1], "function public.worse()") {
			t.Errorf("problems: %q", got)
		}
	})
}
