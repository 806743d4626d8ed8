package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// withRevocations gives a proxy a set of revocations that is never stale.
func withRevocations(set *revocation.Set, change func(*pgtest.ProxyOptions)) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		change(o)
		o.Revocations = set
	}
}

func newRevocations() *revocation.Set {
	return revocation.New(revocation.Options{Keep: time.Hour, Lax: true})
}

// signOut revokes, and tells the proxy.
func (f *tenants) signOut(t testing.TB, set *revocation.Set, r revocation.Request) {
	t.Helper()
	if r.Issuer == "" {
		r.Issuer = f.issuer.Name
	}
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	if e.Made = time.Now(); e.Before.IsZero() && (r.Subject != "" || r.All) {
		e.Before = e.Made
	}
	if !set.Add([]revocation.Entry{e}, time.Now()) {
		t.Fatal("nothing is new")
	}
	f.SignOut()
}

// TestAttackSignedOutSession: the attacker has a stolen token and is connected with it when its owner signs out. He is idle, or in
// the middle of a transaction, of a query, of a pipeline, of a COPY, of waiting for a server; or he has said goodbye behind a query that
// still runs.
//
// Must: Within a second he must be told 28000 and be gone; what he has not committed is rolled back; a neighbour goes on.
// Dialects: sql, native
// Not pgbouncer: it knows no sign-out
func TestAttackSignedOutSession(t *testing.T) {
	write := "INSERT INTO note VALUES (1000, 't1', 'stolen')"
	slow := write + "; SELECT pg_sleep(60)"
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, test := range []struct {
			name string
			mode pool.Mode
			do   func(p *peer)
			mute bool // in the middle of a message nothing can be said, and nobody listens behind a goodbye
		}{
			{"idle", pool.Transaction, func(p *peer) {}, false},
			{"idle in a session", pool.Session, func(p *peer) { p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)") }, false},
			{"in a transaction", pool.Transaction, func(p *peer) { p.expect("BEGIN; "+write, "C(BEGIN) C(INSERT 0 1) Z(T)") }, false},
			{"in a query", pool.Transaction, func(p *peer) { p.query(slow) }, false},
			{"in a pipeline", pool.Transaction, func(p *peer) {
				p.send(wire.AppendQuery(wire.AppendQuery(wire.AppendQuery(nil, "SELECT pg_sleep(60)"), slow), write))
			}, false},
			{"in an unsynced batch", pool.Transaction, func(p *peer) {
				p.send(wire.AppendFlush(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", write), "", "", nil), "", 0)))
			}, false},
			{"in a copy", pool.Transaction, func(p *peer) { p.query("BEGIN; " + write + "; COPY note TO STDOUT; SELECT pg_sleep(60)") }, false},
			{"behind a goodbye", pool.Transaction, func(p *peer) { p.send(wire.AppendTerminate(wire.AppendQuery(nil, slow))) }, true},
			{"behind a goodbye, and gone", pool.Transaction, func(p *peer) {
				p.send(wire.AppendTerminate(wire.AppendQuery(nil, slow)))
				p.Close()
			}, true},
		} {
			t.Run(test.name, func(t *testing.T) {
				set := newRevocations()
				f := start(t, withRevocations(set, inMode(test.mode, 3)))
				admin := f.admin(t)
				neighbour, p := f.raw(t, "t2"), f.raw(t, "t1")
				neighbour.expect(whoami, rowsOf("t2"))
				test.do(p)
				if test.mute || strings.HasPrefix(test.name, "in a ") && !strings.Contains(test.name, "transaction") {
					soon(t, "the query runs", func() bool {
						return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()", f.database) == "1"
					})
				}
				began := time.Now()
				f.signOut(t, set, revocation.Request{Subject: "user-of-t1"})
				if !test.mute {
					if got := p.gone(); !strings.HasSuffix(got, "E(28000 fatal) EOF") {
						t.Errorf("the attacker hears %s", got)
					}
				}
				if took := time.Since(began); took > prompt {
					t.Errorf("gone after %v", took)
				}
				soon(t, "nothing runs", func() bool {
					return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle' AND pid <> pg_backend_pid()", f.database) == "0"
				})
				if n := value(t, admin, "SELECT count(*)::text FROM note WHERE id = 1000"); n != "0" {
					t.Errorf("%s rows are left", n)
				}
				neighbour.expect(whoami, rowsOf("t2"))
			})
		}
	})
}

// TestAttackSignedOutToken: the attacker has a token that was revoked, by each of the things by which that is possible. He logs
// in with it, and hands it in as a fresh one on a connection that he has by a good one.
//
// Must: Both must be refused as any bad token is, and the log must say why; the person's own new token must be good.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackSignedOutToken(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		set := newRevocations()
		f := start(t, withRevocations(set, poolOf(2)))
		old := time.Now().Unix() - 60
		mint := func(person string, issued int64, extra string) string {
			return f.issuer.Mint(person, map[string]any{"tenant_id": "t1", "jti": "j" + extra, "sid": "s" + extra, "iat": issued})
		}
		for i, test := range []revocation.Request{{Token: "j0"}, {Session: "s1"}, {Subject: "p2", Before: time.Unix(old, 0)}, {All: true, Before: time.Unix(old, 0)}} {
			person := fmt.Sprint("p", i)
			stolen := mint(person, old, fmt.Sprint(i))
			p := f.rawWith(t, mint(person, time.Now().Unix(), "new"))
			f.rawWith(t, stolen).leave() // it is good
			f.signOut(t, set, test)
			_, err := f.dial(t.Context(), f.role, stolen)
			if got := sqlState(err); got != "28P01" {
				t.Errorf("%+v: the login: %s", test, got)
			}
			p.expect(renewal(stolen), "E(28000) Z(I)")
			p.expect(whoami, rowsOf("t1"))
			p.leave()
		}
		soon(t, "the reasons in the log", func() bool { return strings.Count(f.Log.String(), "revoked: it, its session") == 8 })
	})
}

// TestAttackSignedOutInTheQueue: the attacker waits for a server, or has sent his password and not more, when he is signed out; a
// neighbour holds the only server.
//
// Must: He must be told 28000 at once, and never get the server.
// Dialects: sql
// Not native: the queue is the same, whatever the dialect
// Not pgbouncer: it knows no sign-out
func TestAttackSignedOutInTheQueue(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		set := newRevocations()
		f := start(t, withRevocations(set, poolOf(1)))
		neighbour, p := f.raw(t, "t2"), f.raw(t, "t1")
		neighbour.expect("BEGIN", "C(BEGIN) Z(T)")
		p.query("INSERT INTO note VALUES (1000, 't1', 'stolen')")
		soon(t, "it waits", func() bool { return f.PoolStats().Waiting == 1 })
		f.signOut(t, set, revocation.Request{All: true})
		if got := p.gone(); got != "E(28000 fatal) EOF" {
			t.Errorf("the attacker hears %s", got)
		}
		if got := neighbour.gone(); got != "E(28000 fatal) EOF" { // everybody of the issuer
			t.Errorf("the neighbour hears %s", got)
		}
		if n := value(t, f.admin(t), "SELECT count(*)::text FROM note WHERE id = 1000"); n != "0" {
			t.Errorf("%s rows are left", n)
		}
	})
}

// A password user is signed out of the sessions that he has, and may log in again; while nobody knows who has been signed out,
// nobody may.
func TestSignOutOfPasswordUsers(t *testing.T) {
	set := revocation.New(revocation.Options{Keep: time.Hour, StaleAfter: time.Hour})
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Revocations = set })
	if got := f.dial(t).start(wire.Version30, f.role).gone(); got != "E(57P03 fatal) EOF" {
		t.Errorf("stale: %s", got)
	}
	set.Add(nil, time.Now())
	p := f.login(t)
	set.Add([]revocation.Entry{{
		Kind: claimpool.MarkSubject, Mark: claimpool.NewMark(claimpool.MarkSubject, "", f.role), Before: time.Now(), Made: time.Now(),
	}}, time.Now())
	f.SignOut()
	if got := p.gone(); got != "E(28000 fatal) EOF" {
		t.Errorf("signed out: %s", got)
	}
	f.login(t).expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestAttackSignedOutApplication: the attacker knows the password of an application, which is signed out for that. He has a token of his own,
// and has brought it along.
//
// Must: He is told 28000 and gone, also behind a fresh token, and does not come in while the application is kept out; the person of the token
// is signed out as ever, and others go on.
// Dialects: sql, native
// Not pgbouncer: it knows no sign-out
func TestAttackSignedOutApplication(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		set := newRevocations()
		f := start(t, withRevocations(set, passwordsToo("the issuer's")))
		thief := f.withPassword(t, [2]string{"options", "-c jwt.context=" + f.fresh("t1", "t1")})
		renewed := f.withPassword(t, [2]string{"options", "-c jwt.context=" + f.fresh("t1", "t1")})
		renewed.expect(renewal(f.fresh("t1", "t1")), "C(SET) Z(I)")
		person := f.withPassword(t, [2]string{"options", "-c jwt.context=" + f.fresh("t2", "t2")})
		f.signOut(t, set, revocation.Request{Subject: "user-of-t2"})
		if got := person.gone(); got != "E(28000 fatal) EOF" {
			t.Errorf("the person is told %s", got)
		}
		e, err := (&revocation.Request{Subject: "app", Before: time.Now().Add(time.Hour)}).Entry() // of password users: without an issuer
		if err != nil {
			t.Fatal(err)
		}
		e.Made = time.Now()
		set.Add([]revocation.Entry{e}, time.Now())
		f.SignOut()
		for _, p := range []*peer{thief, renewed} {
			if got := p.gone(); got != "E(28000 fatal) EOF" {
				t.Errorf("the thief is told %s", got)
			}
		}
		again := f.startPassword(t, [2]string{"options", "-c jwt.context=" + f.fresh("t1", "t1")}).password("app", "secret")
		if got := again.answer(); !strings.HasPrefix(got, "E(28") {
			t.Errorf("the thief comes in: %s", got)
		}
		mustBe(t, f.connect(t, "t1"), "t1")
	})
}
