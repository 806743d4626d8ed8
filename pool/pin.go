package pool

// Pin notes that a leased server stays with its client between transactions, until Unpin or Release. It reports false when
// there are too many of those already: they serve nobody else.
func (p *Pool) Pin(s *Server) bool {
	switch {
	case s.pinned:
		return true
	case !s.leased || !p.CanPin():
		return false
	}
	s.pinned = true
	p.pinned++
	p.stats.Pins++
	return true
}

// CanPin reports whether one more server may be pinned.
func (p *Pool) CanPin() bool { return p.pinned < p.cfg.Pins }

// Pinned reports whether a server is.
func (s *Server) Pinned() bool { return s.pinned }

// Unpin is the end of Pin.
func (p *Pool) Unpin(s *Server) {
	if s.pinned {
		s.pinned = false
		p.pinned--
	}
}
