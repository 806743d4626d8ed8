package proxy

import (
	"time"

	"github.com/claimpool/claimpool/pool"
)

// PoolStats adds up what all pools hold at this moment.
func (p *Proxy) PoolStats() (sum pool.Stats) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if !h.loop.Post(func() {
			for _, sp := range h.pools {
				s := sp.pool.Stats()
				sum.Idle += s.Idle
				sum.Leased += s.Leased
				sum.Pinned += s.Pinned
				sum.Opening += s.Opening
				sum.Waiting += s.Waiting
				sum.Opened += s.Opened
				sum.Handovers += s.Handovers
				for why, n := range s.Closed {
					sum.Closed[why] += n
				}
			}
			close(done)
		}) {
			continue
		}
		<-done
	}
	return sum
}

// Texts counts the statements that all pools remember for their clients.
func (p *Proxy) Texts() (n int) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if h.loop.Post(func() {
			for _, sp := range h.pools {
				n += sp.library.Len()
			}
			close(done)
		}) {
			<-done
		}
	}
	return n
}

// Asking counts the logins that wait to hear what servers report.
func (p *Proxy) Asking() (n int) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if h.loop.Post(func() {
			for _, sp := range h.pools {
				n += len(sp.asking)
			}
			close(done)
		}) {
			<-done
		}
	}
	return n
}

// Listeners counts the connections that listen for clients.
func (p *Proxy) Listeners() (n int) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if h.loop.Post(func() {
			for _, sp := range h.pools {
				if sp.listener != nil {
					n++
				}
			}
			close(done)
		}) {
			<-done
		}
	}
	return n
}

// SetClock lets all server connections that are there see the machine's clock set forward.
func (p *Proxy) SetClock(by time.Duration) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if h.loop.Post(func() {
			for _, sp := range h.pools {
				sp.pool.CondemnIf(pool.Keep, func(m *pool.Server) bool {
					s := m.Value.(*backend)
					s.opened.wall = s.opened.wall.Add(-by)
					return false
				})
			}
			close(done)
		}) {
			<-done
		}
	}
}

// HoldTurns lets no login compute until the end of the test, or release.
func (p *Proxy) HoldTurns() (release func()) {
	for range cap(p.places.turns) {
		p.places.turns <- struct{}{}
	}
	return func() {
		for range cap(p.places.turns) {
			<-p.places.turns
		}
	}
}

// Begun says how many logins are worked on, and how many clients are counted.
func (p *Proxy) Begun() (slots int, clients int64) { return len(p.places.slots), p.count.Load() }

// HoldLoops lets no loop go on until release.
func (p *Proxy) HoldLoops() (release func()) {
	held := make(chan struct{})
	for _, h := range p.hubs {
		in := make(chan struct{})
		if h.loop.Post(func() { close(in); <-held }) {
			<-in
		}
	}
	return func() { close(held) }
}

// Unsent is how many bytes wait for clients that do not take them.
func (p *Proxy) Unsent() (n int) {
	for _, h := range p.hubs {
		done := make(chan struct{})
		if h.loop.Post(func() {
			for _, c := range h.clients {
				n += c.conn.Unsent()
			}
			close(done)
		}) {
			<-done
		}
	}
	return n
}
