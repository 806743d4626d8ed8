package proxy_test

import (
	"testing"

	"github.com/claimpool/claimpool/wire"
)

// In a storm of logins, those that cannot be worked on wait in the kernel, where they take no memory of the proxy's; none is lost.
func TestStormWaitsInTheKernel(t *testing.T) {
	f := startPlain(t, nil)
	release := f.HoldTurns()
	peers := make([]*peer, 50)
	for i := range peers {
		peers[i] = f.dial(t).start(wire.Version30, f.role)
	}
	soon(t, "the first login", func() bool { slots, _ := f.Begun(); return slots > 0 })
	if slots, clients := f.Begun(); slots != 1 || clients != 0 {
		t.Errorf("%d logins have slots, %d clients are in; want one that waits for its turn", slots, clients)
	}
	release()
	for _, p := range peers {
		p.ready()
	}
	if _, clients := f.Begun(); clients != int64(len(peers)) {
		t.Errorf("%d clients are in, want %d", clients, len(peers))
	}
	soon(t, "the slots", func() bool { slots, _ := f.Begun(); return slots == 0 })
}
