package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// cancel asks the proxy to cancel what the peer does, and waits until the request has been dealt with.
func (f *plain) cancel(t testing.TB, p *peer) { f.cancelKey(t, p.pid, p.secret) }

func (f *plain) cancelKey(t testing.TB, pid uint32, secret []byte) {
	t.Helper()
	c := f.dial(t)
	c.send(wire.AppendCancelRequest(nil, pid, secret))
	if answer, err := io.ReadAll(c); err != nil || len(answer) > 0 {
		t.Errorf("the cancel request was answered with %q, %v", answer, err)
	}
	c.Close()
}

// sleeps sends a query that takes long, and waits until PostgreSQL runs it.
func (f *plain) sleeps(t *testing.T, p *peer) {
	t.Helper()
	p.query("SELECT pg_sleep(100)")
	soon(t, "the query runs", func() bool { return f.count(t, "wait_event = 'PgSleep'") > 0 })
}

func TestCancel(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 1 })
	logins := map[string]func() *peer{
		"protocol 3.0":          func() *peer { return f.login(t) },
		"protocol 3.2":          func() *peer { return f.dial(t).start(wire.Version32, f.role).ready() },
		"protocol 3.0 with TLS": func() *peer { return f.loginTLS(t) },
		"protocol 3.2 with TLS": func() *peer { return f.dialTLS(t).start(wire.Version32, f.role).ready() },
	}
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			p := login()
			defer p.leave()
			if want := 4 + 28*strings.Count(name, "3.2"); len(p.secret) != want {
				t.Errorf("the key has %d bytes, want %d", len(p.secret), want)
			}
			f.sleeps(t, p)
			for _, wrong := range [][]byte{
				append(bytes.Clone(p.secret[:len(p.secret)-1]), p.secret[len(p.secret)-1]^1),
				make([]byte, len(p.secret)), p.secret[:4:4][:len(p.secret)/8], append(bytes.Clone(p.secret), 0), make([]byte, 256),
			} {
				if len(wrong) >= 4 && !bytes.Equal(wrong, p.secret) {
					f.cancelKey(t, p.pid, wrong)
				}
			}
			f.cancelKey(t, p.pid+1, p.secret)
			if f.count(t, "wait_event = 'PgSleep'") != 1 {
				t.Error("a wrong key cancelled the query")
			}
			f.cancel(t, p)
			if got := p.answer(); got != "T E(57014) Z(I)" && got != "E(57014) Z(I)" {
				t.Errorf("the query was answered with %s", got)
			}
			p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		})
	}
	t.Run("the request over TLS", f.cancelOverTLS)
	t.Run("in a transaction", f.cancelInTransaction)
	t.Run("a client that has left", f.cancelOfTheGone)
	t.Run("many at once", f.cancelStorm)
}

func (f *plain) cancelOverTLS(t *testing.T) {
	p := f.login(t)
	f.sleeps(t, p)
	c := f.dialTLS(t)
	c.send(wire.AppendCancelRequest(nil, p.pid, p.secret))
	c.Close()
	if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
		t.Errorf("the query was answered with %s", got)
	}
	p.leave()
}

func (f *plain) cancelInTransaction(t *testing.T) {
	p := f.login(t)
	p.expect("BEGIN", "C(BEGIN) Z(T)")
	f.cancel(t, p) // nothing runs
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(T)")
	f.sleeps(t, p)
	f.cancel(t, p)
	if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(E)") {
		t.Errorf("the query was answered with %s", got)
	}
	p.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
	p.leave()
}

func (f *plain) cancelOfTheGone(t *testing.T) {
	gone, p := f.login(t), f.login(t)
	gone.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	gone.leave()
	soon(t, "it is gone", func() bool { return f.Clients() <= 1 })
	f.sleeps(t, p)
	f.cancel(t, gone)
	f.cancelKey(t, gone.pid, p.secret)
	if f.count(t, "wait_event = 'PgSleep'") != 1 {
		t.Error("the key of a client that has left cancelled the query of another one")
	}
	f.cancel(t, p)
	p.answer()
	p.leave()
}

func (f *plain) cancelStorm(t *testing.T) {
	p := f.login(t)
	f.sleeps(t, p)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { f.cancel(t, p) })
	}
	wg.Wait()
	if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
		t.Errorf("the query was answered with %s", got)
	}
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	p.leave()
}

// TestCancelHitsNobodyElse sends a thousand cancel requests at random moments, in a pool with one server that changes hands
// all the time. Each client cancels itself only; the bystanders share the server and must never see a cancel.
func TestCancelHitsNobodyElse(t *testing.T) {
	const cancels = 1000
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Size = 1
		o.Limits.MaxClients, o.Limits.MaxLogins, o.Limits.LoginTimeout = 1000, 64, patience
	})
	var done atomic.Bool
	var wg sync.WaitGroup
	var queries, own atomic.Int64
	for i := range 4 { // bystanders, two of them of the same identity as the others
		p := f.dial(t).start(wire.Version30, []string{f.role, "ann"}[i%2]).ready()
		wg.Go(func() {
			for !done.Load() {
				queries.Add(1)
				if got := p.ask("SELECT 1 FROM pg_sleep(0.0002)"); got != "T D(1) C(SELECT 1) Z(I)" {
					t.Errorf("a bystander got %s", got)
					return
				}
			}
		})
	}
	var victims sync.WaitGroup
	for i := range 4 {
		p := f.dial(t).start([]uint32{wire.Version30, wire.Version32}[i%2], f.role).ready()
		p.SetDeadline(time.Now().Add(4 * patience))
		keys := make(chan struct{})
		victims.Go(func() {
			defer close(keys)
			for range cancels / 4 {
				c, err := net.Dial("tcp", f.Address())
				if err != nil {
					t.Error(err)
					return
				}
				c.Write(wire.AppendCancelRequest(nil, p.pid, p.secret))
				if rand.IntN(2) == 0 {
					io.Copy(io.Discard, c)
				}
				c.Close()
			}
		})
		wg.Go(func() {
			for {
				select {
				case <-keys:
					return
				default:
				}
				switch got := p.ask("SELECT 1 FROM pg_sleep(0.0005)"); {
				case strings.HasSuffix(got, "E(57014) Z(I)"):
					own.Add(1)
				case got != "T D(1) C(SELECT 1) Z(I)":
					t.Errorf("a client got %s", got)
					return
				}
			}
		})
	}
	victims.Wait()
	done.Store(true)
	wg.Wait()
	st := f.PoolStats()
	t.Logf("%d queries of bystanders; %d of %d cancels hit their own query; %d servers opened, %d unsure of a cancel",
		queries.Load(), own.Load(), cancels, st.Opened, st.Closed[pool.CancelUnsure])
	if own.Load() == 0 {
		t.Error("no cancel hit anything")
	}
}

// TestCancelThatIsSlow: while a request is on its way to PostgreSQL, the server is given to nobody; when it is lost, the
// server is closed.
func TestCancelThatIsSlow(t *testing.T) {
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	a, b := f.login(t), f.login(t)
	var canceller sync.WaitGroup
	defer canceller.Wait()
	release := make(chan struct{})
	fake.mu.Lock()
	fake.onCancel = func(net.Conn) { <-release }
	fake.query = func(c net.Conn, sql string) bool {
		if sql != "a" {
			return false
		}
		canceller.Go(func() { f.cancel(t, a) })
		soon(t, "the cancel request", func() bool { return fake.cancels.Load() == 1 })
		return false // it was over already
	}
	fake.mu.Unlock()
	a.query("a")
	if got := a.answer(); got != "C(a) Z(I)" {
		t.Errorf("the query got %s", got)
	}
	b.query("b")
	f.awaitWaiting(t, 1)
	a.query("SELECT 2") // not even its own client gets it
	f.awaitWaiting(t, 2)
	close(release)
	for i, p := range []*peer{b, a} {
		if got, want := p.answer(), fmt.Sprintf("C(%s) Z(I)", []string{"b", "SELECT 2"}[i]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if n := fake.opened.Load(); n != 1 {
		t.Errorf("%d servers were opened", n)
	}
}
