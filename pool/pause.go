package pool

// Pause stops giving servers to clients, or begins again: who asks for one waits in the queue, within its bounds. Servers that are leased
// are not touched; Condemn closes them when they come back, and grow, behind the end of the pause, opens new ones.
func (p *Pool) Pause(on bool) {
	p.paused, p.unmatched = on, true
	for at := p.queue.first; at != nil; at = at.next {
		p.settle(at.of.Entry.share)
	}
}

// Paused reports whether nobody gets a server.
func (p *Pool) Paused() bool { return p.paused }
