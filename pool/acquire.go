package pool

import "time"

// Verdict is the answer to Acquire.
type Verdict uint8

// The verdicts.
const (
	Granted Verdict = iota // here is a server
	Queued                 // wait: Release, Opened or Expire will name the ticket
	Refused                // the queue is full
)

// Acquire asks for a server. In this order: an idle one that carries the client's identity already, one that carries
// none, the one that has been idle for longest (its hand-over costs less than a new connection); else the client waits.
func (p *Pool) Acquire(t *Ticket, now time.Time) (*Server, Verdict) {
	if s := p.pick(t.Entry); s != nil {
		p.lease(s, t.Entry)
		return s, Granted
	}
	if p.queue.n >= p.cfg.QueueLength {
		p.stats.Refused++
		return nil, Refused
	}
	t.since, t.passed, t.waiting = now, 0, true
	p.queue.push(t)
	t.Entry.queue.push(t)
	p.stats.Waited++
	return nil, Queued
}

// pick finds the idle server for an identity. While anybody waits there is no idle server that could serve, so a new
// client never overtakes the queue here.
func (p *Pool) pick(e *Entry) *Server {
	if s := e.idle.last; s != nil {
		return s
	}
	s := p.idle.first
	if s == nil || s.entry == nil {
		return s
	}
	if fresh := p.idle.last; fresh.entry == nil {
		return fresh // just opened and never used
	}
	if p.cfg.Isolation == Strict {
		return nil
	}
	p.spread = true
	return s
}

func (p *Pool) lease(s *Server, e *Entry) {
	p.unidle(s)
	s.leased = true
	p.leased++
	p.stats.Leases++
	if s.entry == e {
		return
	}
	if s.entry != nil {
		p.stats.Handovers++
	}
	p.bind(s, e)
}

// bind notes whose state the connection carries from now on. The old owner's claim on it ends before the hand-over
// begins: should the hand-over fail, the connection is closed and carries nobody's state.
func (p *Pool) bind(s *Server, e *Entry) {
	if old := s.entry; old != nil {
		old.servers--
		p.forget(old)
	}
	s.entry = e
	if e != nil {
		e.servers++
	}
}

func (p *Pool) unidle(s *Server) {
	if s.idle {
		s.idle = false
		p.idle.remove(s)
		if s.entry != nil {
			s.entry.idle.remove(s)
		}
	}
}

// Cancel takes a ticket out of the queue.
func (p *Pool) Cancel(t *Ticket) {
	if t.waiting {
		t.waiting = false
		p.queue.remove(t)
		t.Entry.queue.remove(t)
	}
}

// Expire takes the tickets that have waited too long out of the queue, one for each call; nil when there is none.
func (p *Pool) Expire(now time.Time) *Ticket {
	t := p.queue.first
	if t == nil || now.Sub(t.since) < p.cfg.QueueWait {
		return nil
	}
	p.Cancel(t)
	p.stats.TimedOut++
	return t
}

// Drop takes the oldest ticket out of the queue whatever its age; nil when there is none. It empties the queue when no
// server can be had.
func (p *Pool) Drop() *Ticket {
	t := p.queue.first
	if t != nil {
		p.Cancel(t)
	}
	return t
}

// Release takes a server back. With Keep it is given to a waiting client at once, if there is one: the server is then
// leased to it, and the ticket is returned. It returns the reason when the server must be closed after all; the caller
// closes the connection and calls nothing else for it.
func (p *Pool) Release(s *Server, why Reason, now time.Time) (*Ticket, Reason) {
	if why == Keep {
		why = p.unfit(s, now)
	}
	if why != Keep {
		p.Remove(s, why)
		return nil, why
	}
	s.leased = false
	p.leased--
	s.freed = now
	t := p.next(s)
	if t == nil {
		if p.cfg.Isolation == Strict && p.queue.n > 0 {
			p.drop(s, Isolated) // another identity waits, and this connection can never serve it
			return nil, Isolated
		}
		p.rest(s)
		return nil, Keep
	}
	p.give(s, t)
	return t, Keep
}

func (p *Pool) give(s *Server, t *Ticket) {
	p.Cancel(t)
	p.lease(s, t.Entry)
}

func (p *Pool) rest(s *Server) {
	s.idle = true
	p.idle.push(s)
	if s.entry != nil {
		s.entry.idle.push(s)
	}
}

// unfit gives the reason why a server that works must not be used again.
func (p *Pool) unfit(s *Server, now time.Time) Reason {
	switch {
	case s.condemned != Keep:
		return s.condemned
	case !s.expires.IsZero() && !now.Before(s.expires):
		return Lifetime
	case p.total() > p.limit(now):
		return Shrunk
	}
	return Keep
}

// next chooses the waiting client for a free server: the oldest, unless one waits whose identity the server carries and
// the oldest has not been passed over too often.
func (p *Pool) next(s *Server) *Ticket {
	head := p.queue.first
	if head == nil || s.entry == nil {
		return head
	}
	same := s.entry.queue.first
	switch {
	case same == head:
		return head
	case same != nil && (head.passed < maxPassed || p.cfg.Isolation == Strict):
		head.passed++
		return same
	case p.cfg.Isolation == Strict:
		return nil
	}
	p.spread = true
	return head
}
