package pool

import "time"

// Reopened notes that a leased server's connection has been closed for a reason, and that a new one has taken its place, for the
// same lease. jitter is as in Opened.
func (p *Pool) Reopened(s *Server, why Reason, jitter float64, now time.Time) {
	p.stats.Closed[why]++
	p.stats.Opened++
	s.born, s.freed, s.expires = now, now, time.Time{}
	if p.cfg.Lifetime > 0 {
		s.expires = now.Add(p.cfg.Lifetime - time.Duration(jitter*float64(p.cfg.Lifetime)/10))
	}
}

// Head gives the waiting client that is likely to be served next; nil when nobody waits who may be served.
func (p *Pool) Head() *Ticket { return p.head() }
