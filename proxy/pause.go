package proxy

import (
	"context"

	"github.com/claimpool/claimpool/pool"
)

// Pause closes the server connections of a database as they become free, and lets clients wait, within the bounds of the queue, until it is
// ended (on is false). It outlives reloads, but no restart. It says how many server connections are still in use; known is false for a
// database that is not there.
func (p *Proxy) Pause(ctx context.Context, database string, on bool) (busy int, known bool, err error) {
	p.mu.Lock()
	if known = p.config.Load().database(database) != nil; known && on {
		p.paused[database] = true
	} else {
		delete(p.paused, database)
	}
	var list []*sharedPool
	for key, sp := range p.pools {
		if key.database == database {
			list = append(list, sp)
		}
	}
	p.mu.Unlock()
	for _, sp := range list {
		left := make(chan int, 1)
		if !sp.hub.loop.Post(func() { left <- sp.pause(on && known) }) {
			continue // it has ended
		}
		select {
		case n := <-left:
			busy += n
		case <-ctx.Done():
			return busy, known, ctx.Err()
		}
	}
	return busy, known, nil
}

// IsPaused reports whether a database is paused.
func (p *Proxy) IsPaused(database string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused[database]
}

// pause says how many server connections are in use, or on their way.
func (sp *sharedPool) pause(on bool) (busy int) {
	sp.pool.Pause(on)
	if !on {
		sp.grow(sp.hub.loop.Now())
		return 0
	}
	for _, s := range sp.pool.Condemn(pool.Reconfigured) {
		s.Value.(*backend).closeFor(pool.Reconfigured)
	}
	st := sp.pool.Stats()
	return st.Leased + st.Opening
}
