package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// ending logs in with a token of tenant t1 that ends soon: in so many seconds, and a part of the next one. On a busy machine a login
// may take longer than that: then it gets more time. At least half of it is left.
func (f *tenants) ending(t testing.TB, seconds int64) (p *peer, end time.Time) {
	t.Helper()
	for ; ; seconds *= 2 {
		end = time.Unix(time.Now().Unix()+seconds+1, 0)
		p = f.knock(t)
		p.send(wire.AppendPassword(nil, []byte(f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t1", "exp": end.Unix()}))))
		got := p.answer()
		switch enough := time.Until(end) > time.Duration(seconds)*time.Second/2; {
		case enough && got == "R Z(I)":
			return p, end
		case enough:
			t.Fatalf("login answered %s", got)
		}
		p.Close()
	}
}

// shortLived is a token of tenant t1 that is valid for so many seconds, and a part of the next one.
func (f *tenants) shortLived(seconds int64) string {
	now := time.Now().Unix()
	return f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t1", "iat": now, "exp": now + seconds + 1})
}

// TestAttackExpiredToken: the attacker's token expires while he is connected. He tries everything that keeps a server, so that
// no new transaction seems to begin: one message after another in session mode, a pipeline that is never empty, a batch
// without Sync that makes the proxy unsure, a transaction that never ends.
//
// Must: Soon after the token's end he must be told 28000 and be gone.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackExpiredToken(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, test := range []struct {
			name  string
			mode  pool.Mode
			first []byte // sent once
			again []byte // sent every few milliseconds
		}{
			{"next transaction", pool.Transaction, nil, wire.AppendQuery(nil, "SELECT 1")},
			{"session mode", pool.Session, nil, wire.AppendQuery(nil, "SELECT 1")},
			{"statement mode", pool.Statement, nil, wire.AppendQuery(nil, "SELECT 1")},
			{"full pipeline", pool.Transaction, wire.AppendQuery(wire.AppendQuery(nil, "SELECT pg_sleep(0.2)"), "SELECT pg_sleep(0.2)"),
				wire.AppendQuery(nil, "SELECT pg_sleep(0.03)")},
			{"query inside an unsynced batch", pool.Transaction,
				wire.AppendQuery(wire.AppendParse(nil, "", "SELECT 1"), "SELECT 2"), wire.AppendQuery(nil, "SELECT 1")},
			{"flush in place of sync", pool.Transaction, nil,
				wire.AppendFlush(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SELECT 1"), "", "", nil), "", 0))},
			{"open transaction", pool.Transaction, wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 1")},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel() // it waits for the end of the token
				f := start(t, func(o *pgtest.ProxyOptions) {
					inMode(test.mode, 2)(o)
					o.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 10, LoginTimeout: patience, Overrun: time.Second}
				})
				p, end := f.ending(t, 2)
				p.send(test.first)
				answers := make(chan string, 1)
				go func() { answers <- everything(p) }()
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case got := <-answers:
						if time.Now().Before(end) || !strings.Contains(got, "E(28000 fatal)") {
							t.Errorf("gone %v before the token's end with %s", time.Until(end), got[max(0, len(got)-100):])
						}
						return
					case <-tick.C:
						p.Write(test.again) // the end comes as an answer
					}
					if time.Since(end) > patience/2 {
						p.Close()
						got := <-answers
						t.Fatalf("still served long after the end of the token: %s", got[max(0, len(got)-100):])
					}
				}
			})
		}
	})
}

// everything reads all answers up to the end of the connection.
func everything(p *peer) string {
	var got strings.Builder
	for {
		word, last := p.message()
		got.WriteString(word)
		got.WriteByte(' ')
		if last && (word == "EOF" || word == "TIMEOUT") {
			return got.String()
		}
	}
}

// TestAttackOldSealInSessionMode: no attack but its shadow: a seal works for a few seconds only.
//
// Must: A client that keeps its server for longer must be given new ones, or its own rows would be refused to it.
// Dialects: sql
// Not native: its contexts have no window, only the end of the token
// Not pgbouncer: it has no seals
func TestAttackOldSealInSessionMode(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			inMode(pool.Session, 1)(o)
			window(o, 200*time.Millisecond)
		})
		c := f.connect(t, "t1")
		first := backend(t, c)
		for end, late := time.Now().Add(time.Second), false; !late; time.Sleep(50 * time.Millisecond) {
			late = time.Now().After(end)
			v, err := fetch(t.Context(), c, whoami)
			switch {
			case err != nil && sqlState(err) == "28000" && time.Since(end) < patience: // a busy machine took longer than the seal's window
				late = false
			case err != nil:
				t.Fatal(err)
			case deref(v) != own("t1"):
				t.Errorf("tenant t1 sees %q", deref(v))
			}
		}
		if got := backend(t, c); got != first {
			t.Errorf("the session moved from server %s to %s", first, got)
		}
	})
}

// TestAttackOwnContextWiped: a driver runs DISCARD ALL or RESET ALL when its user gives a connection back, and another client
// of the same identity gets the server.
//
// Must: It sees its rows all the same, from the next transaction on.
// Dialects: sql, native
// Not pgbouncer: its clients set their claims in each transaction
func TestAttackOwnContextWiped(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
			t.Run(string(mode), func(t *testing.T) {
				f := start(t, inMode(mode, 1))
				c := f.connect(t, "t1")
				for _, sql := range []string{"DISCARD ALL", "RESET ALL", "RESET " + f.setting(), "BEGIN; RESET ALL; COMMIT"} {
					run(t, c, sql)
					if got := value(t, c, whoami); got != own("t1") {
						t.Errorf("after %s: %s", sql, got)
					}
				}
			})
		}
	})
}

// TestAttackLostNotifications: while the proxy renews the seal of a session, PostgreSQL may send what the session listens for.
//
// Must: None of it may be lost between the replies.
// Dialects: sql
// Not native: nothing is renewed during a session
// Not pgbouncer: only its transaction mode is compared
func TestAttackLostNotifications(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			inMode(pool.Session, 1)(o)
			window(o, 20*time.Millisecond) // a renewal at nearly every query
		})
		p, admin := f.raw(t, "t1"), f.admin(t)
		p.expect("LISTEN gossip", "C(LISTEN) Z(I)")
		const sent = 200
		var got strings.Builder
		for range sent {
			run(t, admin, "NOTIFY gossip")
			got.WriteString(p.ask("SELECT 1") + " ")
		}
		soon(t, "for all notifications", func() bool {
			got.WriteString(p.ask("SELECT 1") + " ")
			return strings.Count(got.String(), "A ") >= sent
		})
	})
}
