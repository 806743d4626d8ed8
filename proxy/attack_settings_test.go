package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// hostile are settings that a client may ask for at its start, and that nobody else must find.
var hostile = [][2]string{
	{"search_path", "evil, public"}, {"DateStyle", "German"}, {"TimeZone", "Asia/Tokyo"}, {"client_encoding", "LATIN1"},
	{"application_name", "a message for b"},
	{"options", "-c row_security=off -c default_transaction_read_only=on -c my.setting=hello -c client_min_messages=debug5 -c extra_float_digits=0 " +
		"-c default_transaction_isolation=serializable -c debug_print_plan=on -c work_mem=64kB -c idle_session_timeout=0"},
}

// TestAttackStartupSettingsOfTheNextSession: in session mode the attacker's own settings stand in the startup packet of its server
// connection, where RESET ALL and DISCARD ALL go back to them. He leaves, and there is one server.
//
// Must: The next session, of his own identity or another, must find none of them, before and behind RESET ALL and DISCARD ALL, and read
// its own rows.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackStartupSettingsOfTheNextSession(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 1))
		f.cluster.Exec(t, f.database, "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO "+f.role)
		const ask = "SELECT md5(string_agg(name || '=' || setting || '=' || coalesce(reset_val, ''), ',' ORDER BY name)) FROM pg_settings " +
			`WHERE name NOT LIKE 'transaction\_%' AND name NOT LIKE 'claimpool.%' AND name NOT LIKE 'jwt.%'`
		first := f.raw(t, "t2")
		clean := first.one(ask)
		first.leave()
		for _, tenant := range []string{"t2", "t1", "t2"} {
			a := f.raw(t, "t1", hostile...)
			a.ask("SET statement_timeout = 1; SET default_transaction_deferrable = on")
			a.leave()
			b := f.raw(t, tenant)
			for _, reset := range []string{"", "RESET ALL", "DISCARD ALL"} {
				if reset != "" {
					b.ask(reset)
				}
				if got := b.one(ask); got != clean {
					t.Errorf("%s behind %q finds other settings: %s", tenant, reset, b.ask("SELECT name, setting, reset_val FROM pg_settings WHERE source IN ('client', 'session')"))
				}
				if got := b.one("SELECT coalesce(current_setting('my.setting', true), '')"); got != "" {
					t.Errorf("%s behind %q finds the attacker's own setting: %q", tenant, reset, got)
				}
				if got := b.one(whoami); got != own(tenant) {
					t.Errorf("%s behind %q reads %q", tenant, reset, got)
				}
			}
			b.leave()
		}
	})
}

// TestAttackSameStartupSettings: the attacker asks for exactly the settings that his victim asks for, so that both get the same server
// connection, one after the other, and changes what he can in between.
//
// Must: Each must have its own context, and nothing of what the other has set.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackSameStartupSettings(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 1))
		params := [][2]string{{"application_name", "the same"}, {"DateStyle", "German"}, {"options", "-c my.setting=both"}}
		for range 3 {
			a := f.raw(t, "t1", params...)
			a.ask("SET my.setting = 'a message for b'; SET search_path = pg_temp; SET row_security = off; SET DateStyle = iso; CREATE TEMP TABLE note (tenant text)")
			a.ask("PREPARE q AS SELECT 1")
			a.leave()
			b := f.raw(t, "t2", params...)
			if got := b.one("SELECT current_setting('my.setting') || current_setting('DateStyle') || current_setting('search_path') || current_setting('row_security')"); got != `bothGerman, DMY"$user", publicon` {
				t.Errorf("b begins with %s", got)
			}
			if got := b.one(whoami); got != own("t2") {
				t.Errorf("b reads %q", got)
			}
			b.expect("EXECUTE q", "E(26000) Z(I)")
			b.leave()
		}
	})
}

// TestAttackForbiddenStartupSettings: the attacker writes into his startup packet, as parameters and as options in every spelling, what
// decides who he is and where: another role, user or database, a replication connection, a context, libraries to load.
//
// Must: Each must be refused, or have no effect: his session must be one of the pool's role in the pool's database, with his own context.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackForbiddenStartupSettings(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 1))
		for _, kv := range [][2]string{
			{"role", "postgres"}, {"ROLE", "none"}, {"session_authorization", "postgres"}, {"user", "postgres"}, {"User", "postgres"},
			{"database", "postgres"}, {"replication", "database"}, {"options", "-c x.y=1"}, {"_pq_.x", "1"}, {"claimpool.context", "{}"},
			{"Claimpool.Gate", "off"}, {"claimpool.sandbox", "off"}, {"local_preload_libraries", "auto_explain"},
			{"session_preload_libraries", "auto_explain"}, {"post_auth_delay", "60"}, {"ignore_system_indexes", "on"}, {"is_superuser", "on"},
		} {
			escaped := strings.ReplaceAll(kv[1], " ", `\ `)
			for _, option := range []string{"-c " + kv[0] + "=" + escaped, "-c" + kv[0] + "=" + escaped, "--" + strings.ReplaceAll(kv[0], "_", "-") + "=" + escaped} {
				p := (&plain{Proxy: f.Proxy}).dialTLS(t)
				p.start(wire.Version30, f.role, [2]string{"database", f.database}, [2]string{"options", option})
				if word, _ := p.message(); word != "R" {
					t.Fatalf("the proxy asks for no password but says %s", word)
				}
				p.send(wire.AppendPassword(nil, []byte(f.token("t1"))))
				got := p.answer()
				if strings.HasSuffix(got, "fatal) EOF") {
					continue
				}
				if !strings.HasSuffix(got, "Z(I)") {
					t.Fatalf("%s: the login answered %s", option, got)
				}
				want := fmt.Sprintf("%s %s %s off", f.role, f.role, f.database)
				if who := p.one("SELECT session_user || ' ' || current_user || ' ' || current_database() || ' ' || current_setting('is_superuser')"); who != want {
					t.Errorf("%s: the session is %s, not %s", option, who, want)
				}
				if rows := p.one(whoami); rows != own("t1") {
					t.Errorf("%s: the session reads %q", option, rows)
				}
				if kv[0] != "local_preload_libraries" { // which may be set, when it is too late
					t.Errorf("%s was taken", option)
				}
				if n := p.one("SELECT count(*) FROM pg_settings WHERE name LIKE 'auto_explain.%'"); n != "0" {
					t.Errorf("%s has loaded a library", option)
				}
				p.leave()
			}
		}
	})
}

// TestAttackPoolWithBadSettings: the attacker logs in again and again with settings that no server can be opened with, or under which
// nothing can be asked: values that are none, and a limit of a millisecond for every statement.
//
// Must: Each of them must fail alone: the pool must open servers for others without a pause, and no host may count as down.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackPoolWithBadSettings(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 2))
		bad := [][2]string{
			{"TimeZone", "Nowhere/Land"}, {"nonsense", "1"}, {"options", "-c statement_timeout=1 -c lock_timeout=1"}, {"client_encoding", "nothing"},
			{"options", "-c client_min_messages=debug5 -c log_min_error_statement=debug5"}, {"options", "-c idle_session_timeout=1"},
		}
		for i := range 2 * len(bad) {
			p := (&plain{Proxy: f.Proxy}).dialTLS(t)
			p.start(wire.Version30, f.role, [2]string{"database", f.database}, bad[i%len(bad)])
			p.send(wire.AppendPassword(nil, []byte(f.token("t1"))))
			b := f.raw(t, "t2", [2]string{"application_name", fmt.Sprint("b ", i)}) // a new server for each
			if got := b.one(whoami); got != own("t2") {
				t.Errorf("b reads %q", got)
			}
			b.leave()
			p.Close()
		}
		if log := f.Log.String(); strings.Contains(log, `level=ERROR`) {
			t.Errorf("the pool has counted a failure:\n%s", log)
		}
	})
}

// TestAttackStartupSettingsThatWait: the attacker holds a serializable transaction open, and logs in again with settings under which
// every transaction waits for that one: read-only, deferrable and serializable. He hangs up and comes again, to take one server
// connection of the pool after the other without having a client.
//
// Must: What the proxy itself asks a new connection must not wait: his own logins must succeed, and others must be served.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackStartupSettingsThatWait(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 2))
		holder := f.raw(t, "t1")
		holder.expect("BEGIN ISOLATION LEVEL SERIALIZABLE", "C(BEGIN) Z(T)")
		holder.expect("UPDATE note SET body = body", "C(UPDATE 10) Z(T)")
		for i := range 3 {
			a := f.raw(t, "t1", [2]string{"application_name", fmt.Sprint(i)},
				[2]string{"options", "-c default_transaction_isolation=serializable -c default_transaction_deferrable=on -c default_transaction_read_only=on -c z.own=1"})
			a.query("SELECT 1") // this waits, for the attacker alone
			a.Close()
			b := f.raw(t, "t2")
			if got := b.one(whoami); got != own("t2") {
				t.Errorf("b reads %q", got)
			}
			b.leave()
		}
		holder.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
	})
}

// TestAttackDeferrableDefaults: the attacker holds a serializable transaction open, and makes the other server connection of the pool one
// on which every transaction waits for that one, the next hand-over's too: its defaults are serializable, read-only and deferrable.
//
// Must: Others must be served, at once.
// Dialects: sql, native
// Not pgbouncer: it hands nothing over, so that its clients wait by definition
func TestAttackDeferrableDefaults(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		holder, a, b := f.connect(t, "t1"), f.connect(t, "t1"), f.connect(t, "t2")
		run(t, holder, "BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE note SET body = body")
		for name, sets := range map[string]string{
			"by SET":                     "SET default_transaction_deferrable = on",
			"for the session":            "SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE",
			"in a function":              "DO $$ BEGIN PERFORM set_config('default_transaction_deferrable', 'on', false); END $$",
			"behind the transaction":     "BEGIN; SET default_transaction_deferrable = on; SET LOCAL default_transaction_deferrable = off; COMMIT",
			"behind an error that fails": "DO $$ BEGIN SET default_transaction_deferrable = on; EXCEPTION WHEN OTHERS THEN NULL; END $$",
		} {
			c := code(t, a, "SET default_transaction_isolation = serializable")
			c += code(t, a, sets)
			if code(t, a, "ROLLBACK"); f.dialect == native && c == "0000000000" && name != "behind an error that fails" {
				t.Errorf("%s: it was taken", name)
			}
			code(t, a, "SET default_transaction_read_only = on")
			ctx, cancel := context.WithTimeout(t.Context(), prompt)
			if got, err := fetch(ctx, b, whoami); err != nil || deref(got) != own("t2") {
				t.Fatalf("%s: b reads %q, %v", name, deref(got), err)
			}
			cancel()
		}
		run(t, holder, "ROLLBACK")
	})
}

// TestAttackDeferrableSession: the same in session mode, where the attacker may set what he likes for his session: he leaves, and the next
// client gets his server connection. The serializable transaction begins before he leaves or behind that.
//
// Must: Others are served, on the same server connection.
// Dialects: sql, native
// Not pgbouncer: only its transaction mode is compared
func TestAttackDeferrableSession(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Session, 2))
		holder := f.raw(t, "t1")
		for _, before := range []bool{true, false} {
			hold := func(now bool) {
				if now {
					holder.expect("BEGIN ISOLATION LEVEL SERIALIZABLE", "C(BEGIN) Z(T)")
					holder.expect("UPDATE note SET body = body", "C(UPDATE 10) Z(T)")
				}
			}
			hold(before)
			a := f.raw(t, "t1")
			for _, name := range []string{"isolation = serializable", "deferrable = on", "read_only = on"} {
				a.expect("SET default_transaction_"+name, "C(SET) Z(I)")
			}
			a.leave()
			soon(t, "the attacker has left", func() bool { st := f.PoolStats(); return st.Leased == 1 && st.Idle == 1 })
			hold(!before)
			b := f.raw(t, "t2")
			if got := b.one(whoami); got != own("t2") {
				t.Errorf("b reads %q", got)
			}
			b.leave()
			holder.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
		}
		if st := f.PoolStats(); st.Opened != 2 || st.Closed[pool.RollbackFailed]+st.Closed[pool.HandoverFailed] != 0 {
			t.Errorf("%d server connections were opened; closed behind the attacker: %d, in others' hand-overs: %d", st.Opened,
				st.Closed[pool.RollbackFailed], st.Closed[pool.HandoverFailed])
		}
	})
}

// TestAttackReplicationAsAnotherUser: a client that may have replication connections writes another user and another database into
// "options", as they would stand in the startup packet behind the proxy's own, where the last one counts.
//
// Must: It must be refused, before any server hears of it.
// Dialects: sql, native
// Not pgbouncer: it takes no options, and keeps no settings in startup packets
func TestAttackReplicationAsAnotherUser(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) { o.Replication = proxy.ReplicationAll })
		f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.role+" REPLICATION")
		enter := func(options string) *peer {
			p := (&plain{Proxy: f.Proxy}).dialTLS(t)
			p.start(wire.Version30, f.role, [2]string{"database", f.database}, [2]string{"replication", "database"}, [2]string{"options", options})
			if word, _ := p.message(); word != "R" {
				t.Fatalf("the proxy asks for no password but says %s", word)
			}
			p.send(wire.AppendPassword(nil, []byte(f.token("t1"))))
			return p
		}
		for _, option := range []string{"-c user=postgres", "-cUSER=postgres", "--user=postgres", "-c database=template1", "-c replication=off", "-c _pq_.x=1"} {
			p := enter(option)
			if got := p.answer(); !strings.HasSuffix(got, "E(42704 fatal) EOF") {
				t.Errorf("%s: told %s, and the session is %s", option, got, p.ask("SELECT session_user || ' ' || current_database()"))
			}
		}
		good := enter("").ready()
		if got := good.ask("IDENTIFY_SYSTEM"); !strings.HasSuffix(got, ","+f.database+") C(IDENTIFY_SYSTEM) Z(I)") { // SQL is not for a gated role
			t.Errorf("the replication connection answers %s", got)
		}
		const senders = "SELECT string_agg(usename || ' ' || datname, ', ') FROM pg_stat_activity WHERE backend_type = 'walsender' AND usename = "
		if got := value(t, f.admin(t), senders+"'"+f.role+"'"); got != f.role+" "+f.database {
			t.Errorf("the replication connection is %s", got)
		}
	})
}
