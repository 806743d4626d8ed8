package proxy_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// transports are the ways to log in and to cancel: each half with TLS and without.
var transports = map[string]struct{ client, request bool }{
	"plain": {false, false}, "the client over TLS": {true, false}, "both over TLS": {true, true},
}

// cancelBy sends a cancel request, over TLS or not, and waits until it has been dealt with.
func (f *plain) cancelBy(t testing.TB, p *peer, secure bool) {
	t.Helper()
	c := f.dial(t)
	if secure {
		c.secure(f)
	}
	c.send(wire.AppendCancelRequest(nil, p.pid, p.secret))
	if answer, err := io.ReadAll(c); err != nil && err != io.ErrUnexpectedEOF || len(answer) > 0 {
		t.Errorf("the cancel request was answered with %q, %v", answer, err)
	}
}

func (f *plain) loginBy(t testing.TB, secure bool) *peer {
	t.Helper()
	if secure {
		return f.loginTLS(t)
	}
	return f.login(t)
}

// TestCancelInEveryPhase: a cancel hits what its client does at that moment, in the queue and in COPY, too, and nothing once that is
// over, although its server works for somebody else.
func TestCancelInEveryPhase(t *testing.T) {
	t.Parallel()
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 1 })
	f.cluster.Exec(t, "postgres", "CREATE TABLE IF NOT EXISTS cancelled (n int); GRANT ALL ON cancelled TO "+f.role)
	for name, by := range transports {
		t.Run(name, func(t *testing.T) {
			p, other := f.loginBy(t, by.client), f.login(t)
			t.Run("before its first query", func(t *testing.T) {
				f.cancelBy(t, p, by.request)
				p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			})
			t.Run("in the queue", func(t *testing.T) {
				other.expect("BEGIN", "C(BEGIN) Z(T)")
				p.send(batch("SELECT 1"))
				f.awaitWaiting(t, 1)
				f.cancelBy(t, p, by.request)
				if got := p.answer(); got != "E(57014) Z(I)" {
					t.Errorf("the wait ended with %s", got)
				}
				f.awaitWaiting(t, 0)
				other.expect("COMMIT", "C(COMMIT) Z(I)")
				p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			})
			t.Run("COPY IN", func(t *testing.T) {
				p.query("COPY cancelled FROM STDIN")
				if word, _ := p.message(); word != "G" {
					t.Fatalf("COPY answered %s", word)
				}
				p.send(wire.AppendCopyData(nil, []byte("1\n")))
				soon(t, "the server waits for more", func() bool { return f.count(t, "wait_event = 'ClientRead' AND state = 'active'") == 1 })
				f.cancelBy(t, p, by.request) // PostgreSQL obeys with the next piece
				p.send(wire.AppendCopyData(nil, []byte("2\n")), wire.AppendCopyDone(nil))
				if got := p.answer(); got != "E(57014) Z(I)" {
					t.Errorf("COPY ended with %s", got)
				}
				p.expect("SELECT count(*) FROM cancelled", "T D(0) C(SELECT 1) Z(I)")
			})
			t.Run("COPY OUT to a client that does not read", func(t *testing.T) {
				p.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT")
				soon(t, "the server waits for it", func() bool { return f.count(t, "wait_event = 'ClientWrite'") == 1 })
				f.cancelBy(t, p, by.request)
				got := p.answer()
				if first, last := got[:1], got[strings.LastIndex(got, "E("):]; first != "H" || last != "E(57014) Z(I)" {
					t.Errorf("COPY ended with %s … %s", first, last)
				}
				p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			})
			t.Run("after release", func(t *testing.T) {
				f.sleeps(t, other)
				f.cancelBy(t, p, by.request)
				if f.count(t, "wait_event = 'PgSleep'") != 1 {
					t.Error("the client that has the server now was cancelled")
				}
				f.cancelBy(t, other, by.request)
				other.answer()
			})
			t.Run("after a goodbye", func(t *testing.T) {
				p.leave()
				f.sleeps(t, other)
				f.cancelBy(t, p, by.request)
				if f.count(t, "wait_event = 'PgSleep'") != 1 {
					t.Error("the client that has the server now was cancelled")
				}
				f.cancelBy(t, other, by.request)
				other.answer()
				other.leave()
			})
		})
	}
}

// TestCancelDuringTheHandOver: the client's request has not gone to the server, so it is answered at once; the hand-over goes on, and
// the next client gets the server.
func TestCancelDuringTheHandOver(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	var slow atomic.Bool
	reached, release := make(chan struct{}, 1), make(chan struct{})
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		if slow.Load() && sql != "mine" && sql != "other" {
			reached <- struct{}{}
			<-release
			slow.Store(false)
		}
		if strings.HasPrefix(sql, "RESET ") {
			c.Write(wire.AppendReadyForQuery(bytes.Repeat(complete("RESET"), 1+strings.Count(sql, ";")), 'I'))
			return true
		}
		return false
	})
	a := f.dial(t).start(wire.Version32, "ann").ready()
	b := f.dial(t).start(wire.Version32, "bob").ready()
	a.expect("mine", "C(mine) Z(I)")
	slow.Store(true)
	b.query("mine")
	<-reached
	f.cancel(t, b)
	if got := b.answer(); got != "E(57014) Z(I)" {
		t.Errorf("the request was answered with %s", got)
	}
	a.query("other")
	f.awaitWaiting(t, 1)
	close(release)
	if got := a.answer(); got != "C(other) Z(I)" {
		t.Errorf("the next client got %s", got)
	}
	b.expect("mine", "C(mine) Z(I)")
	if n := fake.cancels.Load(); n != 0 || fake.opened.Load() != 1 {
		t.Errorf("%d cancel requests reached the server, %d servers were opened", n, fake.opened.Load())
	}
}

// TestCancelDuringARenewal: a session keeps its server while its context is put on again, and its request waits for that. When it is
// cancelled meanwhile it never runs, and the session goes on.
func TestCancelDuringARenewal(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f, v := behindValve(t, start, inMode(pool.Session, 1))
		p := f.raw(t, "t1")
		for _, request := range [][]byte{wire.AppendQuery(nil, "SET my.thing = 'ran'"), batch("SET my.thing = 'ran'")} {
			p.expect("RESET ALL", "C(RESET) Z(I)")
			v.Shut()
			p.send(request)
			soon(t, "the context is put on", func() bool { return len(v.Kept()) > 0 })
			(&plain{Proxy: f.Proxy}).cancel(t, p)
			v.Open()
			if got := p.answer(); got != "E(57014) Z(I)" {
				t.Errorf("the request was answered with %s", got)
			}
			p.expect("SELECT coalesce(current_setting('my.thing', true), '') = ''", "T D(t) C(SELECT 1) Z(I)")
			p.expect(whoami, rowsOf("t1"))
		}
	})
}
