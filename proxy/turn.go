package proxy

import (
	"sync/atomic"
	"time"
)

// turns are the places of those logins that compute at this moment: as many as there are processors beside the loops'. Without
// that limit a storm of logins fills the runtime's queue of goroutines, and a loop that is preempted (every 10 ms it is) waits behind
// all of them: with 1,000 logins a second on one core, running queries took a third of a second instead of 5 ms.
type turns chan struct{}

// turn is one of those places. A login has one while it does not wait, and gives it back by itself after maxStall: then it waits
// for something that nobody has thought of, and must not hold up the others.
type turn struct {
	all   turns
	over  atomic.Bool
	timer *time.Timer
}

// take waits for a place.
func (all turns) take() *turn {
	all <- struct{}{}
	t := &turn{all: all}
	t.timer = time.AfterFunc(maxStall, t.end)
	return t
}

// end gives the place back, once.
func (t *turn) end() {
	if t.over.CompareAndSwap(false, true) {
		<-t.all
	}
}

// work waits until the login may compute. Only the login's own goroutine calls it, and rest.
func (s *slot) work() {
	if s.turn != nil && !s.turn.over.Load() {
		return
	}
	s.turn = s.turns.take()
}

// rest lets another login compute.
func (s *slot) rest() {
	if s.turn == nil {
		return
	}
	s.turn.timer.Stop()
	s.turn.end()
	s.turn = nil
}
