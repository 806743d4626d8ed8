package proxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// maxStall is how long a login may wait for somebody else (the client, a server) before its slot goes to the next one:
// more than the way to a client in the same region and back, and too little for strangers who say nothing to keep others
// out (slowloris).
const maxStall = 50 * time.Millisecond

// slot is the place of one login among those that are worked on. Only accepting waits for one: a login that has lost its
// slot while it waited goes on without, rather than behind new ones.
type slot struct {
	all   chan struct{}
	turns turns
	turn  *turn // of the login's own goroutine; nil while it waits

	mu   sync.Mutex
	held bool // guarded by mu
	left bool // guarded by mu
}

// quit gives the slot back for good: the login is over.
func (s *slot) quit() {
	s.rest()
	s.free()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
}

// newSlot waits for a free slot; nil when ctx ends.
func newSlot(ctx context.Context, all chan struct{}, t turns) *slot {
	select {
	case all <- struct{}{}:
		return &slot{all: all, turns: t, held: true}
	case <-ctx.Done():
		return nil
	}
}

// free gives the slot back.
func (s *slot) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		<-s.all
	}
}

// regain takes a slot again if there is one.
func (s *slot) regain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || s.left {
		return
	}
	select {
	case s.all <- struct{}{}:
		s.held = true
	default:
	}
}

func (s *slot) isLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// waiting says that from here to the call of what it returns, the login only waits.
func (s *slot) waiting() (over func()) {
	if s.isLeft() {
		return func() {}
	}
	s.rest()
	t := time.AfterFunc(maxStall, s.free)
	return func() {
		t.Stop()
		s.regain()
		s.work()
	}
}

// slotConn is a client's connection whose reads and writes are waiting.
type slotConn struct {
	net.Conn
	slot *slot
}

// Read is part of net.Conn.
func (c slotConn) Read(b []byte) (int, error) {
	defer c.slot.waiting()()
	return c.Conn.Read(b)
}

// Write is part of net.Conn.
func (c slotConn) Write(b []byte) (int, error) {
	defer c.slot.waiting()()
	return c.Conn.Write(b)
}
