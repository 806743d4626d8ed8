package proxy_test

import (
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
)

// TestLeavingWhileAListenerIsOpened: a connection for LISTEN that comes when nobody is there any more, and no other server of its pool
// either, is closed.
func TestLeavingWhileAListenerIsOpened(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
		o.Features, o.Pool.IdleTimeout = feature.Choices{Listen: feature.Shared}, time.Millisecond
		o.Server.ConnectTimeout = time.Minute
	})
	p := f.login(t)
	soon(t, "the server is closed", func() bool { return f.PoolStats().Idle == 0 })
	release := make(chan struct{})
	fake.misbehave(func(net.Conn) bool { <-release; return false }, nil)
	p.query("LISTEN c")
	soon(t, "the listener is being opened", func() bool { return fake.count() == 1 && f.Listeners() == 1 })
	p.Close()
	soon(t, "it has left", func() bool { return f.Clients() == 0 })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); <-tick.C { // two sweeps
		if pools, err := f.Pools(t.Context()); err != nil || len(pools) == 0 {
			break
		}
	}
	close(release)
	soon(t, "the listener is closed", func() bool { return fake.opened.Load() == 2 && fake.count() == 0 })
	soon(t, "the pool is forgotten", func() bool {
		pools, err := f.Pools(t.Context())
		return err == nil && len(pools) == 0
	})
}
