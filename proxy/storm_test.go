package proxy_test

import (
	"errors"
	"os"
	"testing"
	"time"

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

// A login that begins when a reload is over is told nothing that servers of the old configuration have reported, even if the loop has
// not come to the reload yet.
func TestLoginBehindReload(t *testing.T) {
	before, after := startFake(t), startFake(t)
	before.says = [][2]string{{"TimeZone", "Asia/Tokyo"}}
	after.says = [][2]string{{"TimeZone", "Europe/Vienna"}}
	f := startBefore(t, before, nil)
	if got := f.login(t).params["TimeZone"]; got != "Asia/Tokyo" {
		t.Fatalf("before the reload: %q", got)
	}
	release := f.HoldLoops()
	f.options.Server = fakeWay(after)
	f.Reload(f.options.Config(t))
	p := f.dial(t).start(wire.Version30, f.role)
	p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("it was answered before the reload was done: %d bytes, %v", n, err)
	}
	p.SetDeadline(time.Now().Add(patience))
	release()
	if got := p.ready().params["TimeZone"]; got != "Europe/Vienna" {
		t.Errorf("after the reload: %q", got)
	}
}
