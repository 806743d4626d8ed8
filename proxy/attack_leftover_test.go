package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackLeftOverState: there is one server connection. The attacker leaves on it whatever a session can hold, and the next
// client is of another tenant.
//
// Must: It must find nothing of it: neither a table in front of the real one, nor a plan, a cursor, a lock, a role or a
// setting.
// Dialects: sql, native, pgbouncer
func TestAttackLeftOverState(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		group, _ := f.cluster.NewRole(t)
		f.cluster.Exec(t, f.database, fmt.Sprintf("GRANT %s TO %s; CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO %s; CREATE SEQUENCE seq; GRANT ALL ON SEQUENCE seq TO %s",
			group, f.role, f.role, f.role))
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		shared := backend(t, a)
		clean := settings(t, b)
		for _, test := range []struct {
			name, leave, ask, want string // want is a SQLSTATE, or a value after "="
		}{
			{"temporary table in front of the real one", "CREATE TEMP TABLE note AS SELECT 't2'::text tenant, 0 id, 'fake'::text body", whoami, "=t2 10"},
			{"temporary table to read", "CREATE TEMP TABLE loot AS SELECT * FROM note", "SELECT count(*)::text FROM pg_temp.loot", "42P01"},
			{"temporary view in front of the real table", "CREATE TEMP VIEW note AS SELECT 't2'::text tenant FROM generate_series(1, 99)", whoami, "=t2 10"},
			{"table in a schema in front of public", "CREATE TABLE evil.note (tenant text); SET search_path = evil, public", whoami, "=t2 10"},
			{"temporary function", "CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT 1::text'", "SELECT pg_temp.f()", "3F000 42883"},
			{"temporary type", "CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (false)", "SELECT 'x'::text", "=x"},
			{"prepared statement", "PREPARE q AS SELECT jwt('tenant_id')", "EXECUTE q", "26000"},
			{"cursor with hold", "DECLARE c CURSOR WITH HOLD FOR SELECT body FROM public.note", "FETCH c", "34000"},
			{"advisory lock", "SELECT pg_advisory_lock(42)", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'", "=0"},
			{"LISTEN", "LISTEN gossip", "SELECT count(*)::text FROM pg_listening_channels()", "=0"},
			{"last value", "SELECT nextval('seq')", "SELECT lastval()::text", "55000"},
			{"value of a sequence", "SELECT nextval('seq')", "SELECT currval('seq')::text", "55000"},
			{"role", "SET ROLE " + group, "SELECT current_user::text", "=" + f.role},
			{"session authorization", "SET SESSION AUTHORIZATION " + f.role, "SELECT session_user::text", "=" + f.role},
			{"read-only transactions", "SET default_transaction_read_only = on", "UPDATE note SET body = 'x' WHERE id = 2 RETURNING id::text", "=2"},
			{"serializable transactions", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT current_setting('transaction_isolation')", "=read committed"},
			{"row security off", "SET row_security = off", whoami, "=t2 10"},
			{"statement timeout", "SET statement_timeout = 20", "SELECT pg_sleep(0.1)::text", "="},
			{"debug messages", "SET client_min_messages = debug5", "SELECT current_setting('client_min_messages')", "=notice"},
			{"encoding and styles", "SET client_encoding = LATIN1; SET DateStyle = German; SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = iso_8601; SET bytea_output = escape; SET extra_float_digits = 0",
				"SELECT concat_ws(' ', 'é', timestamptz '2024-12-31 23:00Z', interval '1 day', '\\x00'::bytea, 0.1::float8 + 0.2)", `=é 2024-12-31 23:00:00+00 1 day \x00 0.30000000000000004`},
			{"application name", "SET application_name = 'a message for b'", "SELECT current_setting('application_name')", "=" + clean["application_name"]},
			{"the attacker's context", "SELECT 1", "SELECT (position('t1' in coalesce(current_setting('" + f.setting() + "', true), '')) > 0)::text", "=false"},
			{"value of a setting of his own", "SET my.setting = 'a message for b'", "SELECT coalesce(current_setting('my.setting', true), '')", "="},
			{"subtransactions and a failed transaction", "BEGIN; SAVEPOINT s; SELECT 1/0", whoami, "=t2 10"},
			{"planner settings", "SET enable_seqscan = off; SET jit = off; SET work_mem = 64; SET plan_cache_mode = force_generic_plan", whoami, "=t2 10"},
		} {
			t.Run(test.name, func(t *testing.T) {
				if f.dialect == bouncer { // where nothing is reset, what one row has left must not tell of the next
					anew := f.again(t)
					a, b = anew.connect(t, "t1"), anew.connect(t, "t2")
				}
				if c := code(t, a, test.leave); c != "00000" && !strings.Contains(test.leave, "1/0") {
					t.Errorf("the attack is broken: %s", c)
				}
				if st := a.PgConn().TxStatus(); st != 'I' {
					run(t, a, "ROLLBACK")
				}
				got, err := fetch(t.Context(), b, test.ask)
				if want, ok := strings.CutPrefix(test.want, "="); ok {
					if err != nil || got == nil || *got != want {
						t.Errorf("b sees %v, %v; want %q", deref(got), err, want)
					}
				} else if !strings.Contains(test.want, sqlState(err)) {
					t.Errorf("b sees %v, %v; want %s", deref(got), err, test.want)
				}
				mustBe(t, b, "t2")
				f.compare(t, b, clean)
			})
		}
		if f.dialect == bouncer {
			return
		}
		if got := backend(t, b); got != shared {
			t.Errorf("the server connection was replaced (%s, %s): the test has shown less than it says", shared, got)
		}
	})
}

func deref(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

// TestAttackLeftOverRandomness: the attacker seeds random() on the shared server connection, so that he knows the "random"
// passwords that the next tenant makes with it.
//
// Must: The next client's numbers are others.
// Dialects: sql, native, pgbouncer
func TestAttackLeftOverRandomness(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		for _, seed := range []string{"SELECT setseed(0.5)", "SET seed = 0.5"} {
			known := map[string]bool{}
			run(t, a, "BEGIN; "+seed)
			for range 20 {
				known[value(t, a, "SELECT random()::text")] = true
			}
			run(t, a, "COMMIT; "+seed)
			for range 5 {
				if v := value(t, b, "SELECT random()::text"); known[v] {
					t.Errorf("%s: the attacker knows the random number %s of his neighbour", seed, v)
				}
			}
		}
	})
}

// TestAttackLeftOverStatements: the attacker leaves statements and portals of the extended protocol, with names that the
// neighbour's driver will use and without a name.
//
// Must: Neither can the neighbour run them, nor do his own names collide.
// Dialects: sql, native, pgbouncer
func TestAttackLeftOverStatements(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.raw(t, "t2")
		const parsed = "1 Z(I)"
		a.send(wire.AppendSync(wire.AppendParse(nil, "stmt_1", "SELECT 'from a'")))
		if got := a.answer(); got != parsed {
			t.Fatal(got)
		}
		a.send(wire.AppendSync(wire.AppendParse(nil, "", "SELECT 'from a'")))
		if got := a.answer(); got != parsed {
			t.Fatal(got)
		}
		for _, name := range []string{"stmt_1", ""} {
			b.send(wire.AppendSync(wire.AppendExecute(wire.AppendBind(nil, "", name, nil), "", 0)))
			if got := b.answer(); got != "E(26000) Z(I)" {
				t.Errorf("b executes a's statement %q: %s", name, got)
			}
		}
		b.send(wire.AppendSync(wire.AppendExecute(nil, "", 0)))
		if got := b.answer(); got != "E(34000) Z(I)" {
			t.Errorf("b executes a's portal: %s", got)
		}
		b.send(wire.AppendSync(wire.AppendParse(nil, "stmt_1", "SELECT 'from b'")))
		if got := b.answer(); got != parsed {
			t.Errorf("b cannot use the name: %s", got)
		}
	})
}

// TestAttackParametersOfTheNextClient: the attacker changes what PostgreSQL reports (encoding, styles, time zone).
//
// Must: The next client must neither be told of it nor get answers in it, and the attacker's own settings follow him, not the
// server.
// Dialects: sql, native, pgbouncer
func TestAttackParametersOfTheNextClient(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		a, b := f.raw(t, "t1"), f.raw(t, "t2", [2]string{"application_name", "b's own"}, f.dateStyle())
		want := b.one("SELECT concat_ws(' ', current_setting('client_encoding'), current_setting('TimeZone'), date '2024-12-31', current_setting('application_name'), 'é')")
		if want != "UTF8 UTC 31/12/2024 b's own é" && f.dialect != bouncer { // which leaves the time zone to the server
			t.Errorf("b begins with %q", want)
		}
		before := fmt.Sprint(b.params) // with its DateStyle as PostgreSQL writes it
		for range 3 {
			a.ask("SET client_encoding = LATIN1; SET DateStyle = German; SET TimeZone = 'Asia/Tokyo'; SET application_name = 'a'; SET standard_conforming_strings = off; SET IntervalStyle = sql_standard; SET default_transaction_read_only = on")
			if got := b.one("SELECT concat_ws(' ', current_setting('client_encoding'), current_setting('TimeZone'), date '2024-12-31', current_setting('application_name'), 'é')"); got != want {
				t.Errorf("b gets %q, not %q", got, want)
			}
			if after := fmt.Sprint(b.params); after != before {
				t.Errorf("b was told of a's parameters:\n%s\n%s", before, after)
			}
			if got := a.one("SELECT date '2024-12-31' || current_setting('TimeZone')"); got != "31.12.2024Asia/Tokyo" {
				t.Errorf("a's own settings did not follow: %q", got)
			}
		}
	})
}

// dateStyle is a startup parameter that sets it. PgBouncer takes no options.
func (f *tenants) dateStyle() [2]string {
	if f.dialect == bouncer {
		return [2]string{"DateStyle", "SQL, DMY"}
	}
	return [2]string{"options", "-c DateStyle=SQL,DMY"}
}

// TestAttackNotifications: the attacker listens, leaves, and lets notifications rain on the server connection while the next
// client uses it, in the middle of answers too.
//
// Must: No notification may reach a client in transaction mode; in session mode only those of its own LISTEN.
// Dialects: sql, native, pgbouncer
func TestAttackNotifications(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		modes := []pool.Mode{pool.Transaction, pool.Session}
		if len(targets([]string{sql, native})) == 1 {
			modes = modes[:1] // PgBouncer is compared in this one
		}
		for _, mode := range modes {
			t.Run(string(mode), func(t *testing.T) {
				f := start(t, inMode(mode, 1))
				admin := f.admin(t)
				a := f.raw(t, "t1")
				a.expect("LISTEN gossip", "C(LISTEN) Z(I)")
				if mode == pool.Session {
					a.leave()
					f.atRest(t, 0, 1)
				}
				b := f.raw(t, "t2")
				for i := range 20 {
					run(t, admin, fmt.Sprintf("NOTIFY gossip, 'message %d'", i))
					if got := b.one("SELECT count(*) FROM note"); got != "10" {
						t.Errorf("b sees %s rows", got)
					}
					if mode == pool.Transaction {
						a.expect("SELECT 1 FROM pg_sleep(0.001)", "T D(1) C(SELECT 1) Z(I)")
					}
				}
			})
		}
	})
}

// TestAttackStrictIsolation: where the role may create temporary objects and functions, a session can be poisoned in ways that
// DISCARD ALL does not know (a PL/pgSQL function compiled against the attacker's temporary domain).
//
// Must: With isolation strict no server connection ever serves a second identity, whoever waits and however small the pool is.
// Dialects: sql, native
// Not pgbouncer: it has no such isolation
func TestAttackStrictIsolation(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(2)(o)
			o.Pool.Isolation = pool.Strict
		})
		owner := map[string]string{}
		conns := map[string]*pgx.Conn{}
		for _, tenant := range []string{"t1", "t2", "t3", "t4"} {
			conns[tenant] = f.connect(t, tenant)
		}
		for range 15 {
			for tenant, c := range conns {
				mustBe(t, c, tenant)
				pid := backend(t, c)
				if old, ok := owner[pid]; ok && old != tenant {
					t.Fatalf("server connection %s served %s and %s", pid, old, tenant)
				}
				owner[pid] = tenant
			}
		}
	})
}
