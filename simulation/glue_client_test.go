package simulation

import (
	"errors"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// The glue calls pool, relay and trusted in the order in which package proxy does: this file is its client.go and leave.go,
// glue_server_test.go its backend.go, release.go and shared_pool.go, without sockets, logs and limits. Whoever changes the
// walk there changes it here. A mutation switches one of its rules off (see mutation).

// clientState says where on the walk a client is.
type clientState uint8

const (
	idle clientState = iota
	waiting
	receiving
	relaying
	keeping
	refused
	left
)

// conn is what package loop keeps for a connection: bytes that were not used yet, and whether they are to be shown.
type conn struct {
	in     []byte
	paused bool
	again  bool // show them
	closed bool
}

func (c *conn) resume() { c.paused, c.again = false, true }

type client struct {
	w        *world
	person   *person
	conn     conn
	entry    *pool.Entry
	identity *claimpool.Identity
	settings *trusted.Settings
	server   *backend
	ticket   *pool.Ticket
	solo     relay.Solo
	state    clientState
	ahead    int
	attempts int
	leaving  bool
	held     bool
	leased   time.Time // when the lease began
	kept     bool
}

// maxHold is how much of a long first message is read before a server is taken for it.
const maxHold = 64

func (c *client) data(b []byte) int {
	switch c.state {
	case idle, keeping:
		return c.begin(b)
	case relaying:
		return c.forward(b)
	case refused:
		return c.skip(b)
	}
	return 0
}

func (c *client) begin(b []byte) int {
	drop, ready, terminate, err := c.solo.First(b, maxHold)
	switch {
	case err != nil:
		c.fatal(err)
		return len(b)
	case terminate:
		c.gone()
		return len(b)
	case !ready:
		return drop
	}
	if c.expired() {
		return len(b)
	}
	return drop + c.acquire(b[drop:])
}

func (c *client) expired() bool {
	if !c.identity.Expired(c.w.now) || c.w.broken == servesTheExpired {
		return false
	}
	c.leaving = false
	c.fatal(errors.New("token has expired"))
	return true
}

func (c *client) acquire(b []byte) int {
	if c.server != nil {
		if !c.server.relay.Interruptible() { // it is in the middle of a notification
			c.held, c.conn.paused = true, true
			return 0
		}
		return c.lease(c.server, b)
	}
	t := &pool.Ticket{Value: c, Entry: c.entry}
	m, verdict := c.w.pool.Acquire(t, c.w.now)
	switch verdict {
	case pool.Granted:
		return c.lease(m.Value.(*backend), b)
	case pool.Queued:
		c.ticket, c.state = t, waiting
		c.conn.paused = true
		c.w.grow()
		return 0
	}
	c.turnAway()
	return c.skip(b)
}

func (c *client) granted(s *backend) {
	c.ticket = nil
	if c.identity.Expired(c.w.now) && c.w.broken != servesTheExpired {
		c.state = idle
		s.release()
		c.conn.resume()
		return
	}
	c.lease(s, nil)
	if c.state == relaying {
		c.conn.resume()
	}
}

func (c *client) lease(s *backend, b []byte) int {
	c.w.given(s, c)
	c.server, s.client, s.slow, c.leased = s, c, false, c.w.now
	s.relay.Begin(c.w.sessions(), c.w.dialect.Gated() && !c.w.sessions() && c.w.broken != letsPipelinesGo)
	stale := !c.kept && s.stale()
	if !stale && (s.session.Ready(c.identity, c.settings, c.w.now) || c.w.broken == skipsTheHandover && s.session.Carries() != nil) {
		c.state, s.state = relaying, serving
		if len(b) == 0 {
			return 0
		}
		return c.forward(b)
	}
	c.state = receiving
	c.conn.paused = true
	if b == nil {
		b = c.conn.in
	}
	s.handOver(c, b)
	return 0
}

func (c *client) goAlong(sent []byte) []byte {
	r := &c.server.relay
	n, _, err := r.FromClient(sent)
	if err != nil || !r.Answering() {
		r.Begin(false, true)
		return nil
	}
	c.ahead = n
	return sent[:n]
}

func (c *client) received(settled [][2]string) {
	c.conn.in = c.conn.in[c.ahead:]
	c.ahead = 0
	for _, kv := range settled {
		if kv[0] == appName {
			c.write(wire.AppendParameterStatus(nil, kv[0], kv[1]))
			c.observe(kv[0], kv[1])
		}
	}
	c.state = relaying
	c.conn.resume()
}

func (c *client) forward(b []byte) int {
	s := c.server
	if s.relay.Unsure() && s.relay.Ended() > 0 && !s.relay.InTransaction() && c.expired() {
		return len(b)
	}
	if !s.relay.Busy() { // what follows an answer that is on its way cannot be told from what comes before it
		s.w.begins(s, c)
	}
	n, terminate, err := s.relay.FromClient(b)
	s.send(b[:n])
	for err == nil && !terminate && s.relay.Held() {
		if !c.fence() {
			c.held, c.conn.paused = true, true
			break
		}
		var k int
		k, terminate, err = s.relay.FromClient(b[n:])
		s.send(b[n : n+k])
		n += k
	}
	switch {
	case err != nil:
		c.fatal(err)
		return len(b)
	case terminate && s.relay.Answering():
		c.leaving = true
		c.conn.paused = true
		return len(b)
	case terminate:
		c.gone()
		return len(b)
	}
	if s.relay.Over() {
		c.transactionOver()
	}
	return n
}

// fence installs the context once more in front of a request that follows others which are not answered yet.
func (c *client) fence() bool {
	s := c.server
	if !s.session.Together() || !s.relay.Fenceable() || c.w.pool.Waiting() > 0 || c.identity.Expired(c.w.now) {
		return false
	}
	b := s.session.Renew(nil, c.w.dialect, c.identity, c.w.now)
	if c.w.broken == fencesWithNothing {
		b = wire.AppendBinaryCall(nil, oidToRegprocedure, []byte("nothing"))
	}
	s.relay.Fence()
	s.send(b)
	return true
}

func (c *client) transactionOver() {
	s := c.server
	c.attempts = 0
	if s.relay.Wiped() && c.w.broken != forgetsAWipe {
		s.session.Wiped()
	}
	if s.relay.Erred() && c.w.dialect.Gated() && !c.w.sessions() && c.w.broken != forgetsADrop {
		s.session.Dropped()
	}
	if c.w.sessions() {
		c.state, c.kept = keeping, true
		return
	}
	c.server, s.client = nil, nil
	c.state, c.kept = idle, false
	s.release()
	c.conn.resume()
	if c.leaving {
		c.gone()
	}
}

func (c *client) turnAway() {
	c.ticket = nil
	c.write(wire.AppendError(nil, "ERROR", &claimpool.Error{Code: claimpool.CodeTooManyConnections, Message: "refused"}))
	c.state, c.attempts = refused, 0
	c.solo.Refuse()
	c.conn.resume()
}

func (c *client) skip(b []byte) int {
	n, done, terminate, err := c.solo.Skip(b)
	switch {
	case err != nil:
		c.fatal(err)
		return len(b)
	case terminate:
		c.gone()
		return len(b)
	case !done:
		return n
	}
	c.write(wire.AppendReadyForQuery(nil, wire.StatusIdle))
	c.state = idle
	if n < len(b) {
		c.conn.resume()
	}
	return n
}

func (c *client) observe(name, value string) {
	if name == appName {
		c.settings = c.w.intern.With(c.settings, name, value)
		c.server.session.Observed(c.settings)
	}
}

// hangup is the loop's word for a peer that has closed while its connection is paused.
func (c *client) hangup() {
	if (c.state == waiting || c.state == receiving) && !relay.EndsInGoodbye(c.conn.in) {
		c.gone()
	}
}

func (c *client) write(b []byte) {
	if !c.conn.closed {
		c.person.hear(b)
	}
}

func (c *client) fatal(err error) {
	if c.state == left {
		return
	}
	if c.server == nil || c.server.relay.Interruptible() {
		c.write(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: claimpool.CodeConnectionFailure, Message: err.Error()}))
	}
	c.gone()
}

// gone undoes all that the client holds, and closes its connection.
func (c *client) gone() {
	if c.state == left {
		return
	}
	if c.ticket != nil {
		c.w.pool.Cancel(c.ticket)
		c.ticket = nil
	}
	c.state = left
	if s := c.server; s != nil {
		c.server, s.client = nil, nil
		s.abandoned(c)
	}
	c.w.pool.Leave(c.entry)
	c.conn.closed = true
	c.person.over = true
}

// cancelRequest is a CancelRequest with the client's key.
func (c *client) cancelRequest() {
	switch c.state {
	case waiting:
		c.w.pool.Cancel(c.ticket)
		c.turnAway()
	case receiving:
		switch {
		case c.ahead > 0:
			c.server.sendCancel(c)
		case !c.kept:
			c.server.client, c.server = nil, nil
			c.turnAway()
		}
	case relaying:
		if c.server.relay.Busy() {
			c.server.sendCancel(c)
		}
	}
}

func (s *backend) sendCancel(c *client) {
	if s.cancels == 0 {
		s.cancels++
		s.w.cancels = append(s.w.cancels, cancelRequest{s, c.person.number, s.w.now.Add(cancelTimeout)})
	}
}

// cancelRequest is one on its way to a server. When it has not arrived at its deadline, nobody knows.
type cancelRequest struct {
	to       *backend
	from     int
	deadline time.Time
}
