package proxy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// forgeries are ways to write a context by SQL. %[1]s is the setting, %[2]s the forged context as a literal. Every statement may fail; what counts is
// what the attacker sees afterwards, in the same transaction and in the next ones.
var forgeries = []struct{ name, sql string }{
	{"SET", "SET %[1]s = %[2]s"},
	{"SET LOCAL", "BEGIN; SET LOCAL %[1]s = %[2]s"},
	{"SET in a subtransaction that goes on", "BEGIN; SAVEPOINT s; SET %[1]s = %[2]s; RELEASE s"},
	{"set_config", "SELECT set_config('%[1]s', %[2]s, false)"},
	{"set_config in another spelling", "SELECT set_config('%[3]s', %[2]s, false)"},
	{"set_config in the same query", "SELECT set_config('%[1]s', %[2]s, true); SELECT set_config('%[1]s', %[2]s, true), tenant FROM note"},
	{"DO", "DO $$ BEGIN PERFORM set_config('%[1]s', %[2]s, false); END $$"},
	{"UPDATE pg_settings", "UPDATE pg_settings SET setting = %[2]s WHERE name = '%[1]s'"},
	{"ALTER ROLE", "ALTER ROLE CURRENT_USER SET %[1]s = %[2]s"},
	{"function with a SET clause", "CREATE FUNCTION pg_temp.f() RETURNS bigint LANGUAGE sql SET %[1]s = %[2]s AS 'SELECT count(*) FROM note'; SELECT pg_temp.f()"},
	{"SET FROM CURRENT", "SELECT set_config('%[1]s', %[2]s, false); CREATE FUNCTION pg_temp.f() RETURNS bigint LANGUAGE sql SET %[1]s FROM CURRENT AS 'SELECT count(*) FROM note'; SELECT pg_temp.f()"},
	{"ROLLBACK TO an earlier value", "BEGIN; SELECT set_config('%[1]s', %[2]s, false); SAVEPOINT s; RESET %[1]s; ROLLBACK TO s"},
	{"COMMIT AND CHAIN", "BEGIN; SELECT set_config('%[1]s', %[2]s, false); COMMIT AND CHAIN"},
	{"prepared statement", "PREPARE f AS SELECT set_config('%[1]s', %[2]s, false); EXECUTE f"},
}

// TestAttackForgedSealThroughTheProxy: the attacker reads his own seal, changes the tenant in it (or its times, or makes one
// up), and writes it back in every way that SQL has. Where there is no seal to read, he writes the claims.
//
// Must: What he wrote does not verify: 28000, never a row of others, neither for him nor for the next client on the server
// connection, who finds nothing of it.
// Dialects: sql, native, pgbouncer
func TestAttackForgedSealThroughTheProxy(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		for _, forge := range f.forged() {
			for _, way := range forgeries {
				seal := forge.change(value(t, a, "SELECT coalesce(current_setting('"+f.setting()+"', true), '')"))
				results, _ := a.PgConn().Exec(t.Context(), fmt.Sprintf(way.sql, f.setting(), "$forged$"+seal+"$forged$", strings.ToUpper(f.setting()))).ReadAll()
				for _, row := range rowsWith(results, "t2") {
					t.Errorf("%s by %s: the attacker is answered %q", forge.name, way.name, row)
				}
				if a.PgConn().TxStatus() == 'E' {
					run(t, a, "ROLLBACK")
				}
				var got string
				err := a.QueryRow(t.Context(), whoami).Scan(&got)
				if sqlState(err) != "28000" && got != own("t1") {
					t.Errorf("%s by %s: the attacker sees %q, %v", forge.name, way.name, got, err)
				}
				if a.PgConn().TxStatus() != 'I' {
					run(t, a, "ROLLBACK")
				}
				mustBe(t, b, "t2")
				mustBe(t, a, "t1")
			}
		}
	})
}

// rowsWith gives the rows in which a field is just this.
func rowsWith(results []*pgconn.Result, field string) (found [][][]byte) {
	for _, r := range results {
		for _, row := range r.Rows {
			if slices.ContainsFunc(row, func(b []byte) bool { return string(b) == field }) {
				found = append(found, row)
			}
		}
	}
	return found
}

// forged are the contexts that the attacker writes: made of his own one where he can read it, or else what he would write.
func (f *tenants) forged() []forgery {
	if f.dialect == sql {
		return []forgery{
			{"another tenant", func(s string) string { return strings.Replace(s, `"t1"`, `"t2"`, 1) }},
			{"a token of the other tenant", func(string) string { return f.issuer.Mint("user-of-t2", map[string]any{"tenant_id": "t2"}) }},
			{"unsigned", func(s string) string { return s[strings.IndexByte(s, '{'):] }},
			{"zeros for the MAC", func(s string) string { return strings.Repeat("0", 64) + strings.Replace(s[64:], `"t1"`, `"t2"`, 1) }},
			{"one bit of the MAC", func(s string) string { return string(s[0]^1) + s[1:] }},
			{"longer window", func(s string) string { return strings.Replace(s, ".3000.", ".3600000.", 1) }},
		}
	}
	claims := forgery{"claims", func(string) string { return `{"tenant_id":"t2"}` }}
	if f.dialect == bouncer {
		return []forgery{claims}
	}
	return []forgery{
		claims,
		{"a token of the other tenant", func(string) string { return f.issuer.Mint("user-of-t2", map[string]any{"tenant_id": "t2"}) }},
		{"a token that is not signed", func(string) string { return "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiJ0MiJ9." }},
		{"nothing", func(string) string { return "" }},
	}
}

// forgery makes a context that nobody has sealed.
type forgery struct {
	name   string
	change func(seal string) string
}

// TestAttackForgedSealByFunctionCall: the attacker sends the very message with which the proxy hands a server over, right
// before his query, in one write, as part of a pipeline.
//
// Must: The forged context is refused: with the SQL dialect he gets 28000, with the extension the end of his connection. His
// query behind it sees nothing of others.
// Dialects: sql, native, pgbouncer
func TestAttackForgedSealByFunctionCall(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.connect(t, "t2")
		call, want := f.forgedCall(t, a)
		a.send(call, wire.AppendQuery(nil, whoami))
		if got := a.answer() + " " + a.answer(); got != want && want != "" || strings.Contains(got, "D(t2") {
			t.Errorf("a forged hand-over was answered %s", got)
		}
		mustBe(t, b, "t2")
		if f.dialect == native { // that was the end of his connection
			a = f.raw(t, "t1")
		}
		if got := a.one(whoami); got != own("t1") {
			t.Errorf("the attacker sees %q", got)
		}
	})
}

// forgedCall is the proxy's own message for a hand-over, with other claims, and the answer that it and a query must get.
func (f *tenants) forgedCall(t *testing.T, a *peer) (call []byte, want string) {
	t.Helper()
	if f.dialect == native {
		var oid uint32
		fmt.Sscan(a.one("SELECT 'claimpool.switch(bytea)'::regprocedure::oid::text"), &oid)
		grant := append([]byte{1, 0, 2, 'k', '1'}, make([]byte, 150)...)
		return wire.AppendBinaryCall(nil, oid, grant), "E(28000 fatal) EOF EOF"
	}
	if f.dialect == bouncer {
		return wire.AppendFunctionCall(nil, 2078, []byte(f.setting()), []byte(`{"tenant_id":"t2"}`), []byte("f")), ""
	}
	seal := a.one("SELECT current_setting('claimpool.context')")
	forged := strings.Replace(seal, `"t1"`, `"t2"`, 1)
	return wire.AppendFunctionCall(nil, 2078, []byte("claimpool.context"), []byte(forged), []byte("f")), "V Z(I) T E(28000) Z(I)"
}

// TestAttackContextAtStartup: the attacker brings a context, or a role, in his startup packet, in all spellings.
//
// Must: He is refused.
// Dialects: sql, native, pgbouncer
func TestAttackContextAtStartup(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, poolOf(1))
		token := f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t1"})
		for _, kv := range [][2]string{
			{"claimpool.context", "x"}, {"CLAIMPOOL.Context", "x"}, {"claimpool.other", "x"}, {"role", "postgres"}, {"ROLE", "postgres"},
			{"session_authorization", "postgres"}, {"options", "-c claimpool.context=x"}, {"options", "--claimpool.context=x"},
			{"options", `-c\ claimpool.context=x -cclaimpool.context=x`}, {"options", "-c role=postgres"}, {"options", "--session-authorization=postgres"},
			{"claimpool.gate", "off"}, {"options", "-c claimpool.gate=off"}, {"claimpool.proxy_keys", "k1:AAAA"},
			{"options", "-crole=postgres"}, {"options", "-c search_path=evil -c ROLE=postgres"}, {"replication", "database"}, {"replication", "true"},
		} {
			cfg, err := pgx.ParseConfig(f.DSN(f.database, f.role, token, "require"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.RuntimeParams[kv[0]] = kv[1]
			c, err := pgx.ConnectConfig(t.Context(), cfg)
			if err == nil {
				c.Close(t.Context())
			}
			var e *pgconn.PgError
			if !errors.As(err, &e) || e.Code != "0A000" && e.Code != "42601" && e.Code != "08P01" {
				t.Errorf("%s = %s was answered %v", kv[0], kv[1], err)
			}
		}
	})
}

// TestAttackReplayedSeal: the victim gives its seal away (or it was stolen).
//
// Must: On another server connection it must not work at all; on the same one not after its window.
// Dialects: sql
// Not native: no client ever has the bytes of a grant: they are in no setting
// Not pgbouncer: it has no seals
func TestAttackReplayedSeal(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		for _, size := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d server connections", size), func(t *testing.T) {
				f := start(t, func(o *pgtest.ProxyOptions) {
					poolOf(size)(o)
					window(o, 3*time.Second)
				})
				a, victim := f.connect(t, "t1"), f.connect(t, "t2")
				if size == 2 {
					run(t, a, "BEGIN") // keeps one of the two servers
				}
				seal, pid := value(t, victim, "SELECT current_setting('claimpool.context')"), backend(t, victim)
				if (backend(t, a) == pid) != (size == 1) {
					t.Fatal("the clients are on the wrong servers")
				}
				replay := func() (got, state string) {
					run(t, a, "ROLLBACK; BEGIN; SET LOCAL claimpool.context = $seal$"+seal+"$seal$")
					err := a.QueryRow(t.Context(), whoami).Scan(&got)
					run(t, a, "ROLLBACK")
					return got, sqlState(err)
				}
				if got, state := replay(); size == 2 && state != "28000" {
					t.Errorf("a stolen seal works on another server connection: %q", got)
				}
				soon(t, "for the seal to run out", func() bool { _, state := replay(); return state == "28000" })
				mustBe(t, a, "t1")
				mustBe(t, victim, "t2")
			})
		}
	})
}

// TestAttackShadowedFunctions: the role may create in public, as everybody can before PostgreSQL 15, and in a schema of its
// name, which stands in front of public in the search_path. The attacker makes functions, operators and tables of the names
// that policies and the proxy use.
//
// Must: What policies read was bound when they were made, and the proxy's own requests name nothing that can be shadowed:
// nobody sees foreign rows, and hand-overs go on.
// Dialects: sql, native
// Not pgbouncer: what is shadowed are functions of claimpool
func TestAttackShadowedFunctions(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s; CREATE SCHEMA %s AUTHORIZATION %s", f.role, f.role, f.role))
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		for _, schema := range []string{"public", f.role} {
			for _, sql := range []string{
				"CREATE FUNCTION %s.jwt(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 't1' $$",
				"CREATE FUNCTION %s.jwt(unknown) RETURNS text LANGUAGE sql AS $$ SELECT 't1' $$",
				"CREATE FUNCTION %s.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 't1' $$",
				"CREATE FUNCTION %s.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 't1' $$",
				"CREATE FUNCTION %s.greeting() RETURNS text LANGUAGE sql AS $$ SELECT 'v1|1/1|1' $$",
				"CREATE FUNCTION %s.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
				"CREATE OPERATOR %[1]s.= (LEFTARG = text, RIGHTARG = text, FUNCTION = %[1]s.yes)",
				"CREATE OPERATOR %[1]s.->> (LEFTARG = text, RIGHTARG = text, FUNCTION = %[1]s.yes)",
				"CREATE DOMAIN %s.text AS pg_catalog.text",
				"CREATE TABLE %s.keys (kid text, inside bytea, outside bytea)",
			} {
				if c := code(t, a, fmt.Sprintf(sql, schema)); c != "00000" && c != "42P13" {
					t.Fatalf("%s: %s", fmt.Sprintf(sql, schema), c)
				}
			}
		}
		for _, sql := range []string{
			"CREATE OR REPLACE FUNCTION public.jwt(text) RETURNS text LANGUAGE sql AS $$ SELECT 't2' $$",
			"CREATE OR REPLACE FUNCTION public.jwt() RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$",
			"DROP FUNCTION public.jwt(text)", "ALTER FUNCTION public.jwt(text) RENAME TO old",
			"CREATE FUNCTION claimpool.jwt(text) RETURNS text LANGUAGE sql AS $$ SELECT 't2' $$",
			"ALTER POLICY own ON note USING (true)", "ALTER TABLE note DISABLE ROW LEVEL SECURITY",
		} {
			if c := code(t, a, sql); c != "42501" {
				t.Errorf("%s: %s", sql, c)
			}
		}
		for range 3 {
			mustBe(t, b, "t2")
			mustBe(t, a, "t1")
		}
		a.Close(t.Context())
		p := f.again(t)
		mustBe(t, p.connect(t, "t3"), "t3") // a new server connection greets
	})
}
