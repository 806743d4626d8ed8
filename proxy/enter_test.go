package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// TestSessionsKnowTheirServer: in session mode a client is told the process id of its server, and parameters as its server has
// them; the next client of the same server is told the same id, with another secret, and one with other settings gets another.
func TestSessionsKnowTheirServer(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Mode, o.Pool.Size = pool.Session, 1 })
	p := f.login(t, [2]string{"datestyle", "german"})
	if got := p.one("SELECT pg_backend_pid()"); got != fmt.Sprint(p.pid) {
		t.Errorf("the client was told %d, and its server is %s", p.pid, got)
	}
	if got := p.params["DateStyle"]; got != "German, DMY" {
		t.Errorf("DateStyle was told as %q", got)
	}
	p.leave()
	next := f.loginTLS(t, [2]string{"datestyle", "german"})
	if next.pid != p.pid || string(next.secret) == string(p.secret) {
		t.Errorf("keys of two clients of one server: %d %x, %d %x", p.pid, p.secret, next.pid, next.secret)
	}
	next.expect("SHOW datestyle", "T D(German, DMY) C(SHOW) Z(I)")
	next.leave()
	other := f.login(t)
	if other.pid == p.pid {
		t.Errorf("a client with other settings has the same server %d", p.pid)
	}
	other.expect("SHOW datestyle", "T D(ISO, MDY) C(SHOW) Z(I)")
}

// TestSessionsWaitAtTheirLogin: who comes while all servers are taken waits for one, may cancel by hanging up, and what he has
// sent ahead is carried out when he has one.
func TestSessionsWaitAtTheirLogin(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Mode, o.Pool.Size, o.Pool.QueueWait = pool.Session, 1, time.Minute
	})
	first := f.login(t)
	gone := f.dial(t).start(wire.Version30, f.role)
	f.awaitWaiting(t, 1)
	gone.Close()
	f.awaitWaiting(t, 0)
	waits := f.dial(t)
	waits.start(wire.Version30, f.role).query("SELECT 7")
	f.awaitWaiting(t, 1)
	first.leave()
	waits.ready()
	if got := waits.answer(); got != "T D(7) C(SELECT 1) Z(I)" {
		t.Errorf("what was sent ahead got %s", got)
	}
}
