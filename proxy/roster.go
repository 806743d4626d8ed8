package proxy

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
)

// ClientState is what one client does at a moment, for administrators.
type ClientState struct {
	Number                 uint64
	Addr                   string // behind a load balancer, where nothing is recorded: the load balancer's
	Database, Target, Role string
	Identity               *claimpool.Identity
	Doing                  string // in the words of pg_stat_activity, and some more
	Server                 uint32 // the process id of the server that it has; 0: none
	Login                  time.Time
	Idle                   time.Duration // since its last transaction; 0: it has one
}

// ServerState is what one server connection does at a moment.
type ServerState struct {
	PID                    uint32
	Addr                   string
	Database, Target, Role string
	Identity               *claimpool.Identity // whose context it carries; nil: nobody's
	Client                 uint64              // the number of the client that has it; 0: none
	Doing                  string
	Pinned                 bool
	Born                   time.Time
	Idle                   time.Duration // 0: a client has it
}

// clientsAtOnce is how many clients an event loop writes down between two events.
const clientsAtOnce = 500

// Roster gives the states of the clients, in the order in which they came, but no more than most; more says that there are some. What each loop
// writes down is short, so that its clients hardly wait; those that come or go meanwhile are there or not.
func (p *Proxy) Roster(ctx context.Context, most int) (list []ClientState, more bool, err error) {
	p.looking.Lock()
	defer p.looking.Unlock()
	list = p.outside()
	seen := map[uint64]bool{}
	for _, h := range p.hubs {
		for before := math.MaxInt; before > 0 && len(list) <= most; {
			page := make(chan []ClientState, 1)
			next := make(chan int, 1)
			if !h.loop.Post(func() {
				states, at := h.clientsBefore(before)
				page <- states
				next <- at
			}) {
				break // it has ended
			}
			select {
			case states := <-page:
				for _, st := range states {
					if !seen[st.Number] { // one that has moved meanwhile is met twice
						seen[st.Number] = true
						list = append(list, st)
					}
				}
				before = <-next
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		}
	}
	slices.SortFunc(list, func(a, b ClientState) int { return cmp.Compare(a.Number, b.Number) })
	if len(list) > most {
		return list[:most], true, nil
	}
	return list, false, nil
}

// clientsBefore gives some clients in front of a place, and where those are that have not been given: a client that leaves makes room for the
// last one, which was given already.
func (h *hub) clientsBefore(before int) (list []ClientState, at int) {
	before = min(before, len(h.clients))
	at = max(0, before-clientsAtOnce)
	for _, c := range h.clients[at:before] {
		list = append(list, c.writeDown())
	}
	return list, at
}

func (c *client) writeDown() ClientState {
	h, key := c.pool.hub, c.pool.key
	st := ClientState{
		Number: c.number, Database: key.database, Target: key.target, Role: key.role, Identity: c.identity, Doing: c.doing(), Login: h.born.Add(c.since),
	}
	if c.trail != nil {
		st.Addr = c.trail.addr
	} else {
		st.Addr = c.conn.Peer()
	}
	if c.server != nil {
		st.Server = c.server.session.PID
	}
	if c.state == idle || c.state == keeping {
		st.Idle = h.clock() - c.active
	}
	return st
}

// doing says what a client does, in one or two words.
func (c *client) doing() string {
	switch {
	case c.greeting != greeted:
		return "login"
	case c.state == idle, c.state == keeping:
		return "idle"
	case c.state == waiting:
		return "waiting"
	case c.state == listening:
		return "listening"
	case c.state == renewing:
		return "renewing"
	case c.state == relaying && c.server.relay.InTransaction() && !c.server.relay.Busy():
		return "idle in transaction"
	}
	return "active"
}

// outside are the clients that are in no loop.
func (p *Proxy) outside() (list []ClientState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(v *visitor, doing string, since time.Time, server uint32) {
		list = append(list, ClientState{
			Number: v.number, Addr: v.addr(), Database: v.request.Database, Role: v.identity.Role, Identity: v.identity, Doing: doing, Login: since, Server: server,
		})
	}
	for st := range p.streams {
		add(st.visitor, "replication", st.since, st.server.PID())
	}
	for g := range p.guests {
		add(g.visitor, "console", g.since, 0)
	}
	return list
}

// Servers gives the states of all server connections in pools.
func (p *Proxy) Servers(ctx context.Context) (list []ServerState, err error) {
	p.looking.Lock()
	defer p.looking.Unlock()
	for _, h := range p.hubs {
		seen := make(chan []ServerState, 1)
		if !h.loop.Post(func() { seen <- h.servers() }) {
			continue // it has ended
		}
		select {
		case states := <-seen:
			list = append(list, states...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(list, func(a, b ServerState) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Role, b.Role), a.Born.Compare(b.Born), cmp.Compare(a.PID, b.PID))
	})
	return list, nil
}

func (h *hub) servers() (list []ServerState) {
	now := h.loop.Now()
	for _, sp := range h.pools {
		for m := range sp.pool.Servers() {
			s := m.Value.(*backend)
			st := ServerState{
				PID: s.session.PID, Addr: s.address, Database: sp.key.database, Target: sp.key.target, Role: sp.key.role, Identity: s.session.Carries(),
				Doing: s.doing(), Pinned: m.Pinned(), Born: m.Born(),
			}
			if s.client != nil {
				st.Client = s.client.number
			}
			if m.Idle() {
				st.Idle = m.IdleFor(now)
			}
			list = append(list, st)
		}
	}
	return list
}

// doing says what a server connection does, in one or two words.
func (s *backend) doing() string {
	switch s.state {
	case resting:
		return "idle"
	case handingOver:
		return "handing over"
	case serving:
		if s.relay.Busy() || !s.relay.InTransaction() && s.client != nil && s.client.state == relaying {
			return "active"
		}
		if s.relay.InTransaction() {
			return "idle in transaction"
		}
		return "kept"
	case finishing:
		return "finishing"
	case rollingBack:
		return "rolling back"
	case cancelling:
		return "cancelling"
	case reopening:
		return "reopening"
	}
	return "asking"
}

// Kill ends the clients that an administrator names: one by its number, or those of a database, or of one of its roles (empty: all). An open
// transaction is rolled back and a running statement cancelled. It says how many there were.
func (p *Proxy) Kill(ctx context.Context, number uint64, database, role string) (n int, err error) {
	named := func(of uint64, in, as string) bool {
		if number != 0 {
			return of == number
		}
		return in == database && (role == "" || as == role)
	}
	for _, h := range p.hubs {
		killed := make(chan int, 1)
		if !h.loop.Post(func() {
			killed <- h.kill(func(c *client) bool { return named(c.number, c.pool.key.database, c.pool.key.role) })
		}) {
			continue // it has ended
		}
		select {
		case k := <-killed:
			n += k
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
	is := func(v *visitor) bool { return named(v.number, v.request.Database, v.identity.Role) }
	p.endStreams(errStopping.Message, func(st *stream) bool {
		if is(st.visitor) {
			n++
			return true
		}
		return false
	})
	p.endGuests(func(g *guest) error {
		if number == 0 || !is(g.visitor) { // a database is none of theirs
			return nil
		}
		n++
		return errStopping
	})
	return n, nil
}

func (h *hub) kill(named func(*client) bool) (n int) {
	for i := len(h.clients) - 1; i >= 0; i-- {
		if i >= len(h.clients) { // one client's end may be another's
			continue
		}
		if c := h.clients[i]; c.state != left && named(c) {
			c.leaving = false
			c.fatal(errStopping)
			n++
		}
	}
	return n
}
