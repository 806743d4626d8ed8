package proxy_test

import (
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// TestSignedOutWhileAServerIsReopened: whoever may not have the server any more that was opened anew for him has nothing to do with it
// from then on: the next one in the queue gets it, and keeps it.
func TestSignedOutWhileAServerIsReopened(t *testing.T) {
	t.Parallel()
	set := revocation.New(revocation.Options{Keep: time.Hour, Lax: true})
	fake := startFake(t)
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
		o.Revocations, o.Pool.Mode, o.Pool.Isolation = set, pool.Session, pool.Off
	})
	named := [2]string{"application_name", "the same"}
	first := f.dial(t).start(wire.Version30, "first").ready()

	release := make(chan struct{})
	fake.misbehave(func(net.Conn) bool { <-release; return false }, nil)
	goes := f.dial(t).start(wire.Version30, "goes", named)
	soon(t, "one waits", func() bool { return f.PoolStats().Waiting == 1 })
	stays := f.dial(t).start(wire.Version30, "stays", named)
	soon(t, "two wait", func() bool { return f.PoolStats().Waiting == 2 })
	first.leave()
	soon(t, "the server is being opened anew", func() bool { return f.PoolStats().Waiting == 1 })
	set.Add([]revocation.Entry{{ // and the loop has not been told yet
		Kind: claimpool.MarkSubject, Mark: claimpool.NewMark(claimpool.MarkSubject, "", "goes"), Before: time.Now(), Made: time.Now(),
	}}, time.Now())
	close(release)

	if got := goes.gone(); got != "R E(28000 fatal) EOF" {
		t.Errorf("who has been signed out is told %s", got)
	}
	stays.ready().expect("mine", "C(mine) Z(I)")
	if st := f.PoolStats(); st.Leased != 1 || st.Idle != 0 {
		t.Errorf("%d servers are leased and %d idle, with one session", st.Leased, st.Idle)
	}
	next := f.dial(t).start(wire.Version30, "next", named)
	soon(t, "the next one waits", func() bool { return f.PoolStats().Waiting == 1 })
	stays.expect("still mine", "C(still mine) Z(I)")
	stays.leave()
	next.ready().expect("its turn", "C(its turn) Z(I)")
	next.leave()
	soon(t, "rest", func() bool { return f.Clients() == 0 && f.PoolStats().Leased == 0 })
}
