package proxy

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
)

// PoolState is what one pool does at a moment, for administrators: numbers, and no word about any person.
type PoolState struct {
	Database, Target, Role string // Target is empty but for a pool of Database.Targets
	Unlisted               bool   // Other stands for the database: clients have chosen its name
	Limits                 pool.Config
	PinTimeout             time.Duration // 0: none

	Active, Idle, Opening int            // server connections; active ones are leased, to a session or for a transaction
	Pinned                int            // of the active ones, those that stay with a client because of what it has left on them
	PinnedBy              map[string]int // of them, by feature; one that has several counts for each
	OldestPin             time.Duration
	Unsure                int // active ones that stay with a client because nobody can tell what is still to be answered

	Clients, Working, Waiting int // those that are logged in; that have a transaction; that wait for a server
	LongestWait               time.Duration

	Pool   pool.Stats // since the pool was made, like the next
	Counts PoolCounts
}

// Stats is what the proxy does at a moment, and has counted since it was made.
type Stats struct {
	Pools   []PoolState // in the order of their names
	Clients int         // connections of clients, those that are logging in included
	Streams int         // of them, replication connections

	Logins  map[claimpool.Method]LoginCounts
	Dropped uint64  // connections over all limits, closed without a word
	Refused Classes // requests that got an error of ours in place of a server
	CutOff  Classes // connections that were ended with an error of ours
}

// Stats gives the state of everything. Each event loop writes down its own, between two events: it costs nothing but when it is asked for.
// What is asked for at the same time is done one after the other.
func (p *Proxy) Stats(ctx context.Context) (*Stats, error) {
	p.looking.Lock()
	defer p.looking.Unlock()
	all := &Stats{Clients: p.Clients(), Refused: Classes{}, CutOff: Classes{}}
	for _, h := range p.hubs {
		seen := make(chan *Stats, 1)
		if !h.loop.Post(func() { seen <- h.stats() }) {
			continue // it has ended
		}
		select {
		case s := <-seen:
			all.Pools = append(all.Pools, s.Pools...)
			all.Refused.plus(s.Refused)
			all.CutOff.plus(s.CutOff)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(all.Pools, func(a, b PoolState) int {
		return cmp.Or(strings.Compare(a.Database, b.Database), strings.Compare(a.Target, b.Target), strings.Compare(a.Role, b.Role))
	})
	all.Logins, all.Dropped = p.counts.copy()
	p.mu.Lock()
	defer p.mu.Unlock()
	all.Streams = len(p.streams)
	return all, nil
}

// Pools gives the state of all pools, in the order of their names.
func (p *Proxy) Pools(ctx context.Context) ([]PoolState, error) {
	s, err := p.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return s.Pools, nil
}

// Listening is how many listeners take clients in; 0 from the moment at which the proxy begins to stop.
func (p *Proxy) Listening() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.listeners)
}

// Alive reports whether all event loops turn.
func (p *Proxy) Alive(ctx context.Context) bool {
	for _, h := range p.hubs {
		turned := make(chan struct{})
		if !h.loop.Post(func() { close(turned) }) {
			return false
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stats is the hub's part.
func (h *hub) stats() *Stats {
	s := &Stats{Pools: h.states(), Refused: Classes{}, CutOff: Classes{}}
	s.Refused.plus(h.refused)
	s.CutOff.plus(h.cutOff)
	return s
}

// states looks at the hub's pools and servers. Clients without a server are only counted: there may be very many.
func (h *hub) states() []PoolState {
	now := h.loop.Now()
	list := make([]PoolState, 0, len(h.pools))
	for _, sp := range h.pools {
		st := sp.pool.Stats()
		list = append(list, PoolState{
			Database: sp.key.database, Target: sp.key.target, Role: sp.key.role, Unlisted: sp.db.origin != nil, Limits: sp.pool.Config(), PinTimeout: sp.db.PinTimeout,
			Active: st.Leased, Idle: st.Idle, Opening: st.Opening, Pinned: st.Pinned, PinnedBy: map[string]int{},
			Clients: st.Clients, Waiting: st.Waiting, LongestWait: sp.pool.LongestWait(now), Pool: st, Counts: sp.counts,
		})
		s := &list[len(list)-1]
		for m := range sp.pool.Servers() {
			if c := m.Value.(*backend).client; c != nil {
				c.describe(s)
			}
		}
	}
	return list
}

// describe adds the client to its pool's state.
func (c *client) describe(s *PoolState) {
	if c.pin != nil {
		s.OldestPin = max(s.OldestPin, c.pool.hub.clock()-c.pin.since)
		for _, name := range c.pin.uses.Names() {
			s.PinnedBy[name]++
		}
	}
	if c.server == nil || c.state == keeping {
		return
	}
	s.Working++
	if r := &c.server.relay; c.state == relaying && r.Unsure() {
		s.Unsure++
	}
}
