package proxy

import "context"

// slot is the place of one login among those that are worked on. Only accepting waits for one: a login that has lost its
// slot while it waited goes on without, rather than behind new ones.
type slot struct {
	all *places

	// What follows is guarded by places.mu. The methods but lose are for one goroutine at a time: accept's, then the login's own.
	held bool // the slot
	left bool // the login is over
	turn bool // it may compute

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
	if s.turn || s.left {
		return
	}
	s.all.mu.Unlock()
	s.all.turns <- struct{}{}
	s.all.mu.Lock()
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
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if !s.left {
		s.rest()
		s.all.look(s)
	}
}

// resume takes a slot again if there is one, and waits for a turn.
func (s *slot) resume() {
	s.all.mu.Lock()
	s.all.forget(s)
	if !s.held && !s.left {
		select {
		case s.all.slots <- struct{}{}:
			s.held = true
		default:
		}
	}
	s.all.mu.Unlock()
	s.work()
}

// quit gives the slot back for good: the login is over.
func (s *slot) quit() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.forget(s)
	s.rest()
	s.free()
	s.left = true
}

// lose takes away what the login has had for maxStall: its turn, or while it waits its slot. The caller holds places.mu.
func (s *slot) lose() {
	if s.turn {
		s.rest()
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
