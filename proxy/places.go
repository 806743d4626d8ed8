package proxy

import (
	"sync"
	"time"
)

// maxStall is how long a login may wait for somebody else (the client, a server), all its waits together, before its slot goes to
// the next one: more than the way to a client in the same region and back, and too little for strangers who say nothing, or one byte
// after the other, to keep others out (slowloris). It is also how long one may compute before its turn goes to the next: then it waits
// for something that nobody has thought of, and after as long again its slot goes, too.
const maxStall = 50 * time.Millisecond

// places are what logins share.
type places struct {
	slots chan struct{} // one for each login that is worked on

	// One for each login that computes at this moment: as many as there are processors beside the loops'. Without that limit a
	// storm of logins fills the runtime's queue of goroutines, and a loop that is preempted (every 10 ms it is) waits behind all
	// of them: with 1,000 logins a second on one core, running queries took a third of a second instead of 5 ms.
	turns chan struct{}

	mu          sync.Mutex
	first, last *slot // those that are watched, in the order of their times; guarded by mu
	timer       *time.Timer
	armed       bool // guarded by mu: the timer will fire. There is one for all: a login stops and goes on a dozen times.
}

// watch is a slot's place in the list of those that are watched. It is guarded by places.mu.
type watch struct {
	since      time.Time // zero: not watched
	prev, next *slot
}

func newPlaces(slots, turns int) *places {
	return &places{slots: make(chan struct{}, max(1, slots)), turns: make(chan struct{}, max(1, turns))}
}

// look watches a slot from now on: it loses its place in maxStall. The caller holds mu.
func (p *places) look(s *slot) {
	p.forget(s)
	s.since, s.prev = time.Now(), p.last
	if p.last != nil {
		p.last.next = s
	} else {
		p.first = s
	}
	p.last = s
	if !p.armed {
		p.arm(maxStall)
	}
}

// forget ends that. The caller holds mu.
func (p *places) forget(s *slot) {
	if s.since.IsZero() {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		p.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		p.last = s.prev
	}
	s.watch = watch{}
}

func (p *places) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.sweep)
		return
	}
	p.timer.Reset(d)
}

// sweep takes their places from those that have had them for too long.
func (p *places) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	now := time.Now()
	for s := p.first; s != nil; s = p.first {
		if left := maxStall - now.Sub(s.since); left > 0 {
			p.arm(left)
			return
		}
		p.forget(s)
		s.lose()
	}
}
