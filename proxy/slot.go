package proxy

import (
	"context"
	"sync/atomic"
	"time"
)

// slot is the place of one login among those that are worked on. Only accepting waits for one: a login that has lost its
// slot while it waited goes on without, rather than behind new ones.
type slot struct {
	all *places

	left atomic.Bool // the login is over; written with places.mu

	// What follows is guarded by places.mu. The methods but lose are for one goroutine at a time: accept's, then the login's own.
	held   bool          // the slot
	turn   bool          // it may compute
	waited time.Duration // for somebody else since it has had the slot, this wait not included

	watch // of a turn, or of a wait for somebody else
}

// newSlot waits for a free slot; nil when ctx ends.
func newSlot(ctx context.Context, all *places) *slot {
	select {
	case all.slots <- struct{}{}:
		return &slot{all: all, held: true}
	case <-ctx.Done():
		return nil
	}
}

// work waits until the login may compute.
func (s *slot) work() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.turn || s.left.Load() {
		return
	}
	s.all.mu.Unlock()
	s.all.turns <- struct{}{}
	s.all.mu.Lock()
	if s.turn || s.left.Load() { // meanwhile: who ends a stream may write to it while its login is not quite over
		<-s.all.turns
		return
	}
	s.turn = true
	s.all.look(s)
}

// waiting says that from here to the call of what it returns, the login only waits.
func (s *slot) waiting() (over func()) {
	s.pause()
	return s.resume
}

// pause says that from here to resume the login only waits: others may compute.
func (s *slot) pause() {
	if s.left.Load() { // streams and the console do not share a lock with all logins
		return
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if !s.left.Load() {
		s.rest()
		s.all.look(s)
	}
}

// resume takes a slot again if there is one, and waits for a turn.
func (s *slot) resume() {
	if s.left.Load() {
		return
	}
	s.all.mu.Lock()
	s.regain()
	s.all.mu.Unlock()
	s.work()
}

// regain is the end of a wait. A slot goes to the next one after maxStall of all its waits, too: a stranger who says a byte from time
// to time (slowloris) would have it until the end of its login. The caller holds places.mu.
func (s *slot) regain() {
	if !s.turn && !s.since.IsZero() {
		s.waited += time.Since(s.since)
	}
	s.all.forget(s)
	if s.waited >= maxStall {
		s.free()
	}
	if s.held || s.left.Load() {
		return
	}
	select {
	case s.all.slots <- struct{}{}:
		s.held, s.waited = true, 0
	default:
	}
}

// quit gives the slot back for good: the login is over.
func (s *slot) quit() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.forget(s)
	s.rest()
	s.free()
	s.left.Store(true)
}

// lose takes away what the login has had for maxStall: its turn and after another maxStall its slot, or while it waits its slot. The
// caller holds places.mu.
func (s *slot) lose() {
	if s.turn {
		s.rest()
		s.all.look(s)
		return
	}
	s.free()
}

func (s *slot) rest() {
	if s.turn {
		s.turn = false
		<-s.all.turns
	}
}

func (s *slot) free() {
	if s.held {
		s.held = false
		<-s.all.slots
	}
}
