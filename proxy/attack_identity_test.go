package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// TestAttackAlmostTheSameIdentity: the attacker has tokens that differ from the victim's in one thing only: the tenant, the
// issuer, a claim deep inside, the id of the token.
//
// Must: Each client must see its own claims to the byte, on one server connection, and a session that one identity left must
// not serve the other.
// Dialects: sql, native
// Not pgbouncer: it knows no identities
func TestAttackAlmostTheSameIdentity(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		one, two := pgtest.NewIssuer(t, "https://issuer.one"), pgtest.NewIssuer(t, "https://issuer.two")
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			o.Rules = []auth.Rule{
				{Name: "nobody", Users: []string{"nobody"}, TLS: auth.TLSAny, Method: claimpool.MethodTrust},
				pgtest.JWTRule(t, o.Role, one, two),
			}
		})
		same := func(extra map[string]any) map[string]any {
			m := map[string]any{"tenant_id": "t1", "roles": map[string]any{"deep": []int{1}}, "jti": "1", "exp": time.Now().Unix() + 300, "iat": 1, "nbf": 1}
			for k, v := range extra {
				m[k] = v
			}
			return m
		}
		tokens := []string{
			one.Mint("sub", same(nil)), one.Mint("sub", same(map[string]any{"tenant_id": "t2"})),
			one.Mint("sub", same(map[string]any{"roles": map[string]any{"deep": []int{2}}})), one.Mint("sub", same(map[string]any{"jti": "2"})),
			one.Mint("Sub", same(nil)), two.Mint("sub", same(nil)), one.Mint("sub", same(map[string]any{"tenant_id": nil})),
		}
		nobodys := map[string]string{sql: "NULL nobody 0", native: "{} nobody 0"} // there is no hand-over without claims
		const ask = "SELECT concat_ws(' ', jwt('iss'), jwt('sub'), jwt('jti'), jwt('roles'), coalesce(jwt('tenant_id'), 'none'), pg_backend_pid())"
		var conns []*pgx.Conn
		var first []string
		for _, token := range tokens {
			c := f.connectWith(t, token)
			conns, first = append(conns, c), append(first, value(t, c, ask))
		}
		seen := map[string]int{}
		for i, answer := range first {
			if j, ok := seen[answer]; ok {
				t.Errorf("identities %d and %d read the same claims: %s", i, j, answer)
			}
			seen[answer] = i
		}
		nobody, err := f.dial(t.Context(), "nobody", "")
		if err != nil {
			t.Fatal(err)
		}
		defer nobody.Close(t.Context())
		for range 5 {
			for i, c := range conns {
				if got := value(t, c, ask); got != first[i] {
					t.Errorf("identity %d: %q, before %q", i, got, first[i])
				}
				if got := value(t, nobody, "SELECT concat_ws(' ', coalesce(jwt()::text, 'NULL'), ("+whoami+"))"); got != nobodys[f.dialect] {
					t.Errorf("a client without claims sees %q", got)
				}
			}
		}
	})
}

// TestAttackSessionModeLeavesNothing: in session mode the attacker fills his session and leaves by every door: politely, by a
// reset of the connection, inside a transaction.
//
// Must: The next client of the server finds a new session, even when it is of the same identity.
// Dialects: sql, native
// Not pgbouncer: only its transaction mode is compared
func TestAttackSessionModeLeavesNothing(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, next := range []struct {
			who  string
			temp bool // there are temporary objects: the server is closed
		}{{"t1", false}, {"t1", true}, {"t2", false}, {"t2", true}} {
			t.Run(fmt.Sprintf("next is %s, temporary %v", next.who, next.temp), func(t *testing.T) {
				f := start(t, inMode(pool.Session, 1))
				for name, leave := range map[string]func(*peer){
					"goodbye":           func(p *peer) { p.leave() },
					"connection closed": func(p *peer) { p.Close() },
					"closed in a transaction": func(p *peer) {
						p.expect("BEGIN; SET LOCAL row_security = on; DELETE FROM public.note", "C(BEGIN) C(SET) C(DELETE 10) Z(T)")
						p.Close()
					},
					"closed in a failed one": func(p *peer) { p.expect("BEGIN; SELECT 1/0", "C(BEGIN) E(22012) Z(E)"); p.Close() },
					"goodbye after its own discard": func(p *peer) {
						p.expect("DISCARD ALL", "C(DISCARD ALL) Z(I)")
						p.expect("PREPARE q AS SELECT 1", "C(PREPARE) Z(I)")
						if next.temp {
							p.expect("CREATE TEMP TABLE loot()", "C(CREATE TABLE) Z(I)")
						}
						p.leave()
					},
				} {
					a := f.raw(t, "t1")
					const pid = "SELECT pg_backend_pid()::text"
					its := a.one(pid)
					if next.temp {
						a.expect("CREATE TEMP TABLE note (tenant text)", "C(CREATE TABLE) Z(I)")
					}
					a.expect("PREPARE q AS SELECT 1", "C(PREPARE) Z(I)")
					a.expect("SELECT pg_advisory_lock(42)", "T D() C(SELECT 1) Z(I)")
					a.expect("LISTEN gossip; SET search_path = evil; SET row_security = off; SET statement_timeout = 200", "C(LISTEN) C(SET) C(SET) C(SET) Z(I)")
					leave(a)
					b := f.raw(t, next.who)
					if got := b.one(whoami); got != own(next.who) {
						t.Errorf("%s: the next client sees %q", name, got)
					}
					if got := b.one(pid); (got != its) != next.temp {
						t.Errorf("%s: server %s behind %s", name, got, its)
					}
					b.expect("EXECUTE q", "E(26000) Z(I)")
					b.expect("SELECT count(*) FROM pg_temp.loot", "E(42P01) Z(I)")
					b.expect("SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), (SELECT count(*) FROM pg_listening_channels()), current_setting('statement_timeout')",
						"T D(0,0,0) C(SELECT 1) Z(I)")
					b.leave()
					f.atRest(t, 0, 1)
				}
			})
		}
	})
}

// TestAttackStatementMode: the attacker tries to keep a server, or to leave a transaction to the next client, where only
// single statements are allowed.
//
// Must: Anything but single statements ends his connection (0A000), and the next client is served.
// Dialects: sql, native
// Not pgbouncer: only its transaction mode is compared
func TestAttackStatementMode(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, inMode(pool.Statement, 1))
		b := f.connect(t, "t2")
		for _, sql := range []string{
			"BEGIN", "START TRANSACTION", "SELECT 1; BEGIN", "BEGIN; SELECT 1/0", "COMMIT; BEGIN", "BEGIN; SAVEPOINT a",
		} {
			a := f.raw(t, "t1")
			a.query(sql)
			got := everything(a)
			if want := "E(0A000 fatal) EOF "; len(got) < len(want) || got[len(got)-len(want):] != want {
				t.Errorf("%s was answered %s", sql, got)
			}
			mustBe(t, b, "t2")
		}
		a := f.raw(t, "t1")
		a.expect("BEGIN; SELECT count(*) FROM note; COMMIT", "C(BEGIN) T D(10) C(SELECT 1) C(COMMIT) Z(I)")
		mustBe(t, b, "t2")
	})
}

// TestAttackClaimsInAnotherEncoding: a client changes its encoding, so that the claims of its next hand-over might be read as
// other text.
//
// Must: Claims with letters beyond ASCII reach the database as UTF-8 all the same, at the first hand-over and at every
// renewal.
// Dialects: sql, native
// Not pgbouncer: the test is about claims that a proxy has verified
func TestAttackClaimsInAnotherEncoding(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			window(o, 200*time.Millisecond)
		})
		for _, encoding := range []string{"LATIN1", "SJIS", "EUC_JP", "GB18030", "SQL_ASCII"} {
			c := f.connectWith(t, f.issuer.Mint("é€漢字", map[string]any{"tenant_id": "t1", "name": "Zoë 漢字"}))
			run(t, c, "SET client_encoding = "+encoding)
			read := 0
			for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end) || read == 0; time.Sleep(30 * time.Millisecond) {
				var ok bool
				err := c.QueryRow(t.Context(), `SELECT jwt('name') = U&'Zo\00EB \6F22\5B57' AND jwt('sub') = U&'\00E9\20AC\6F22\5B57'`).Scan(&ok)
				if err != nil && sqlState(err) == "28000" && time.Since(end) < patience {
					continue // a busy machine took longer than the seal's window
				}
				if err != nil || !ok {
					t.Errorf("%s: %v, %v", encoding, ok, err)
					break
				}
				read++
			}
			c.Close(t.Context())
		}
	})
}
