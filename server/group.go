package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
)

// Policy says which servers of a database will do, and how they are looked after.
type Policy struct {
	Attrs   Attrs
	Balance Balance

	// DNSTTL is how long the addresses of a name are believed. Zero: they are asked for again for each connection.
	DNSTTL time.Duration

	// LoginRetry is how long an address that could not be reached is left alone while another one will do.
	LoginRetry time.Duration

	// CheckInterval is how often each address is logged in to, to see whether it is up and what it is, when there is a
	// choice. Zero: never.
	CheckInterval time.Duration

	// Lookup finds the addresses of a name. Nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Group is the servers of one database and what has been learned of them: their addresses, which are down, which is the
// primary. All logins to the database share it, whatever their role.
type Group struct {
	policy Policy

	mu       sync.Mutex
	names    map[string]*name  // by host, as configured; guarded by mu
	states   map[string]*state // by address; guarded by mu
	turn     uint64            // for round-robin; guarded by mu
	version  uint64            // changes with whatever Keeps depends on; guarded by mu
	nextLook time.Time         // of Due; guarded by mu
	lastLook time.Time         // guarded by mu
	looking  bool              // guarded by mu
}

// state is what is known of one address.
type state struct {
	nature  nature
	down    bool          // it could not be reached, the last time
	refused bool          // it would not log us in, the last time
	missed  int           // checks in a row that could not reach it
	retry   time.Time     // with down: when it may be tried although another one would do
	err     error         // why
	trial   chan struct{} // closed when the one try that is under way has ended; nil: none is
}

// maxMissed is after how many checks in a row idle connections to an address are not believed in any more: one lost packet
// must not close a pool.
const maxMissed = 2

// NewGroup makes a group of which nothing is known.
func NewGroup(p Policy) *Group {
	return &Group{policy: p, names: map[string]*name{}, states: map[string]*state{}}
}

// Policy gives what the group was made with.
func (g *Group) Policy() Policy { return g.policy }

func (p *Policy) check() error { return errors.Join(p.Attrs.check(), p.Balance.check()) }

// state finds or makes what is known of an address that a host has. The caller holds mu.
func (g *Group) state(dial string) *state {
	s := g.states[dial]
	if s == nil {
		s = &state{}
		g.states[dial] = s
	}
	return s
}

// Version changes whenever Keeps may give another answer than before.
func (g *Group) Version() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version
}

// Keeps reports whether a connection to an address (see Conn.Address) is one that Open would still make: the name still leads
// there, the server is what is wanted, and it has not been missed while another one is there.
func (g *Group) Keeps(dial string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.states[dial]
	switch {
	case s == nil:
		return false
	case s.nature.known && !g.policy.Attrs.fits(s.nature):
		return g.policy.Attrs == AttrsPreferStandby && !g.other(s)
	case s.missed >= maxMissed:
		return !g.other(s)
	}
	return true
}

// other reports whether there is another address that is up and fits. The caller holds mu.
func (g *Group) other(not *state) bool {
	for _, s := range g.states {
		if s != not && !s.down && !s.refused && s.nature.known && g.policy.Attrs.fits(s.nature) {
			return true
		}
	}
	return false
}

// learned notes what a server has said of itself: it is up.
func (g *Group) learned(dial string, n nature) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.states[dial]
	if s == nil { // no host leads there any more
		return
	}
	if s.down || s.refused || s.missed > 0 || s.nature != n {
		g.version++
	}
	s.nature, s.down, s.refused, s.missed, s.err = n, false, false, 0, nil
}

// Promoted notes that a server has told a session of ours that it is no standby any more, or that it is one.
func (g *Group) Promoted(dial string, standby bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.states[dial]; s != nil && (s.nature.standby != standby || !s.nature.known) {
		s.nature.known, s.nature.standby = true, standby
		g.version++
	}
}

// failed notes a try that came to nothing. A server that is there and refuses us is not down, unless it says that it is
// starting or stopping (class 57).
func (g *Group) failed(dial string, err error, check bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.states[dial]
	if s == nil {
		return
	}
	s.err = err
	var r *refusal
	if errors.As(err, &r) && r.own.Code[:2] != "57" {
		s.refused, s.down, s.missed = true, false, 0
		g.version++
		return
	}
	if !s.down {
		g.version++
	}
	s.down = true
	s.retry = now.Add(jitter(g.policy.LoginRetry))
	if check {
		s.missed++
		g.version++
	}
}

// jitter spreads a time by a tenth in each direction, so that many proxies do not come together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

// The ranks of an address: lower is tried first. From rankDoubtful on only one try at a time is made.
const (
	rankFits     = iota // it is what is wanted, or may be
	rankFallback        // prefer-standby: a primary
	rankDoubtful        // it was down, and it is time to look again
	rankMisfit          // it was something else
	rankDown            // it was down just now
)

// rank says how much an address promises. The caller holds mu.
func (g *Group) rank(s *state, now time.Time) int {
	switch {
	case s.down && now.Before(s.retry):
		return rankDown
	case s.down:
		return rankDoubtful
	case !s.nature.known || g.policy.Attrs.fits(s.nature):
		return rankFits
	case g.policy.Attrs == AttrsPreferStandby:
		return rankFallback
	}
	return rankMisfit
}

// choice is one address to try.
type choice struct {
	host    string // as configured
	address address
	rank    int
}

// order sorts addresses by what they promise, and within that by the policy. An address that was down is looked at first when its
// time has come and it stands first: the order of the hosts is a wish.
func (g *Group) order(all []choice) []choice {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.policy.Balance {
	case BalanceRandom:
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	case BalanceRoundRobin:
		if n := len(all); n > 0 {
			at := int(g.turn % uint64(n))
			all = slices.Concat(all[at:], all[:at])
			g.turn++
		}
	}
	for i := range all {
		all[i].rank = g.rank(g.state(all[i].address.dial), now)
	}
	slices.SortStableFunc(all, func(a, b choice) int { return a.rank - b.rank })
	return all
}

// enter begins the one try of a doubtful address. When another one is under way it waits for it and gives false with what came
// out: nil, when the address will do now.
func (g *Group) enter(ctx context.Context, c choice) (leave func(), err error) {
	if c.rank < rankDoubtful {
		return func() {}, nil
	}
	g.mu.Lock()
	s := g.state(c.address.dial)
	under := s.trial
	if under == nil {
		own := make(chan struct{})
		s.trial = own
		g.mu.Unlock()
		return func() {
			g.mu.Lock()
			s.trial = nil
			g.mu.Unlock()
			close(own)
		}, nil
	}
	g.mu.Unlock()
	select {
	case <-under:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case s.down:
		return nil, s.err
	case s.nature.known && !g.policy.Attrs.fits(s.nature) && g.policy.Attrs != AttrsPreferStandby:
		return nil, &misfit{g.policy.Attrs, s.nature}
	}
	return func() {}, nil
}

// String lists the addresses and what is known of them, for the log.
func (g *Group) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for dial, s := range g.states {
		word := s.nature.word()
		if s.down {
			word = "down"
		}
		list = append(list, dial+" "+word)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// noFit is what clients are told when servers are there, but none of the kind that is wanted.
func (g *Group) noFit(cause error) error {
	return &claimpool.Error{
		Code: claimpool.CodeCannotConnectNow, Message: "no database server is of the kind that is wanted",
		Detail: fmt.Sprintf("target_session_attrs is %s.", g.policy.Attrs),
		Hint:   "Try again when a standby has been promoted; the proxy's log says what each host is.", Cause: cause,
	}
}
