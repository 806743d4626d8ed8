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
// none, the one that has been idle for longest (its hand-over costs less than a new connection); else the client waits,
// and the caller asks Wanted.
func (p *Pool) Acquire(t *Ticket, now time.Time) (*Server, Verdict) {
	h := t.Entry.share
	if !p.full(h) {
		if s := p.pick(t.Entry); s != nil {
			p.lease(s, t.Entry)
			return s, Granted
		}
	}
	if !p.room(h) {
		p.stats.Refused++
		return nil, Refused
	}
	t.since, t.passed, t.waiting = now, 0, true
	p.queue.push(&t.inQueue, t)
	t.Entry.queue.push(&t.inEntry, t)
	h.queue.push(&t.inShare, t)
	p.settle(h)
	p.stats.Waited++
	return nil, Queued
}

// pick finds the idle server for an identity. While anybody waits who may be served there is no idle server that could serve
// him, so a new client never overtakes the queue here.
func (p *Pool) pick(e *Entry) *Server {
	switch s := p.idle.oldest(); {
	case e.idle.n > 0:
		return e.idle.newest()
	case p.unused.n > 0:
		return p.unused.newest()
	case s == nil || p.cfg.Isolation == Strict:
		return nil
	default:
		p.spread = true
		return s
	}
}

func (p *Pool) lease(s *Server, e *Entry) {
	p.unidle(s)
	s.leased = true
	p.leased++
	e.share.leased++
	p.settle(e.share)
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
		p.idle.remove(&s.inIdle)
		p.like(s).remove(&s.inLike)
	}
}

// like is the list of the idle servers that carry the same as this one.
func (p *Pool) like(s *Server) *list[Server] {
	if s.entry == nil {
		return &p.unused
	}
	return &s.entry.idle
}

// Cancel takes a ticket out of the queue.
func (p *Pool) Cancel(t *Ticket) {
	if t.waiting {
		t.waiting = false
		p.queue.remove(&t.inQueue)
		t.Entry.queue.remove(&t.inEntry)
		t.Entry.share.queue.remove(&t.inShare)
		p.settle(t.Entry.share)
	}
}

// Expire takes the tickets that have waited too long out of the queue, one for each call; nil when there is none.
func (p *Pool) Expire(now time.Time) *Ticket {
	t := p.queue.oldest()
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
	t := p.queue.oldest()
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
	p.unlease(s)
	s.freed = now
	if t := p.next(s, now); t != nil {
		p.give(s, t)
		return t, Keep
	}
	if p.stuck(now) {
		p.drop(s, Isolated)
		return nil, Isolated
	}
	p.rest(s)
	return nil, Keep
}

func (p *Pool) give(s *Server, t *Ticket) {
	p.Cancel(t)
	p.lease(s, t.Entry)
	p.served(t.Entry.share)
}

func (p *Pool) unlease(s *Server) {
	if s.leased {
		s.leased = false
		p.leased--
		p.Unpin(s)
		s.entry.share.leased--
		p.settle(s.entry.share)
		p.unmatched = p.unmatched || p.cfg.ShareSize > 0
	}
}

func (p *Pool) rest(s *Server) {
	s.idle = true
	p.idle.push(&s.inIdle, s)
	p.like(s).push(&s.inLike, s)
}

// unfit gives the reason why a server that works must not be used again. One of the reserve is kept for as long as anybody
// waits.
func (p *Pool) unfit(s *Server, now time.Time) Reason {
	switch {
	case s.condemned != Keep:
		return s.condemned
	case !s.expires.IsZero() && !now.Before(s.expires):
		return Lifetime
	case p.surplus():
		return Shrunk
	}
	return Keep
}

// surplus reports whether there is a server too many.
func (p *Pool) surplus() bool {
	n := p.total() - p.cfg.Size
	return n > p.cfg.Reserve || n > 0 && p.demand == 0
}

// next chooses the waiting client for a free server: the oldest of the share whose turn it is, unless one waits whose
// identity the server carries and the first has not been passed over too often.
func (p *Pool) next(s *Server, now time.Time) *Ticket {
	head := p.head()
	if head == nil || s.entry == nil {
		return head
	}
	same := s.entry.queue.oldest()
	if p.full(s.entry.share) {
		same = nil
	}
	switch {
	case same == head:
		return head
	case same != nil && (head.passed < maxPassed || p.cfg.Isolation == Strict && !p.stuck(now)):
		head.passed++
		return same
	case p.cfg.Isolation == Strict:
		return nil
	}
	p.spread = true
	return head
}

// stuck reports whether, under strict isolation, clients wait for whom no server is on its way: then one that they cannot
// use must make room. While none can be opened it would make room for nobody.
func (p *Pool) stuck(now time.Time) bool {
	return p.cfg.Isolation == Strict && p.demand > p.opening && !now.Before(p.backoff)
}
