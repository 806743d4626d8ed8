package proxy

import (
	"crypto/tls"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
)

// hub is everything that one event loop serves. A pool belongs to one hub, and so do all of its clients and servers:
// nothing on the way of a transaction crosses between loops (docs/adr/0001-a-pool-belongs-to-a-loop.md). All fields belong
// to the loop's goroutine.
type hub struct {
	proxy      *Proxy
	loop       *loop.Loop
	pools      map[poolKey]*sharedPool
	clients    []*client
	intern     trusted.Intern
	tickets    []*pool.Ticket // unused ones
	born       time.Time
	scratch    []byte // for building hand-overs
	rewritten  []byte // for requests that name statements
	draining   bool
	finishing  []*backend // work for clients that are gone, or are done; see finished
	generation uint64     // of the revocations, when all clients were last looked at
	handovers  uint64     // so far, where some are recorded
	unchosen   uint64     // transactions that pass by until one is recorded
	refused    Classes    // requests
	cutOff     Classes    // connections
	ended      bool
	tidies     bool // one hub of the proxy does that for all
}

// sweepInterval is how often idle servers and clients are looked at. Their times are limits, not appointments.
const sweepInterval = time.Second

func newHub(p *Proxy, l *loop.Loop, tidies bool) *hub {
	h := &hub{proxy: p, loop: l, pools: map[poolKey]*sharedPool{}, born: l.Now(), tidies: tidies, unchosen: chance(p.transactions),
		refused: Classes{}, cutOff: Classes{}}
	l.Post(h.sweep)
	return h
}

// adopt takes over a client that has logged in.
func (h *hub) adopt(c *client, fd int, t *tls.Conn, carrier *loop.Carrier, settings [][2]string) {
	c.active = h.clock()
	c.settings = h.intern.Of(settings)
	c.brought = c.settings
	c.entry = c.pool.pool.Enter(c.poolKey(), c.identity.Share(c.pool.db.ShareBy))
	c.shareIdentity()
	c.index = int32(len(h.clients))
	h.clients = append(h.clients, c)
	conn, err := h.loop.Add(fd, t, carrier, c, nil)
	if err != nil {
		c.gone("could not be watched: " + err.Error())
		return
	}
	c.conn = conn
	switch {
	case c.signOut():
	case h.draining:
		c.farewell(errStopping)
	case c.greeting != greeted:
		c.enter(h.loop.Now())
	}
}

// clock is the time since the hub was made: a moment in eight bytes.
func (h *hub) clock() time.Duration { return h.loop.Now().Sub(h.born) }

// shareIdentity lets clients with one and the same identity, such as the connections of one application with one
// password, have one object.
func (c *client) shareIdentity() {
	if known, ok := c.entry.Value.(*claimpool.Identity); ok && known.Equal(c.identity) {
		c.identity = known
		return
	}
	c.entry.Value = c.identity
}

// drop forgets a client.
func (h *hub) drop(c *client) {
	last := len(h.clients) - 1
	h.clients[c.index] = h.clients[last]
	h.clients[c.index].index = c.index
	h.clients[last] = nil
	h.clients = h.clients[:last]
}

// sweep looks after what only time changes.
func (h *hub) sweep() {
	now := h.loop.Now()
	limits := &h.proxy.config.Load().Limits
	for i := len(h.clients) - 1; i >= 0; i-- {
		if i < len(h.clients) { // one client's end may be another's
			h.clients[i].checkIdle(limits, now)
		}
	}
	for _, sp := range h.pools {
		sp.sweep(now)
	}
	h.finished(limits, now)
	if h.tidies {
		h.proxy.tidy()
	}
	h.loop.After(sweepInterval, h.sweep)
}

var errStopping = &claimpool.Error{
	Code: claimpool.CodeAdminShutdown, Message: "terminating connection due to administrator command",
}

// drain sends the idle clients away and lets the others finish their transaction.
func (h *hub) drain() {
	h.draining = true
	for i := len(h.clients) - 1; i >= 0; i-- {
		if i >= len(h.clients) {
			continue
		}
		switch c := h.clients[i]; {
		case c.state == idle, c.greeting != greeted, (c.state == waiting || c.state == listening) && c.pool.pool.Paused(): // for nothing
			c.farewell(errStopping)
		case c.state == keeping:
			c.transactionOver()
		}
	}
}

// end closes everything.
func (h *hub) end() {
	h.draining, h.ended = true, true
	for len(h.clients) > 0 {
		h.clients[len(h.clients)-1].farewell(errStopping)
	}
	for _, sp := range h.pools {
		sp.listener.end(errStopping)
		for _, s := range sp.pool.Condemn(pool.Reconfigured) {
			s.Value.(*backend).dismiss()
		}
		sp.fail(errStopping)
	}
}
