package pool_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
)

// TestPause: while a pool is paused nobody gets a server, free or not, and none is opened; behind it who waits is served.
func TestPause(t *testing.T) {
	for _, shareSize := range []int{0, 2} {
		now := time.Unix(1, 0)
		p := pool.New(pool.Config{Mode: pool.Transaction, Isolation: pool.Shared, Size: 2, Min: 1, QueueLength: 10, QueueWait: time.Minute, ShareSize: shareSize})
		ann, bob := claimpool.Key{1}, claimpool.Key{2}
		a, b := &pool.Ticket{Entry: p.Enter(ann, ann)}, &pool.Ticket{Entry: p.Enter(bob, bob)}
		s := new(pool.Server)
		p.Open()
		if p.Opened(s, 0, now) != nil {
			t.Fatal("given to nobody")
		}
		if got, v := p.Acquire(a, now); got != s || v != pool.Granted {
			t.Fatal(v)
		}
		p.Pause(true)
		if _, v := p.Acquire(b, now); v != pool.Queued || !p.Paused() {
			t.Errorf("while it is paused: %v", v)
		}
		if n, evict := p.Wanted(now); n != 0 || evict != nil {
			t.Errorf("%d are wanted", n)
		}
		if next, why := p.Release(s, pool.Keep, now); next != nil || why != pool.Keep {
			t.Errorf("released to %v, %v", next, why)
		}
		if _, next := p.Match(); next != nil {
			t.Error("matched")
		}
		if _, v := p.Acquire(a, now); v != pool.Queued {
			t.Errorf("a free one: %v", v)
		}
		p.Pause(false)
		if got, next := p.Match(); got != s || next != b {
			t.Errorf("behind the pause: %v %v", got, next)
		}
		if n, _ := p.Wanted(now); n != 1 {
			t.Errorf("%d are wanted for the other", n)
		}
		p.Unopened()
		if next, _ := p.Release(s, pool.Keep, now); next != a {
			t.Error("the other waits on")
		}
	}
}
