package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/wire"
)

// refused runs SQL that must fail with one of the SQLSTATEs, and clears up.
func refused(t *testing.T, c *pgx.Conn, sql, states string) {
	t.Helper()
	if got := code(t, c, sql); !strings.Contains(states, got) {
		t.Errorf("%s: %s, want %s", sql, got, states)
	}
	if c.PgConn().TxStatus() != 'I' {
		run(t, c, "ROLLBACK")
	}
}

// TestAttackForeignRows: the attacker writes rows for another tenant, moves his own there, and reads through whatever might
// not be him: views, functions with the rights of the table's owner, cursors, a cheap function of his own in front of the
// policy, an error that tells what it has met, a deferred trigger at COMMIT.
//
// Must: He reads and writes his own rows alone; foreign ones are 42501, COPY FROM is 0A000.
// Dialects: sql, native
// Not pgbouncer: whoever writes his claims himself needs none of this (TestAttackForgedSealThroughTheProxy)
func TestAttackForeignRows(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, fmt.Sprintf(`
			CREATE SCHEMA scratch AUTHORIZATION %[1]s; CREATE TABLE scratch.seen (tenant text); ALTER TABLE scratch.seen OWNER TO %[1]s;
			CREATE ROLE %[1]s_owner; ALTER TABLE note OWNER TO %[1]s_owner;
			CREATE VIEW notes_view WITH (security_barrier) AS SELECT * FROM note; ALTER VIEW notes_view OWNER TO %[1]s_owner; GRANT SELECT ON notes_view TO %[1]s;
			CREATE FUNCTION whose() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT string_agg(DISTINCT tenant, ',') FROM note $$;
			GRANT USAGE ON SCHEMA public TO %[1]s_owner; ALTER FUNCTION whose() OWNER TO %[1]s_owner;
			CREATE TABLE trail (who text); GRANT ALL ON trail TO PUBLIC;
			CREATE FUNCTION trail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO trail VALUES (jwt('tenant_id')); RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER trail AFTER UPDATE ON note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trail()`, f.role))
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		mustBe(t, b, "t2")
		refused(t, a, "INSERT INTO note VALUES (9000, 't2', 'forged')", "42501")
		refused(t, a, "UPDATE note SET tenant = 't2'", "42501")
		refused(t, a, "COPY note FROM STDIN", "0A000")
		refused(t, a, "INSERT INTO note VALUES (2, 't1', 'over that of t2') ON CONFLICT (id) DO UPDATE SET body = 'x'", "42501")
		nothing := []string{
			"UPDATE note SET body = 'x' WHERE tenant = 't2'", "DELETE FROM note WHERE tenant = 't2'",
			"INSERT INTO note VALUES (2, 't1', 'beside that of t2') ON CONFLICT DO NOTHING",
		}
		if f.cluster.Installation.Major >= 15 {
			const merge = "MERGE INTO note USING (VALUES (2)) v (id) ON note.id = v.id WHEN "
			refused(t, a, merge+"NOT MATCHED THEN INSERT VALUES (9000, 't2', 'forged')", "42501")
			refused(t, a, "MERGE INTO note USING (VALUES (1)) v (id) ON note.id = v.id WHEN MATCHED THEN UPDATE SET tenant = 't2'", "42501")
			nothing = append(nothing, merge+"MATCHED THEN UPDATE SET body = 'x'", merge+"MATCHED THEN DELETE")
		}
		for _, sql := range nothing {
			if tag, err := a.Exec(t.Context(), sql); err != nil || tag.RowsAffected() != 0 {
				t.Errorf("%s: %v, %v", sql, tag, err)
			}
		}
		run(t, a, "CREATE FUNCTION scratch.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN INSERT INTO scratch.seen VALUES ($1); RETURN true; END $$")
		for _, sql := range []string{
			"SELECT string_agg(DISTINCT tenant, ',') FROM notes_view", "SELECT whose()",
			"SELECT string_agg(DISTINCT tenant, ',') FROM note WHERE tenant = 't2' OR true",
			"WITH w AS MATERIALIZED (SELECT * FROM note) SELECT string_agg(DISTINCT tenant, ',') FROM w",
			"SELECT string_agg(DISTINCT tenant, ',') FROM note WHERE scratch.leak(tenant)",
			"SELECT string_agg(DISTINCT tenant, ',') FROM notes_view WHERE scratch.leak(tenant)",
			"SELECT string_agg(DISTINCT tenant, ',') FROM scratch.seen",
			"SELECT string_agg(DISTINCT tenant, ',') FROM note WHERE 1 / (CASE tenant WHEN 't2' THEN 0 ELSE 1 END) = 1",
		} {
			if got := value(t, a, sql); got != "t1" {
				t.Errorf("%s: %s", sql, got)
			}
		}
		for tenant, c := range map[string]*pgx.Conn{"t1": a, "t2": b} {
			run(t, c, "BEGIN; UPDATE note SET body = 'mine'; COMMIT")
			if got := value(t, c, "SELECT string_agg(DISTINCT who, ',') FROM trail"); got != tenant {
				t.Errorf("the trigger at COMMIT of %s saw %s", tenant, got)
			}
			f.cluster.Exec(t, f.database, "TRUNCATE trail")
		}
		mustBe(t, b, "t2")
	})
}

// TestAttackPlans: plans outlive their time. The attacker has queries planned under his claims, in PL/pgSQL and in SQL functions
// of the database that all share, generic and custom, on the server connection that the next one gets.
//
// Must: A plan reads the claims anew whenever it runs.
// Dialects: sql, native
// Not pgbouncer: its policies read a setting; what that is worth is TestAttackForgedSealThroughTheProxy
func TestAttackPlans(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, fmt.Sprintf(`
			CREATE FUNCTION planned() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (%[1]s); END $$;
			CREATE FUNCTION forced() RETURNS text LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$ BEGIN RETURN (%[1]s); END $$;
			CREATE FUNCTION inlined() RETURNS text LANGUAGE sql STABLE AS $$ %[1]s $$;
			CREATE FUNCTION folded() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT jwt('tenant_id') $$;
			CREATE FUNCTION kept() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT string_agg(DISTINCT tenant, ',') FROM note WHERE tenant = jwt('tenant_id')); END $$`, whoami))
		conns := map[string]*pgx.Conn{"t1": f.connect(t, "t1"), "t2": f.connect(t, "t2"), "t3": f.connect(t, "t3")}
		for range 8 { // a generic plan is made at the sixth run
			for tenant, c := range conns {
				for _, fn := range []string{"planned", "forced", "inlined"} {
					if got := value(t, c, "SELECT "+fn+"()"); got != own(tenant) {
						t.Errorf("%s() as %s: %s", fn, tenant, got)
					}
				}
				if got := value(t, c, "SELECT folded() || kept()"); got != tenant+tenant {
					t.Errorf("as %s: %s", tenant, got)
				}
			}
		}
	})
}

// TestAttackDirectLogin: the attacker has the password of the pool's role, and goes past the proxy.
//
// Must: With the SQL dialect he sees no row under a policy; with the extension's gate nothing runs at all (28000).
// Dialects: sql, native
// Not pgbouncer: whoever passes it writes the same claims as through it
func TestAttackDirectLogin(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		direct := f.cluster.Connect(t, f.database, f.role, f.password)
		if f.dialect == native {
			for _, sql := range []string{whoami, "SELECT 1", "SHOW search_path", "SET search_path = public", "COPY note TO STDOUT", "DO $$ BEGIN END $$", "LOCK note", "CREATE TEMP TABLE x ()"} {
				refused(t, direct, sql, "28000")
			}
			return
		}
		if got := value(t, direct, whoami); got != "nobody 0" {
			t.Errorf("without a context: %s", got)
		}
		refused(t, direct, "INSERT INTO note VALUES (9000, 't2', 'forged')", "42501")
		for _, context := range []string{"x", `{"tenant_id":"t2"}`, f.issuer.Mint("user-of-t2", map[string]any{"tenant_id": "t2"})} {
			run(t, direct, "SELECT set_config('claimpool.context', $x$"+context+"$x$, false)")
			refused(t, direct, whoami, "28000")
		}
	})
}

// TestAttackTransactions: the attacker undoes, in the hope that an older context comes back: he rolls back around the hand-over
// and to savepoints, fails in subtransactions, commits and chains, commits in procedures, resets and discards, all of it in
// one query, in many and in a pipeline, where the one before on the server connection was somebody else.
//
// Must: Every query sees his own rows or none or gets an error, and so does the next client see its own. His next query sees his
// again; with the SQL dialect none, where he has emptied the context himself by set_config().
// Dialects: sql, native
// Not pgbouncer: there is no hand-over that could be undone
func TestAttackTransactions(t *testing.T) {
	const who = "(" + whoami + ")"
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "CREATE TABLE witness (who text); GRANT ALL ON witness TO PUBLIC")
		a, b := f.raw(t, "t1"), f.connect(t, "t2")
		see := "INSERT INTO witness SELECT " + who + "; "
		commits := "DO $$ BEGIN INSERT INTO witness SELECT " + who + "; COMMIT; INSERT INTO witness SELECT " + who + "; ROLLBACK; INSERT INTO witness SELECT " + who + "; END $$"
		for _, statement := range []string{
			"BEGIN; SAVEPOINT s; " + see + "ROLLBACK TO s; " + see + "COMMIT",
			"SAVEPOINT s", "ROLLBACK", "ROLLBACK; ROLLBACK; " + see, "BEGIN; ROLLBACK; " + see,
			"BEGIN; SELECT 1/0; ROLLBACK; " + see, "BEGIN; SELECT 1/0", "ROLLBACK; " + see, "SELECT 1/0; " + see,
			"DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN INSERT INTO witness SELECT " + who + "; END $$",
			"BEGIN; " + see + "COMMIT AND CHAIN; " + see + "COMMIT", "BEGIN; " + see + "ROLLBACK AND CHAIN; " + see + "COMMIT",
			"BEGIN; COMMIT; BEGIN; " + see + "COMMIT; " + see, see + "COMMIT; " + see + "BEGIN; " + see + "ROLLBACK",
			commits, "BEGIN; RESET ALL; " + see + "COMMIT; " + see, "RESET ALL; " + see, "DISCARD ALL", see,
			"BEGIN; RESET " + f.setting() + "; SAVEPOINT s; " + see + "ROLLBACK TO s; " + see + "ROLLBACK; " + see,
			"SELECT set_config('" + f.setting() + "', NULL, false); " + see, "UPDATE pg_settings SET setting = '' WHERE name = '" + f.setting() + "'; " + see,
			"SET LOCAL " + f.setting() + " = DEFAULT; " + see, "BEGIN ISOLATION LEVEL SERIALIZABLE; " + see + "COMMIT",
		} {
			mustBe(t, b, "t2")
			a.ask(statement)
			mustEnd(a)
			emptied := f.dialect == sql && strings.Contains(statement, "NULL, false")
			if got := a.one(whoami); got != own("t1") && !(emptied && got == "nobody 0") {
				t.Errorf("after %s: %s", statement, got)
			}
			mustBe(t, b, "t2")
			a.send(join(extended("SELECT 1/0"), extended(see[:len(see)-2]), wire.AppendSync(nil), extended(see[:len(see)-2]), wire.AppendSync(nil)))
			a.answer()
			a.answer()
		}
		witnesses := value(t, f.admin(t), "SELECT string_agg(DISTINCT who, ', ' ORDER BY who) FROM witness")
		if witnesses != own("t1") && witnesses != "nobody 0, "+own("t1") {
			t.Errorf("the attacker has seen %s", witnesses)
		}
	})
}

// mustEnd ends a transaction that is open.
func mustEnd(p *peer) {
	p.t.Helper()
	if got := p.ask("ROLLBACK"); !strings.HasSuffix(got, "Z(I)") {
		p.t.Fatalf("ROLLBACK was answered %s", got)
	}
}

// TestAttackPreparedTransaction: the attacker leaves a prepared transaction behind, with a deferred trigger that reads claims, and
// has it committed by somebody else; or the other way around.
//
// Must: The trigger runs at PREPARE TRANSACTION, under the claims of who wrote the rows; who commits runs nothing of the other's, and
// both go on with their own context.
// Dialects: sql, native
// Not pgbouncer: its clients set their claims in each transaction
func TestAttackPreparedTransaction(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, `CREATE TABLE trail (who text); GRANT ALL ON trail TO PUBLIC;
			CREATE FUNCTION trail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO trail VALUES (jwt('tenant_id')); RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER trail AFTER UPDATE ON note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trail()`)
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		for _, end := range []string{"COMMIT", "ROLLBACK"} {
			run(t, a, "BEGIN; UPDATE note SET body = 'of t1'; PREPARE TRANSACTION '"+f.role+"'")
			mustBe(t, b, "t2")
			mustBe(t, a, "t1")
			run(t, b, end+" PREPARED '"+f.role+"'")
			mustBe(t, b, "t2")
			mustBe(t, a, "t1")
		}
		if got := value(t, b, "SELECT count(*)::text FROM note WHERE body = 'of t1'"); got != "0" {
			t.Errorf("%s rows of t2 were changed", got)
		}
		if got := value(t, b, "SELECT string_agg(DISTINCT who, ',') || count(*) FROM trail"); got != "t110" {
			t.Errorf("the triggers saw %s", got)
		}
	})
}

// TestAttackTwoProxies: two proxies of one database know nothing of each other. The attacker is a client of both, and changes
// hands with his victims on their server connections.
//
// Must: Everybody sees his own rows, whichever way he comes.
// Dialects: sql, native
// Not pgbouncer: it has no part in what clients write themselves
func TestAttackTwoProxies(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		second := f.again(t)
		for _, conns := range []map[string]*pgx.Conn{
			{"t1": f.connect(t, "t1"), "t2": second.connect(t, "t2")}, {"t2": f.connect(t, "t2"), "t1": second.connect(t, "t1")},
			{"t3": f.connect(t, "t3"), "t1": second.connect(t, "t1")},
		} {
			if _, err := alternate(t.Context(), conns, 20, nil); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAttackFirstMessage: the first message of a transaction meets a server connection that was just handed over, perhaps in the
// same write. Whatever its kind, it must not notice: neither a transaction that is open already, nor a state that is not its own,
// nor a commit that is lost.
//
// Must: It is answered, and does, what PostgreSQL alone would.
// Dialects: sql, native
// Not pgbouncer: it sends nothing in front
func TestAttackFirstMessage(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "CREATE TABLE own_notes (body text); ALTER TABLE own_notes OWNER TO "+f.role+"; GRANT CREATE ON SCHEMA public TO "+f.role)
		a, b := f.raw(t, "t1"), f.connect(t, "t2")
		sync := wire.AppendSync(nil)
		for _, test := range []struct {
			name     string
			messages []byte
			want     string
			rows     string // in own_notes, afterwards
		}{
			{"insert", wire.AppendQuery(nil, "INSERT INTO own_notes VALUES ('x')"), "C(INSERT 0 1) Z(I)", "1"},
			{"insert, extended", join(extended("INSERT INTO own_notes VALUES ('x')"), sync), "1 2 C(INSERT 0 1) Z(I)", "1"},
			{"two inserts in one batch", join(extended("INSERT INTO own_notes VALUES ('x')"), extended("INSERT INTO own_notes VALUES ('x')"), sync), "1 2 C(INSERT 0 1) 1 2 C(INSERT 0 1) Z(I)", "2"},
			{"a batch that fails", join(extended("INSERT INTO own_notes VALUES ('x')"), extended("SELECT 1/0"), sync), "1 2 C(INSERT 0 1) 1 E(22012) Z(I)", "0"},
			{"isolation level", wire.AppendQuery(nil, "BEGIN ISOLATION LEVEL SERIALIZABLE"), "C(BEGIN) Z(T)", "0"},
			{"isolation level, extended", join(extended("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"), sync), "1 2 C(BEGIN) Z(T)", "0"},
			{"vacuum", wire.AppendQuery(nil, "VACUUM own_notes"), "C(VACUUM) Z(I)", "0"},
			{"vacuum, extended", join(extended("VACUUM own_notes"), sync), "1 2 C(VACUUM) Z(I)", "0"},
			{"index concurrently", wire.AppendQuery(nil, "CREATE INDEX CONCURRENTLY ON own_notes (body)"), "C(CREATE INDEX) Z(I)", "0"},
			{"discard", wire.AppendQuery(nil, "DISCARD ALL"), "C(DISCARD ALL) Z(I)", "0"},
			{"function call", wire.AppendFunctionCall(nil, 2078, []byte("my.setting"), []byte("x"), []byte("f")), "V Z(I)", "0"},
			{"copy", wire.AppendQuery(nil, "COPY own_notes FROM STDIN"), "G", "1"},
			{"copy to", wire.AppendQuery(nil, "COPY (SELECT 1) TO STDOUT"), "H d c C(COPY 1) Z(I)", "0"},
			{"nothing", wire.AppendQuery(nil, ""), "I Z(I)", "0"},
			{"sync", sync, "Z(I)", "0"},
			{"parse that fails", join(wire.AppendParse(nil, "", "SELEC"), sync), "E(42601) Z(I)", "0"},
		} {
			mustBe(t, b, "t2")
			a.send(test.messages)
			got := ""
			if test.want == "G" {
				got, _ = a.message()
				a.send(wire.AppendCopyData(nil, []byte("x\n")), wire.AppendCopyDone(nil))
				a.answer()
			} else {
				got = a.answer()
			}
			if got != test.want {
				t.Errorf("%s was answered %s, not %s", test.name, got, test.want)
			}
			mustEnd(a)
			if got := value(t, b, "WITH gone AS (DELETE FROM own_notes RETURNING 1) SELECT count(*)::text FROM gone"); got != test.rows {
				t.Errorf("%s: %s rows, not %s", test.name, got, test.rows)
			}
		}
	})
}
