package database_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// TestAttackGuessAPassphrase: the attacker guesses ada's passphrase, from one connection and from many at once. He rolls every
// guess back, in a transaction or a subtransaction, so that no table could remember it.
//
// Must: He may try about ten times and then once a second, whatever he does; so may he a name without an account, which looks
// the same; and the owner of another name is not kept out.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackGuessAPassphrase(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		for _, name := range []string{"ada", "nobody"} {
			began := time.Now()
			var tried, refused atomic.Int64
			var all sync.WaitGroup
			for range 4 {
				s := p.login(t)
				all.Go(func() {
					for i := range 15 {
						guess := fmt.Sprintf("select claimpool_vault.login('%s', 'guess %d')", name, i)
						var got string
						if i%2 == 0 {
							got = s.inTransaction(guess)
						} else {
							got = s.inTransaction("savepoint a", guess, "rollback to a", "select 'on'")
							if got != "on" {
								t.Errorf("after a savepoint: %s", got)
							}
							got = s.inTransaction(guess)
						}
						switch got {
						case wrongName:
							tried.Add(1)
						case tooMany:
							refused.Add(1)
						default:
							t.Errorf("%s: %s", guess, got)
						}
					}
				})
			}
			all.Wait()
			most := 10 + 4 + int64(time.Since(began).Seconds()+1) // one for each connection that was first
			if tried.Load() > most || refused.Load() == 0 || tried.Load() < 5 {
				t.Errorf("%s: %d guesses were looked at, %d are the most; %d refused", name, tried.Load(), most, refused.Load())
			}
		}
		s := p.login(t)
		if s.ask("select claimpool_vault.login('eve', 'battery staple')") == tooMany {
			t.Error("eve is kept out")
		}
		for until := time.Now().Add(20 * time.Second); s.ask("select claimpool_vault.login('ada', 'correct horse')") == tooMany; { // in a second she is let in
			if time.Now().After(until) {
				t.Fatal("ada is locked out")
			}
		}
		for _, guess := range []string{"", "x", strings.Repeat("0", 64), "' or '1'='1", "\\x00", strings.Repeat("a", 100_000)} {
			if got := s.ask("select claimpool_vault.resume($1)::text", guess); got != invalid {
				t.Errorf("%.20q: %s", guess, got)
			}
		}
		s.want("select claimpool_vault.resume(null)::text", invalid)
	})
}

// TestAttackReplayAfterLogout: the attacker has a session that has ended: he kept its id, the transaction in which it was
// resumed, and a connection that has it.
//
// Must: None of them is the session any more.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackReplayAfterLogout(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		for _, end := range []string{"select claimpool_vault.logout($1)::text", "revoke"} {
			a, b, c := p.login(t), p.login(t), p.login(t)
			id := a.value(`select claimpool_vault.login('ada', 'correct horse')`)
			for _, s := range []*session{a, b} {
				if got := s.ask(`select claimpool_vault.resume($1, true) ->> 'sub'`, id); got != "ada" {
					t.Fatal(got)
				}
			}
			b.exec("begin")
			b.want(rowsSeen, "ada")
			b.exec("savepoint s")
			a.exec("begin") // a logout that is rolled back is none
			a.want(`select claimpool_vault.logout()::text`, "true")
			a.want(rowsSeen, "none")
			a.exec("rollback")
			a.want(rowsSeen, "ada")
			if end == "revoke" {
				p.Exec(t, p.db, `select claimpool_vault.revoke_all('ada')`)
			} else if got := a.ask(end, id); got != "true" {
				t.Fatal(got)
			}
			b.want(rowsSeen, invalid)
			b.exec("rollback to s")
			b.want(rowsSeen, invalid)
			b.exec("rollback")
			b.want(rowsSeen, invalid)
			if got := c.ask(`select claimpool_vault.resume($1)::text`, id); got != invalid {
				t.Errorf("resumed again: %s", got)
			}
			c.exec(`select set_config('claimpool_vault.session', $1, false)`, id)
			c.want(rowsSeen, invalid)
			c.exec("reset all")
			c.want(rowsSeen, "none")
		}
	})
}

// TestAttackReadTheVault: the attacker has read the tables, from a backup say.
//
// Must: What is in them opens nothing. And as an ordinary role he cannot read them.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackReadTheVault(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		s := p.login(t)
		id := s.value(`select claimpool_vault.login('ada', 'correct horse')`)
		ticket := one(t, admin, `select claimpool_ticket.sign('{"sub": "ada"}', $1)`, p.role)
		var seen strings.Builder
		for _, table := range []string{"claimpool_vault.accounts", "claimpool_vault.sessions", "claimpool_ticket.keys"} {
			for _, sql := range []string{"select * from %s", "copy %s to stdout", "select count(*) from %s", "delete from %s", "begin; lock table %s", "truncate %s",
				"create rule r as on delete to %s do instead nothing", "alter table %s disable trigger all"} {
				if got := s.askSimple(fmt.Sprintf(sql, table)); got != denied {
					t.Errorf(sql+": %s", table, got)
				}
			}
			seen.WriteString(one(t, admin, `select coalesce(string_agg(t::text, ' '), '') from `+table+` t`))
		}
		for _, secret := range []string{id, "correct horse", ticket[:64]} {
			if strings.Contains(seen.String(), secret) {
				t.Errorf("the tables hold %q", secret)
			}
		}
		for _, column := range []string{"encode(hash, 'hex')", "id::text", "hash::text", "sub"} {
			stolen := one(t, admin, `select `+column+` from claimpool_vault.sessions`)
			if got := s.ask(`select claimpool_vault.resume($1)::text`, stolen); got != invalid {
				t.Errorf("%s resumes a session: %s", column, got)
			}
		}
		for _, sql := range []string{
			`select nextval('claimpool_vault.throttle_0')`, `select setval('claimpool_vault.throttle_0', 1)`,
			`select last_value from claimpool_vault.throttle_0`, `select claimpool_vault.admit('ada')`,
			`select claimpool_vault.put('{"sub": "ada"}', current_user, '1 h')`, `select claimpool_vault.open('{"sub": "ada"}', current_user)`,
			`select claimpool_vault.set_account('ada', 'mine now!')`, `select claimpool_vault.remove_account('ada')`,
			`select * from claimpool_vault.list()`, `select claimpool_vault.revoke(1)`, `select claimpool_vault.revoke_all('ada')`,
			`select claimpool_vault.stretch('x', 'x')`, `select claimpool_ticket.mac('x', 'x', 'x')`,
			`select claimpool_ticket.sign('{"sub": "ada"}', current_user)`, `select claimpool_ticket.rotate()`,
			`create table claimpool_vault.mine ()`, `create function claimpool_ticket.claims(int) returns jsonb language sql return null::jsonb`,
			`create or replace function claimpool_vault.find(session text) returns jsonb language sql return '{}'::jsonb`,
			`alter function claimpool_vault.find(text) security invoker`, `drop function claimpool_vault.claim(text)`,
		} {
			s.want(sql, denied)
		}
		s.want(`select coalesce(sum(last_value), 0)::text from pg_sequences where schemaname = 'claimpool_vault'`, "0")
	})
}

// TestAttackAnothersSession: the attacker has another login role, and ada's session or ticket, or one of his own; he wants
// hers. He changes every part of a ticket, and writes into the settings what he likes.
//
// Must: He gets none but his own.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackAnothersSession(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		mallory := *p
		mallory.role, mallory.password = p.NewRole(t)
		m, s := mallory.login(t), p.login(t)
		id := s.value(`select claimpool_vault.login('ada', 'correct horse')`)
		ticket := one(t, admin, `select claimpool_ticket.sign('{"sub": "ada"}', $1)`, p.role)
		if got := m.ask(`select claimpool_vault.resume($1)::text`, id); got != invalid {
			t.Errorf("under another role: %s", got)
		}
		if got := m.ask(`select claimpool_ticket.present($1)::text`, ticket); got != invalid {
			t.Errorf("a ticket under another role: %s", got)
		}
		if got := m.ask(`select claimpool_vault.logout($1)::text`, id); got != "false" {
			t.Errorf("ended another's session: %s", got)
		}
		p.Exec(t, p.db, "grant "+mallory.role+" to "+p.role) // who may become the role does not get its sessions
		own := m.value(`select claimpool_vault.login('eve', 'battery staple')`)
		s.exec("set role " + mallory.role)
		if got := s.ask(`select claimpool_vault.resume($1)::text`, own); got != invalid {
			t.Errorf("after SET ROLE: %s", got)
		}
		s.exec("reset role")
		mine := one(t, admin, `select claimpool_ticket.sign('{"sub": "eve"}', $1)`, p.role)
		body := func(x string) string { return x[strings.Index(x, "{"):] }
		for what, forged := range map[string]string{
			"her claims under his MAC": mine[:64] + ticket[64:],
			"hers in upper case":       strings.ToUpper(ticket[:64]) + ticket[64:],
			"another key":              ticket[:65] + "0000000000000000." + body(ticket),
			"no key":                   ticket[:65] + "." + body(ticket),
			"no MAC":                   ticket[64:],
			"nothing":                  "",
			"cut":                      ticket[:len(ticket)-1],
			"longer":                   ticket + " ",
			"another subject":          strings.Replace(mine, "eve", "ada", 1),
			"another role":             strings.Replace(ticket, p.role, mallory.role, 1),
			"huge":                     ticket[:64] + "." + strings.Repeat("{", 1<<20),
		} {
			if got := s.ask(`select claimpool_ticket.present($1)::text`, forged); got != invalid {
				t.Errorf("%s: %.60s", what, got)
			}
			if forged != "" {
				s.exec(`select set_config('claimpool_ticket.ticket', $1, false)`, forged)
				s.want(rowsSeen, invalid)
				s.exec("reset all")
			}
		}
		for _, forged := range []string{"ada", "1", `{"sub":"ada"}`, ticket} {
			s.exec(`select set_config('claimpool_vault.session', $1, false)`, forged)
			s.want(rowsSeen, invalid)
		}
	})
}

// TestAttackShadowTheVault: the attacker plants names in front of ours, as he does against jwt().
//
// Must: What runs as the owner must not see them.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackShadowTheVault(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		p.Exec(t, p.db, "create schema his; grant all on schema his to public")
		s := p.login(t)
		s.exec("create table his.loot (who text)")
		s.exec("grant all on his.loot to public")
		body := "plpgsql as $$begin insert into his.loot values (current_user); return %s; exception when others then return %s; end$$"
		for _, f := range []struct{ name, args, returns, result string }{
			{"sha256", "bytea", "bytea", "'x'::bytea"}, {"convert_to", "text, name", "bytea", "'x'::bytea"}, {"encode", "bytea, text", "text", "'x'"},
			{"clock_timestamp", "", "timestamptz", "'2000-01-01'::timestamptz"}, {"current_setting", "text, boolean", "text", "'x'"},
			{"set_config", "text, text, boolean", "text", "'x'"}, {"gen_random_uuid", "", "uuid", "'00000000-0000-0000-0000-000000000000'::uuid"},
			{"jsonb_typeof", "jsonb", "text", "'object'"}, {"nextval", "regclass", "bigint", "1"}, {"extract", "text, timestamptz", "numeric", "1"},
			{"split_part", "text, text, integer", "text", "'x'"}, {"substr", "text, integer", "text", "'x'"}, {"left", "text, integer", "text", "'x'"},
			{"find", "text", "jsonb", `'{"sub":"ada"}'::jsonb`}, {"uuid_send", "uuid", "bytea", "'x'::bytea"}, {"length", "text", "integer", "1"},
		} {
			for _, schema := range []string{"his", "pg_temp"} {
				s.exec(fmt.Sprintf("create function %s.%q(%s) returns %s language "+body, schema, f.name, f.args, f.returns, f.result, f.result))
			}
		}
		s.exec("create function his.yes(text, text) returns boolean language " + fmt.Sprintf(body, "true", "true"))
		s.exec("create function his.no(bytea, bytea) returns boolean language " + fmt.Sprintf(body, "false", "false"))
		s.exec("create operator his.= (function = his.yes, leftarg = text, rightarg = text)")
		s.exec("create operator his.<> (function = his.no, leftarg = bytea, rightarg = bytea)")
		for _, typ := range []string{"text", "jsonb", "bytea", "uuid"} {
			s.exec(fmt.Sprintf("create domain his.%q as pg_catalog.text", typ))
		}
		s.exec("create temp table sessions (hash pg_catalog.bytea, claims pg_catalog.jsonb)")
		s.exec("set search_path = his, pg_temp, public, pg_catalog")
		s.want("select claimpool_vault.login('ada', 'wrong passphrase')", wrongName)
		s.want("select claimpool_vault.resume('x')::pg_catalog.text", invalid)
		id := s.value("select claimpool_vault.login('eve', 'battery staple')")
		if got := s.ask("select (claimpool_vault.resume($1, true))::pg_catalog.text", id); !strings.Contains(got, "eve") {
			t.Errorf("his own: %s", got)
		}
		s.want("select claimpool_vault.claim('sub')", "eve")
		ticket := one(t, admin, `select claimpool_ticket.sign('{"sub": "eve"}', $1)`, p.role)
		if got := s.ask("select (claimpool_ticket.present($1, true))::pg_catalog.text", ticket); !strings.Contains(got, "eve") {
			t.Errorf("his ticket: %s", got)
		}
		s.want("select owner::pg_catalog.text from public.note", "eve")
		s.want("select claimpool_vault.logout()::pg_catalog.text", "true")
		s.exec("reset search_path")
		s.want("select count(*)::text from his.loot where who = 'claimpool_owner'", "0")
	})
}

// TestAttackVaultBehindAPool: the attacker is a client of a transaction pool, right behind ada on the same server connections.
//
// Must: Her session is not there.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackVaultBehindAPool(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		issuer := pgtest.NewIssuer(t, "https://issuer.test")
		proxy := pgtest.StartProxy(t, pgtest.ProxyOptions{
			Cluster: p.Cluster, Database: p.db, Role: p.role, Password: p.password, Dialect: &trusted.SQL{Key: p.key, Window: 3 * time.Second},
			Rules: []auth.Rule{pgtest.JWTRule(t, p.role, issuer)},
		})
		conn := func(subject string) *session {
			return &session{t: t, Conn: pgtest.Connect(t, proxy.DSN(p.db, p.role, issuer.Mint(subject, nil), "require")+" default_query_exec_mode=exec")}
		}
		a, again, e := conn("app"), conn("app"), conn("other")
		id := a.value(`select claimpool_vault.login('ada', 'correct horse')`)
		for range 20 {
			if got := a.inTransaction(`select claimpool_vault.resume('`+id+`')::text`, rowsSeen); got != "ada" {
				t.Fatal(got)
			}
			again.want(rowsSeen, "none") // the same identity, perhaps the same server
			e.want(rowsSeen, "none")
		}
		a.want(`select claimpool_vault.resume('`+id+`', true) ->> 'sub'`, "ada") // stay: only another identity is kept away from it
		e.want(rowsSeen, "none")
		e.want(`select coalesce(current_setting('claimpool_vault.session', true), '')`, "")
	})
}
