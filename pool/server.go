package pool

import "time"

// The bounds of the pause after a failed opening: a server that is down is tried again soon, but not in a storm.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// limit is how many servers the pool may have at this moment.
func (p *Pool) limit(now time.Time) int {
	n := p.cfg.Size
	if head := p.queue.oldest(); p.cfg.Reserve > 0 && head != nil && now.Sub(head.since) >= p.cfg.ReserveAfter {
		n += p.cfg.Reserve
	}
	return n
}

// minimum is how many servers are kept open whether they have anything to do or not.
func (p *Pool) minimum() int {
	if p.clients == 0 {
		return 0
	}
	return p.cfg.Min
}

// Wanted says how many server connections should be opened now, and counts them as being opened: the caller opens each
// and calls Opened or OpenFailed. evict, when not nil, is an idle server that must be closed first to make room (strict
// isolation): it is already out of the pool.
func (p *Pool) Wanted(now time.Time) (n int, evict *Server) {
	if now.Before(p.backoff) || p.paused {
		return 0, nil
	}
	n = p.demand - p.opening
	if n <= 0 && p.spread && p.opening == 0 {
		n = 1 // an identity was displaced: widen the pool in the background, nobody waits for it
	}
	n = max(n, p.minimum()-p.total())
	p.spread = false
	room := p.limit(now) - p.total()
	if room <= 0 && n > 0 && p.demand > 0 && p.cfg.Isolation == Strict {
		if evict = p.idle.oldest(); evict != nil {
			p.drop(evict, Isolated)
			room++
		}
	}
	n = max(0, min(n, room))
	p.opening += n
	return n, evict
}

// Opened adds a new server connection. jitter, below 1, shortens its life a little, so that connections opened together
// are not all closed together. As with Release, a waiting client may get it at once.
func (p *Pool) Opened(s *Server, jitter float64, now time.Time) *Ticket {
	p.opening--
	p.failed, p.backoff = 0, time.Time{}
	p.stats.Opened++
	p.all[s] = struct{}{}
	s.born, s.freed = now, now
	if p.cfg.Lifetime > 0 {
		s.expires = now.Add(p.cfg.Lifetime - time.Duration(jitter*float64(p.cfg.Lifetime)/10))
	}
	if t := p.head(); t != nil {
		p.give(s, t)
		return t
	}
	p.rest(s)
	return nil
}

// Unopened takes back one connection that is counted as being opened: there was no failure, but nothing came of it.
func (p *Pool) Unopened() { p.opening-- }

// OpenFailed notes that an opening failed; nothing is opened for a while that grows with every failure in a row. Openings
// that were under way together fail together, and count once.
func (p *Pool) OpenFailed(now time.Time) {
	p.opening--
	if now.Before(p.backoff) {
		return
	}
	pause := min(maxBackoff, minBackoff<<min(p.failed, 10))
	p.failed++
	p.backoff = now.Add(pause)
}

// Remove takes a server out of the pool, leased or idle: its connection is closed or will be.
func (p *Pool) Remove(s *Server, why Reason) {
	p.unlease(s)
	p.drop(s, why)
}

func (p *Pool) drop(s *Server, why Reason) {
	if _, ok := p.all[s]; !ok {
		return
	}
	delete(p.all, s)
	p.unidle(s)
	p.bind(s, nil)
	p.stats.Closed[why]++
}

// Condemn makes every server close when it comes back, and gives the idle ones, which are out of the pool at once.
func (p *Pool) Condemn(why Reason) (idle []*Server) {
	return p.CondemnIf(why, func(*Server) bool { return true })
}

// CondemnIf is Condemn for some of the servers.
func (p *Pool) CondemnIf(why Reason, bad func(*Server) bool) (idle []*Server) {
	for s := range p.all {
		if !bad(s) {
			continue
		}
		if s.idle {
			idle = append(idle, s)
		} else {
			s.condemned = why
		}
	}
	for _, s := range idle {
		p.drop(s, why)
	}
	return idle
}

// Sweep gives one idle server that has been idle for too long or is too old; it is out of the pool. nil when there is
// none.
func (p *Pool) Sweep(now time.Time) (*Server, Reason) {
	for at := p.idle.first; at != nil; at = at.next {
		s, why := at.of, Keep
		switch {
		case !s.expires.IsZero() && !now.Before(s.expires):
			why = Lifetime
		case p.cfg.IdleTimeout > 0 && now.Sub(s.freed) >= p.cfg.IdleTimeout && p.total() > p.minimum():
			why = IdleTimeout
		case p.surplus():
			why = Shrunk
		}
		if why != Keep {
			p.drop(s, why)
			return s, why
		}
	}
	return nil, Keep
}

// Open counts one connection as being opened, beyond what Wanted says.
func (p *Pool) Open() { p.opening++ }

// NextAlarm is the next moment at which time changes something for those who wait: somebody has waited too long, may use
// the reserve, or the pause after a failed opening is over. false when nobody waits.
func (p *Pool) NextAlarm(now time.Time) (time.Time, bool) {
	head := p.queue.oldest()
	if head == nil {
		return time.Time{}, false
	}
	at := head.since.Add(p.cfg.QueueWait)
	if p.cfg.Reserve > 0 {
		if reserve := head.since.Add(p.cfg.ReserveAfter); reserve.After(now) && reserve.Before(at) {
			at = reserve
		}
	}
	if p.backoff.After(now) && p.backoff.Before(at) {
		at = p.backoff
	}
	return at, true
}
