//go:build !loop_poll

package loop

import (
	"runtime"
	"testing"
	"time"
)

// aRing gives a ring that only the test enters, or nil where there are none.
func aRing(t *testing.T) *ring {
	t.Helper()
	if works() != nil {
		return nil
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := newRing()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	if err := r.enable(); err != nil {
		t.Fatal(err)
	}
	return r
}

// orders are n of them that do nothing, each with its number.
func orders(r *ring, n int) {
	for i := range n {
		if r.full() {
			r.submit()
		}
		r.entry().userData = uint64(i)
	}
	r.submit()
}

// answers checks that each order has been answered, in order.
func answers(t *testing.T, r *ring, n int) {
	t.Helper()
	for i := range n {
		if q, ok := r.next(); !ok || q.userData != uint64(i) {
			t.Fatalf("answer %d is %d, %v", i, q.userData, ok)
		}
	}
	if q, ok := r.next(); ok {
		t.Errorf("one more: %d", q.userData)
	}
}

// A failure that were not known would pass for success.
func TestMoreAnswersThanThereIsRoomFor(t *testing.T) {
	if r := aRing(t); r != nil {
		orders(r, 2*cqEntries+5)
		answers(t, r, 2*cqEntries+5)
	}
}

// What the kernel has not taken would be sent later, out of a buffer that is another's by then.
func TestKernelThatTakesFewOrders(t *testing.T) {
	if r := aRing(t); r != nil {
		r.most = 100
		orders(r, sqEntries)
		if r.full() || *r.sqHead != r.prepared {
			t.Errorf("%d orders are left", r.prepared-*r.sqHead)
		}
		answers(t, r, sqEntries)
	}
}

// Whoever may make a ring but not enter it has none.
func TestRingThatMayNotBeEntered(t *testing.T) {
	if works() != nil {
		return
	}
	r, err := newRing()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.mayEnter(); err == nil { // not enabled
		t.Error("it may be entered")
	}
}

// A client does not read what it is sent, and closes its half of the connection.
//
// Must: the loop sleeps until it reads; then it gets all of it, in as many steps as that takes.
func TestAttackHalfClosedAndNotReading(t *testing.T) {
	for _, k := range kinds[:2] {
		l := start(t)
		hung, drained := make(chan bool, 10), make(chan bool, 10)
		p := connect(t, l, k, func(c *Conn) Handler {
			c.Pause()
			return &hooks{hangup: func() { hung <- true }, drained: func() { drained <- true }}
		})
		size := 0
		do(t, l, func() { size = block(p.conn) })
		p.raw.(interface{ CloseWrite() error }).CloseWrite()
		wait(t, hung)
		for range 3 {
			rounds := func() (n uint32) {
				if u, ok := l.poller.(*uring); ok {
					do(t, l, func() { n = u.prepared })
				}
				return n
			}
			before := rounds()
			<-time.After(30 * time.Millisecond)
			if n := rounds() - before; n > 10 {
				t.Errorf("%s: %d orders while nothing happens", k.name, n)
			}
			readFull(t, p, size)
			wait(t, drained)
			do(t, l, func() { size = block(p.conn) })
		}
	}
}
