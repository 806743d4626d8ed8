package proxy_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// TestClockIsSet: the difference to a server's clock is measured when its connection is opened. When the machine's clock is set, those
// connections are replaced, and no client notices; a session that needs a new seal ends.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		f := startTenants(t, pgtest.Newest(t), poolOf(10))
		a, b, busy := f.raw(t, "t1"), f.raw(t, "t2"), f.raw(t, "t3")
		busy.expect("BEGIN", "C(BEGIN) Z(T)")
		for _, p := range []*peer{a, b} { // two more server connections
			p.expect("BEGIN", "C(BEGIN) Z(T)")
		}
		a.expect("COMMIT", "C(COMMIT) Z(I)")
		b.expect("COMMIT", "C(COMMIT) Z(I)")
		before := f.PoolStats().Opened
		f.SetClock(by)
		b.expect("DISCARD ALL", "C(DISCARD ALL) Z(I)") // the next request needs a seal
		b.expect(whoami, rowsOf("t2"))
		a.expect(whoami, rowsOf("t1"))
		busy.expect("COMMIT", "C(COMMIT) Z(I)")
		busy.expect(whoami, rowsOf("t3"))
		if st := f.PoolStats(); st.Closed[pool.ClockSet] != 2 || st.Closed[pool.HandoverFailed] != 1 || st.Opened == before {
			t.Errorf("by %v: closed %v, opened %d", by, st.Closed, st.Opened-before)
		}
		f.SetClock(maxStep)
		a.expect(whoami, rowsOf("t1"))
		if n := f.PoolStats().Closed[pool.ClockSet]; n != 2 {
			t.Errorf("%d server connections were closed for nothing", n-2)
		}
	}
	f := startTenants(t, pgtest.Newest(t), inMode(pool.Session, 1))
	p := f.raw(t, "t1")
	f.SetClock(time.Hour)
	p.expect("RESET ALL", "C(RESET) Z(I)")
	p.query(whoami)
	if got := p.gone(); got != "E(08006 fatal) EOF" {
		t.Errorf("the session was told %s", got)
	}
	f.raw(t, "t1").expect(whoami, rowsOf("t1"))
}

// maxStep is less than what makes the difference between the clocks useless.
const maxStep = 100 * time.Millisecond
