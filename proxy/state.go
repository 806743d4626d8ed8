package proxy

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool/pool"
)

// PoolState is what one pool does at a moment, for administrators: numbers, and no word about any person.
type PoolState struct {
	Database, Target, Role string // Target is empty but for a pool of Database.Targets
	Limits                 pool.Config
	PinTimeout             time.Duration // 0: none

	Active, Idle, Opening int            // server connections; active ones are leased, to a session or for a transaction
	Pinned                int            // of the active ones, those that stay with a client because of what it has left on them
	PinnedBy              map[string]int // of them, by feature; one that has several counts for each
	OldestPin             time.Duration
	Unsure                int    // active ones that stay with a client because nobody can tell what is still to be answered
	Pins, PinsTimedOut    uint64 // since the pool was made; the latter ended with their clients, at PinTimeout

	Clients, Working, Waiting int // those that are logged in; that have a transaction; that wait for a server
	LongestWait               time.Duration
}

// Pools gives the state of all pools, in the order of their names. Each event loop writes down its own, between two events: it costs
// nothing but when it is asked for. What is asked for at the same time is done one after the other.
func (p *Proxy) Pools(ctx context.Context) ([]PoolState, error) {
	p.looking.Lock()
	defer p.looking.Unlock()
	var all []PoolState
	for _, h := range p.hubs {
		seen := make(chan []PoolState, 1)
		if !h.loop.Post(func() { seen <- h.states() }) {
			continue // it has ended
		}
		select {
		case list := <-seen:
			all = append(all, list...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(all, func(a, b PoolState) int {
		return cmp.Or(strings.Compare(a.Database, b.Database), strings.Compare(a.Target, b.Target), strings.Compare(a.Role, b.Role))
	})
	return all, nil
}

// states looks at the hub's pools and clients.
func (h *hub) states() []PoolState {
	now := h.loop.Now()
	states := make(map[*sharedPool]*PoolState, len(h.pools))
	for _, sp := range h.pools {
		st := sp.pool.Stats()
		states[sp] = &PoolState{
			Database: sp.key.database, Target: sp.key.target, Role: sp.key.role, Limits: sp.pool.Config(), PinTimeout: sp.db.PinTimeout,
			Active: st.Leased, Idle: st.Idle, Opening: st.Opening, Pinned: st.Pinned, PinnedBy: map[string]int{},
			Pins: st.Pins, PinsTimedOut: sp.pinsTimedOut, Waiting: st.Waiting, LongestWait: sp.pool.LongestWait(now),
		}
	}
	for _, c := range h.clients {
		if s := states[c.pool]; s != nil {
			s.Clients++
			c.describe(s)
		}
	}
	list := make([]PoolState, 0, len(states))
	for _, s := range states {
		list = append(list, *s)
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
