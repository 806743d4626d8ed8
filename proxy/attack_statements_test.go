package proxy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// secretNames asks for the names that the proxy has given to the statements on the server connection at hand.
func secretNames(p *peer, like string) []string {
	p.t.Helper()
	got := p.one("SELECT coalesce(string_agg(name, ' '), '') FROM pg_prepared_statements WHERE name LIKE 'claimpool%' AND statement LIKE '" + like + "'")
	return strings.Fields(got)
}

// TestAttackStatementsOfAnotherTenant: there is one server connection. The attacker prepares the very texts that his neighbour
// prepares, learns the names that they have on the server, and leaves statements of his own under those names and under the
// neighbour's.
//
// Must: The neighbour executes his own statements, and sees his own rows; by the names of the attacker's he finds nothing.
// Dialects: sql, native
// Not pgbouncer: its statements belong to all who use the server connection
func TestAttackStatementsOfAnotherTenant(t *testing.T) {
	const text = "SELECT jwt('tenant_id') || count(*) FROM note"
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.raw(t, "t2")
		b.tell(parsed, prepare("q", text))
		b.tell("2 D(t210) C(SELECT 1) Z(I)", execute("q"))
		theirs := secretNames(b, "SELECT jwt(%")
		if len(theirs) != 1 {
			t.Fatalf("b's statement is on the server as %q", theirs)
		}
		for range 3 {
			a.tell(parsed, prepare("q", text))
			names := append(secretNames(a, "%"), append(theirs, "q", "claimpool_nothing", "claimpool_refused")...)
			for _, name := range names {
				a.ask(fmt.Sprintf("DEALLOCATE %q", name)) // if it is there
				a.expect(fmt.Sprintf("PREPARE %q AS SELECT 'poison'", name), "C(PREPARE) Z(I)")
			}
			b.tell("2 D(t210) C(SELECT 1) Z(I)", execute("q"))
			for _, name := range names[:len(names)-3] { // a's, by name: the protocol gives him no name of ours, SQL finds none
				b.tell("E(26000) Z(I)", execute(name))
				if got := b.ask(fmt.Sprintf("EXECUTE %q", name)); got != "E(26000) Z(I)" && !strings.Contains(got, "t210") {
					t.Errorf("b runs %s: %s", name, got)
				}
			}
			a.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, "q")))
			b.tell("3 1 Z(I)", wire.AppendClose(nil, wire.KindStatement, "q"), prepare("q", text))
		}
	})
}

// TestAttackStatementsOfTheSameIdentity: two clients of one identity share a server connection. One, taken over by an
// attacker, puts other statements in the place of those that the other one has prepared, by every way that SQL has and that
// shows in the tags of his commands.
//
// Must: The other client's arguments go to its own statement.
// Dialects: sql, native
// Not pgbouncer: its statements belong to all who use the server connection
func TestAttackStatementsOfTheSameIdentity(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "GRANT TEMP ON DATABASE "+f.database+" TO "+f.role)
		a, b := f.raw(t, "t1"), f.raw(t, "t1")
		b.tell(parsed, prepare("q", "SELECT 'right ' || $1::text", 25))
		for _, test := range []struct{ name, before, attack string }{
			{"DEALLOCATE and PREPARE", "", `DEALLOCATE "$N"; PREPARE "$N" (text) AS SELECT 'poison ' || $1`},
			{"DEALLOCATE ALL and PREPARE", "", `DEALLOCATE ALL; PREPARE "$N" (text) AS SELECT 'poison ' || $1`},
			{"DISCARD ALL and PREPARE", "", `DISCARD ALL ~ PREPARE "$N" (text) AS SELECT 'poison ' || $1`},
			{"in a transaction that is rolled back", "", `BEGIN; DEALLOCATE "$N"; PREPARE "$N" (text) AS SELECT 'poison ' || $1; ROLLBACK`},
			{"in a transaction that fails", "", `BEGIN; DEALLOCATE "$N"; PREPARE "$N" (text) AS SELECT 'poison ' || $1; SELECT 1/0 ~ ROLLBACK`},
			{"in DO", "", `DO $$BEGIN EXECUTE 'DEALLOCATE "$N"'; EXECUTE 'PREPARE "$N" (text) AS SELECT ''poison '' || $1'; END$$`},
			{"in a function", `CREATE FUNCTION pg_temp.f(n text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
				EXECUTE format('DEALLOCATE %I', n); EXECUTE format('PREPARE %I (text) AS SELECT ''poison '' || $1', n); RETURN 1; END$$`, `SELECT pg_temp.f('$N')`},
			{"in a procedure", `CREATE PROCEDURE pg_temp.p(n text) LANGUAGE plpgsql AS $$BEGIN
				EXECUTE format('DEALLOCATE %I', n); EXECUTE format('PREPARE %I (text) AS SELECT ''poison '' || $1', n); END$$`, `CALL pg_temp.p('$N')`},
			{"in a function made in DO", `DO $x$BEGIN CREATE FUNCTION pg_temp.g(n text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
				EXECUTE format('DEALLOCATE %I', n); EXECUTE format('PREPARE %I (text) AS SELECT ''poison '' || $1', n); RETURN 1; END$$; END$x$`, `SELECT pg_temp.g('$N')`},
		} {
			t.Run(test.name, func(t *testing.T) {
				if test.before != "" {
					a.ask(test.before)
				}
				for range 3 { // the last times the function is there already
					b.tell("2 D(right 1) C(SELECT 1) Z(I)", execute("q", "1"))
					names := secretNames(a, "%right%")
					if len(names) != 1 {
						t.Fatalf("%q on the server", names)
					}
					got := ""
					for sql := range strings.SplitSeq(strings.ReplaceAll(test.attack, "$N", names[0]), "~") {
						got += a.ask(sql)
					}
					if strings.Contains(got, "Z(E)") && !strings.HasSuffix(got, "Z(I)") {
						t.Fatalf("the attack is broken: %s", got)
					}
					if n := a.one(fmt.Sprintf("SELECT count(*)::text FROM pg_prepared_statements WHERE name = '%s' AND from_sql", names[0])); n != "1" {
						t.Fatalf("the attack is broken: %s, %s", got, n)
					}
					b.tell("2 D(right 2) C(SELECT 1) Z(I)", execute("q", "2"))
					b.tell("t T Z(I)", wire.AppendSync(wire.AppendDescribe(nil, wire.KindStatement, "q")))
				}
			})
		}
	})
}

// TestAttackStatementsByOurNames: the attacker names the proxy's own statements in messages of the protocol.
//
// Must: They are nobody's: he can neither execute nor describe nor close one, whoever it belongs to, and can prepare none that
// the proxy would take for its own.
// Dialects: sql, native
// Not pgbouncer: it has other names
func TestAttackStatementsByOurNames(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.raw(t, "t1")
		b.tell(parsed, prepare("q", "SELECT 'of b'"))
		name := secretNames(a, "%of b%")[0]
		if !regexp.MustCompile(`^claimpool_[A-Za-z0-9_-]{22}$`).MatchString(name) {
			t.Errorf("%q can be guessed", name)
		}
		a.tell("E(26000) Z(I)", execute(name))
		a.tell("E(26000) Z(I)", wire.AppendSync(wire.AppendDescribe(nil, wire.KindStatement, name)))
		a.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, name)))
		a.tell(parsed, prepare(name, "SELECT 'poison'"))
		a.tell("2 D(poison) C(SELECT 1) Z(I)", execute(name))
		b.tell("2 D(of b) C(SELECT 1) Z(I)", execute("q"))
		a.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, name)))
		b.tell("2 D(of b) C(SELECT 1) Z(I)", execute("q"))
	})
}

// TestAttackUnnamedStatementOfAnotherClient: the attacker leaves an unnamed statement behind. The next client of the same
// identity has had its own one on that server connection before.
//
// Must: Its own statement follows it; it does not run the attacker's, nor is it told about that.
// Dialects: sql, native
// Not pgbouncer: it lets that pass
func TestAttackUnnamedStatementOfAnotherClient(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.raw(t, "t1")
		for range 2 {
			b.tell(parsed, prepare("", "SELECT 'of b'"))
			a.tell(parsed, prepare("", "SELECT 'poison'"))
			b.tell("2 D(of b) C(SELECT 1) Z(I)", execute(""))
			a.tell(parsed, prepare("", "INSERT INTO note VALUES (1, 't1', 'poison')"))
			b.tell("t T Z(I)", wire.AppendSync(wire.AppendDescribe(nil, wire.KindStatement, ""))) // of rows
		}
	})
}

// TestAttackManyStatements: the attacker prepares without end: names, texts, one long pipeline without a Sync.
//
// Must: The proxy and the server remember no more than they may, and nothing when he has left; others are served.
// Dialects: sql, native
// Not pgbouncer: it has other bounds
func TestAttackManyStatements(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			o.Statements = prepared.Limits{Server: 20, Client: 50, Bytes: 50_000}
		})
		a := f.raw(t, "t1")
		for i := range 200 {
			want := parsed
			if i >= 50 {
				want = "E(54000) Z(I)"
			}
			a.tell(want, prepare(fmt.Sprint("s", i), fmt.Sprintf("SELECT %d", i)))
		}
		if n := len(secretNames(a, "%")); n > 21 {
			t.Errorf("%d statements on the server", n)
		}
		for i := range 200 { // prepared and closed: different texts without end
			name := fmt.Sprint("t", i)
			a.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, "s0")))
			a.tell(parsed, prepare("s0", "SELECT '"+name+"'"))
		}
		if n := len(secretNames(a, "%")); n > 21 || f.Texts() != 50 {
			t.Errorf("%d statements on the server, %d texts", n, f.Texts())
		}
		var flood []byte
		for range 70_000 {
			flood = wire.AppendClose(flood, wire.KindStatement, "s1")
			flood = wire.AppendParse(flood, "s1", "SELECT 1")
		}
		go a.Write(flood) // nobody reads the answers
		b := f.raw(t, "t2")
		if got := b.one("SELECT 'alive'"); got != "alive" {
			t.Errorf("b gets %s", got)
		}
		a.Close()
		soon(t, "for the texts to be forgotten", func() bool { return f.Texts() == 0 })
	})
}
