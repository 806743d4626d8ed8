package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// refused reports whether nobody can come in any more.
func (f *plain) refused() bool {
	c, err := net.Dial("tcp", f.Address())
	if err != nil {
		return true
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(wire.AppendSSLRequest(nil))
	_, err = c.Read(make([]byte, 1))
	return err != nil
}

// TestShutdown: idle clients are told to go, transactions end, those who wait for a server still get it, unless it is for a whole
// session, new clients are refused, and Shutdown returns when the last one has left.
func TestShutdown(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // it waits
			f := startPlain(t, func(o *pgtest.ProxyOptions) {
				o.Pool.Mode, o.Pool.Size, o.Loops = mode, 2, 2
				if mode == pool.Session {
					o.Pool.Size = 4
				}
			})
			admin, turn := f.cluster.Connect(t, "postgres", "postgres", ""), "(3, hashtext('"+f.role+"'))"
			value(t, admin, "SELECT pg_advisory_lock"+turn+"::text") // the query of the one that runs ends when the test says so
			idle, idleTLS := f.login(t), f.loginTLS(t)
			inside, running, waits := f.login(t), f.loginTLS(t), f.dial(t).start(wire.Version30, f.role)
			inside.expect("BEGIN", "C(BEGIN) Z(T)")
			running.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)") // there are two servers now
			running.query("SELECT 7 FROM pg_advisory_xact_lock" + turn)
			last := "E(57P01 fatal) EOF"
			if mode == pool.Transaction {
				waits.ready().query("SELECT 8")
				last = "T D(8) C(SELECT 1) Z(I) E(57P01 fatal) EOF"
			} else if word, _ := waits.message(); word != "R" {
				t.Errorf("a login got %s", word)
			}
			f.awaitWaiting(t, 1)
			done := make(chan error, 1)
			go func() { done <- f.Shutdown(t.Context()) }()
			soon(t, "new clients are refused", f.refused)
			if got := idle.gone(); got != "E(57P01 fatal) EOF" {
				t.Errorf("the idle client was told %s", got)
			}
			if got := idleTLS.gone(); got != "E(57P01 fatal) EOF" {
				t.Errorf("the idle client over TLS was told %s", got)
			}
			inside.expect("SELECT 1", "T D(1) C(SELECT 1) Z(T)")
			value(t, admin, "SELECT pg_advisory_unlock"+turn+"::text")
			if got := running.answer() + " " + running.answer(); got != "T D(7) C(SELECT 1) Z(I) E(57P01 fatal) EOF" {
				t.Errorf("the client in a query got %s", got)
			}
			select {
			case err := <-done:
				t.Errorf("Shutdown did not wait for the transaction: %v", err)
			default:
			}
			inside.query("COMMIT")
			if got := inside.answer() + " " + inside.answer(); got != "C(COMMIT) Z(I) E(57P01 fatal) EOF" {
				t.Errorf("the client in a transaction got %s", got)
			}
			if got := waits.gone(); got != last {
				t.Errorf("the client in the queue got %s", got)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestShutdownIsBounded: Shutdown gives up with its context, and Close ends whatever there is, in the middle of anything.
func TestShutdownIsBounded(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 2 })
	inside, running, waits, stranger := f.login(t), f.login(t), f.login(t), f.dial(t)
	inside.expect("BEGIN", "C(BEGIN) Z(T)")
	f.sleeps(t, running)
	waits.query("SELECT 1")
	f.awaitWaiting(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	begin := time.Now()
	f.Close()
	if took := time.Since(begin); took > prompt {
		t.Errorf("Close took %v", took)
	}
	for name, p := range map[string]*peer{"in a transaction": inside, "in a query": running, "in the queue": waits, "at login": stranger} {
		if got := p.gone(); name != "at login" && got != "E(57P01 fatal) EOF" && got != "T E(57P01 fatal) EOF" {
			t.Errorf("the client %s was told %s", name, got)
		}
	}
	soon(t, "PostgreSQL has no connection of ours", func() bool { return f.count(t, "true") == 0 })
}

// TestCloseWhileOpening: what was being opened when the proxy ended is closed too.
func TestCloseWhileOpening(t *testing.T) {
	for range 20 {
		f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size, o.Pool.Min = 5, 5 })
		p := f.login(t)
		p.query("SELECT 1")
		f.Close()
		p.gone()
		soon(t, "PostgreSQL has no connection of ours", func() bool { return f.count(t, "true") == 0 })
	}
}

// reloads is a proxy whose configuration changes under two clients.
type reloads struct {
	*plain
	p, q *peer
}

func (r *reloads) reload(t *testing.T, change func(*pgtest.ProxyOptions)) {
	t.Helper()
	change(&r.options)
	r.Reload(r.options.Config(t))
}

func TestReload(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 1 })
	r := &reloads{plain: f, p: f.login(t), q: f.login(t)}

	t.Run("servers are replaced when they come back", r.replace)
	t.Run("a smaller pool", r.shrink)
	t.Run("the same again", r.same)
	t.Run("another mode", r.mode)
	t.Run("a way that leads nowhere, and back", r.wrongWay)
	t.Run("a database that is removed, and comes back", r.remove)
}

func (r *reloads) replace(t *testing.T) {
	pid := pidOf(t, r.p)
	r.p.expect("BEGIN", "C(BEGIN) Z(T)")
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 2 })
	if got := pidOf(t, r.p); got != pid {
		t.Error("a server was replaced in the middle of a transaction")
	}
	r.q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)") // there is room for two now
	r.p.expect("COMMIT", "C(COMMIT) Z(I)")
	for _, c := range []*peer{r.p, r.q} {
		if got := pidOf(t, c); got == pid {
			t.Error("a server of the old configuration is in use")
		}
	}
}

func (r *reloads) shrink(t *testing.T) {
	r.p.expect("BEGIN", "C(BEGIN) Z(T)")
	r.q.expect("BEGIN", "C(BEGIN) Z(T)")
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 1 })
	r.p.expect("COMMIT", "C(COMMIT) Z(I)")
	r.q.expect("COMMIT", "C(COMMIT) Z(I)")
	r.p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	r.q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	soon(t, "one server is left", func() bool { return r.count(t, "true") == 1 })
}

func (r *reloads) same(t *testing.T) {
	cfg := r.options.Config(t)
	r.Reload(cfg)
	pid := pidOf(t, r.p)
	for range 100 {
		r.Reload(cfg)
	}
	if got := pidOf(t, r.p); got != pid {
		t.Error("a server was replaced although nothing has changed")
	}
}

func (r *reloads) mode(t *testing.T) {
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Pool.Mode, o.Pool.Size = pool.Session, 2 })
	r.p.expect("SET application_name = 'x'", "C(SET) Z(I)")
	pid := pidOf(t, r.p)
	r.q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	if got := pidOf(t, r.p); got != pid {
		t.Error("a session has changed its server")
	}
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Pool.Mode, o.Pool.Size = pool.Transaction, 1 })
	r.p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	r.q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	soon(t, "no server of a session is left", func() bool { return r.count(t, "true") <= 1 })
}

func (r *reloads) wrongWay(t *testing.T) {
	fake := startFake(t)
	fake.Close()
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Server = fakeWay(fake) })
	r.p.expect("SELECT 1", "E(57P03) Z(I)")
	r.reload(t, func(o *pgtest.ProxyOptions) { o.Server = nil })
	r.heals(t, r.p)
}

func (r *reloads) remove(t *testing.T) {
	w := r.login(t)
	r.q.expect("BEGIN", "C(BEGIN) Z(T)")
	w.query("SELECT 1")
	r.awaitWaiting(t, 1)
	cfg := r.options.Config(t)
	clear(cfg.Databases)
	r.Reload(cfg)
	if got := w.gone(); got != "E(57P01 fatal) EOF" {
		t.Errorf("the client in the queue was told %s", got)
	}
	r.q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(T)") // a transaction may end
	r.q.expect("COMMIT", "C(COMMIT) Z(I)")
	for _, c := range []*peer{r.p, r.q} {
		if got := c.ask("SELECT 1"); got != "E(57P01 fatal) EOF" {
			t.Errorf("a client of the removed database was told %s", got)
		}
	}
	if got := r.dial(t).start(wire.Version30, r.role).answer(); got != "E(3D000 fatal) EOF" {
		t.Errorf("a new client was told %s", got)
	}
	soon(t, "no server is left", func() bool { return r.count(t, "true") == 0 })
	r.Reload(r.options.Config(t))
	r.login(t).expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestReloadUnderLoad: a thousand reloads while clients work. Nobody notices.
func TestReloadUnderLoad(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 4 })
	stop := make(chan struct{})
	ended := make(chan error, 8)
	for i := range cap(ended) {
		p := f.dial(t).start(wire.Version30, fmt.Sprintf("user%d", i)).ready()
		p.SetDeadline(time.Now().Add(4 * patience))
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				if got, want := p.ask(fmt.Sprintf("SELECT %d", n)), fmt.Sprintf("T D(%d) C(SELECT 1) Z(I)", n); got != want {
					ended <- fmt.Errorf("got %s, want %s", got, want)
					return
				}
			}
		}()
	}
	for i := range 1000 {
		o := f.options
		o.Pool.Size = 1 + i%4
		f.Reload(o.Config(t))
		if i%50 == 0 {
			f.login(t).leave()
		}
	}
	close(stop)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
