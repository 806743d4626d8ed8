package proxy

import (
	"io"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// clientState says where on the walk a client is (steps 7 to 11).
type clientState uint8

const (
	idle      clientState = iota // no server; the next message begins a transaction
	waiting                      // in the queue of its pool
	receiving                    // has a server that is being handed over to it
	relaying                     // has a server
	keeping                      // session mode: has a server, and nothing is under way
	listening                    // its LISTEN waits for the pool's listener
	renewing                     // its fresh token is being verified
	refused                      // its request got an error in place of a server, and is skipped
	left                         // gone
)

// maxHold is how much of a long first message is read before a server is taken for it.
const maxHold = 16 << 10

// client is a client after its login. There may be many thousands, so it is small. It belongs to its hub's goroutine, but for number, id and long, which never change.
type client struct {
	conn     *loop.Conn
	pool     *sharedPool
	entry    *pool.Entry
	identity *claimpool.Identity
	settings *trusted.Settings
	server   *backend     // in receiving, relaying and keeping
	ticket   *pool.Ticket // in waiting
	stream   *stream      // not nil: nothing but the key of a replication connection
	seats    []seat       // in the proxy's census
	number   uint64
	since    time.Duration // when its login began, as hub.clock tells
	active   time.Duration // the end of its last transaction
	solo     relay.Solo

	statements *prepared.Client // nil until it prepares one
	brought    *trusted.Settings
	pin        *pin         // nil unless it keeps its server between transactions
	trail      *trail       // nil unless there is an audit stream
	ears       *ears        // nil until it listens, or its server does
	custom     []string     // settings of its own making; see remember
	unwanted   int          // bytes to come of a refused message
	asked      feature.Uses // what PostgreSQL is being asked about, or was last
	follows    bool         // settings, too
	soils      bool         // its server must be reset when it lets it go

	index    int32 // in hub.clients
	id       uint32
	state    clientState
	greeting greeting // in waiting and receiving: not greeted while it logs in to a session
	ahead    int32    // in receiving: bytes of its request that have followed the hand-over
	attempts uint8    // hand-overs that failed for the request at hand
	long     bool     // protocol 3.2: a long cancel key
	leaving  bool     // it has said goodbye, and its last requests are being answered
	held     bool     // a request of its waits for the answer to the one before it
	canceled bool     // in receiving: so is the request that waits for the end of the hand-over
	kept     bool     // session mode: its server holds its session
	reminded bool     // it has been told that its token ends soon, or will be
	reminder bool     // it will be told behind its transaction
	noticed  bool     // it has been told that it waits
}

// Data is part of loop.Handler.
func (c *client) Data(b []byte) int {
	if c.unwanted > 0 {
		n := c.throw(b)
		if n < len(b) {
			c.conn.Resume()
		}
		return n
	}
	switch c.state {
	case idle, keeping:
		return c.begin(b)
	case relaying:
		return c.forward(b)
	case refused:
		return c.skip(b)
	}
	return 0 // paused; it stays for later
}

// begin is step 7: the first message of a transaction. A client that does not take its answers gets no more of them, as
// PostgreSQL does not read while it cannot write: they would fill the proxy's memory.
func (c *client) begin(b []byte) int {
	if c.conn.Blocked() || c.server != nil && c.server.state == asking {
		c.conn.Pause()
		return 0
	}
	drop, ready, terminate, err := c.solo.First(b, maxHold)
	switch {
	case err != nil:
		c.fatal(claimpool.AsError(err))
		return len(b)
	case terminate:
		c.leave("client said goodbye")
		return len(b)
	case !ready:
		return drop
	case c.server != nil && !c.server.relay.Interruptible(): // in the middle of a notification: the rest comes first
		c.held = true
		c.conn.Pause()
		return drop
	}
	now := c.conn.Loop().Now()
	if c.pool.removed {
		c.fatal(errRemoved)
		return len(b)
	}
	if c.pool.hub.outdated() {
		if c.pool.hub.signOut(); c.state == left {
			return len(b)
		}
	}
	if relay.Begins(b[drop:], c.ours()) {
		return drop + c.takeToken(b[drop:], now)
	}
	if c.identity.Expired(now) {
		return drop + c.tooLate(b[drop:], now)
	}
	if n, done := c.command(b[drop:]); done {
		return drop + n
	}
	return drop + c.acquire(b[drop:], now)
}

// acquire is step 8: a server, or a place in the queue; in session mode, from the second time on, the server that the
// client has. It returns how much of b has been used.
func (c *client) acquire(b []byte, now time.Time) int {
	if c.server != nil {
		if c.server.cancels > 0 { // on its way, and must not hit the next request
			c.held = true
			c.conn.Pause()
			return 0
		}
		return c.lease(c.server, b, now)
	}
	h := c.pool.hub
	t := h.ticket(c)
	m, verdict := c.pool.pool.Acquire(t, now)
	switch verdict {
	case pool.Granted:
		h.tickets = append(h.tickets, t)
		return c.lease(m.Value.(*backend), b, now)
	case pool.Queued:
		c.ticket, c.noticed = t, false
		c.state = waiting
		c.conn.Pause()
		c.pool.grow(now)
		return 0
	}
	h.tickets = append(h.tickets, t)
	c.turnAway(errQueueFull)
	return c.skip(b)
}

// granted says that the wait in the queue is over. What the client has sent waits in its connection.
func (c *client) granted(s *backend, now time.Time) {
	c.pool.hub.tickets = append(c.pool.hub.tickets, c.ticket)
	c.pool.counts.Waits.Add(c.ticket.WaitedFor(now))
	c.ticket = nil
	c.got(s, now)
}

// got gives the client a server that it has waited for.
func (c *client) got(s *backend, now time.Time) {
	if c.identity.Expired(now) || c.pool.hub.outdated() && c.signedOut() { // while it waited: begin shows the request again, and refuses it
		c.state = idle
		s.release(now)
		if c.greeting != greeted {
			if !c.signOut() {
				c.fatal(errExpired)
			}
			return
		}
		c.conn.Resume()
		return
	}
	c.lease(s, nil, now)
	if c.state == relaying {
		c.conn.Resume()
		c.greet()
	}
}

// lease begins the use of a server: at once when it carries the client's identity already, else with step 9, the
// hand-over. It returns how much of b has been used.
func (c *client) lease(s *backend, b []byte, now time.Time) int {
	c.server, s.client = s, c
	if c.trail != nil {
		c.choose()
	}
	session := c.pool.pool.Config().Mode == pool.Session
	if session && !c.kept && !s.session.Born().Equal(c.wanted()) {
		c.pool.counts.Handovers[ReopenHandover]++
		s.reopen(c)
		return 0
	}
	s.startClock(now)
	s.relay.Watch(c.ours())
	s.relay.Features(c.pool.features.watch)
	s.relay.Begin(session, s.pool.db.Dialect.Gated() && !session)
	c.hearServer(session)
	s.statements.Begin(c.number, c.statements)
	if s.session.Ready(c.identity, c.settings, now) && (c.kept || !s.stale(now)) {
		c.state, s.state = relaying, serving
		c.pool.counts.Handovers[NoHandover]++
		if len(b) == 0 {
			return 0
		}
		return c.forward(b)
	}
	c.state = receiving
	c.conn.Pause()
	if b == nil && c.greeting == greeted {
		b = c.conn.Kept()
	}
	c.pool.counts.Handovers[s.handover(c)]++
	s.handOver(c, b, now)
	return 0
}

// goAlong gives the request at the front of what the client has sent, when it is whole: it follows the hand-over in the same
// write. It stays in the client's connection until the hand-over has succeeded, for another server if it has not.
func (c *client) goAlong(sent []byte) []byte {
	s := c.server
	r := &s.relay
	n, _, err := r.FromClient(sent)
	along := sent[:n]
	if r.Named() {
		h := c.pool.hub
		h.rewritten = append(h.rewritten[:0], along...)
		n, _, _, err = c.rename(sent, n)
		along = h.rewritten
	}
	if err != nil || !r.Answering() {
		r.Begin(false, true) // not whole, or nothing that has an answer: the ordinary way decides
		s.statements.Abort()
		return nil
	}
	r.Held() // what waits behind the request is shown again
	c.ahead = int32(n)
	return along
}

// received says that the hand-over is complete.
func (c *client) received() {
	c.recordHandover()
	c.pool.counts.ToServers += uint64(c.ahead)
	c.conn.Discard(int(c.ahead))
	c.ahead = 0
	if c.canceled { // in the meantime, and it has not begun
		c.canceled = false
		c.turnAway(errCanceled)
		return
	}
	c.state = relaying
	c.conn.Resume()
	c.greet()
}

// settle takes the client's own settings as PostgreSQL writes them: the client is told what it would have been told at login,
// had there been a server.
func (c *client) settle(settled [][2]string) {
	for _, kv := range settled {
		if name := c.pool.reported(kv[0]); name != "" {
			c.conn.Write(wire.AppendParameterStatus(nil, name, kv[1]))
			c.observe(name, kv[1])
		}
	}
}

// forward is step 10 in the direction of the server.
func (c *client) forward(b []byte) int {
	s := c.server
	if s.relay.Unsure() && s.relay.Ended() > 0 && !s.relay.InTransaction() && c.expired() {
		return len(b)
	}
	if !s.relay.Busy() {
		s.clock.asked, s.clock.stopped = c.conn.Loop().Now(), time.Time{}
	}
	n, terminate, err := c.send(b)
	for err == nil && !terminate && s.relay.Held() {
		if !c.fence() {
			c.held = true
			c.conn.Pause()
			break
		}
		var k int
		k, terminate, err = c.send(b[n:])
		n += k
	}
	s.pool.counts.ToServers += uint64(n)
	s.resolve()
	switch {
	case err != nil:
		c.fatal(claimpool.AsError(err))
		return len(b)
	case terminate && s.relay.Answering():
		c.leaving = true // what came before the goodbye is carried out and answered, as PostgreSQL does
		c.conn.Pause()
		return len(b)
	case terminate:
		c.leave("client said goodbye")
		return len(b)
	case s.relay.Stopped():
		return n + c.refuseToken(b[n:])
	case s.relay.Asked() != 0:
		return n + c.decide(b[n:])
	case s.conn.Blocked():
		c.conn.Pause()
	}
	if s.relay.Over() { // nothing that has an answer, or the rest of a failed COPY
		c.transactionOver()
	}
	return n
}

// send forwards what may go to the server now, and says how much of b that was.
func (c *client) send(b []byte) (n int, terminate bool, err error) {
	s := c.server
	n, terminate, err = s.relay.FromClient(b)
	switch {
	case s.relay.Named():
		return c.rewrite(b, n)
	case s.relay.Copying():
		s.conn.WriteSoon(b[:n])
	default:
		s.conn.Write(b[:n])
	}
	return n, terminate, err
}

// fence lets a request follow those before it that are not answered yet, although an error among them would take the context
// away: it is installed once more in between. While others wait for a server the request waits too, and the server goes
// round.
func (c *client) fence() bool {
	s, h := c.server, c.pool.hub
	now := h.loop.Now()
	if !s.session.Together() || !s.relay.Fenceable() || s.conn.Blocked() || h.draining || c.pool.pool.Waiting() > 0 || c.identity.Expired(now) {
		return false
	}
	h.scratch = s.session.Renew(h.scratch[:0], s.pool.db.Dialect, c.identity, now)
	s.relay.Fence()
	s.conn.Write(h.scratch)
	return true
}

// transactionOver is step 11, when the pool mode lets the server go.
func (c *client) transactionOver() {
	if c.server.state == asking {
		return
	}
	if c.state == refused || c.state == renewing { // session mode: the server has said something of its own meanwhile
		return
	}
	c.recordTransaction(true)
	mode := c.pool.pool.Config().Mode
	s := c.server
	c.active, c.attempts = c.pool.hub.clock(), 0
	if c.reminder {
		c.remind()
	}
	if _, none := s.pool.db.Dialect.(trusted.None); s.relay.Wiped() && !(none && mode == pool.Session) {
		s.session.Wiped() // a session without a context goes on as it is: all else that the client has set stays
	}
	if s.relay.ReadOnly() {
		s.pool.doubtHosts()
	}
	if s.relay.Erred() && s.pool.db.Dialect.Gated() && mode != pool.Session {
		s.session.Dropped()
	}
	if mode == pool.Session && !c.pool.hub.draining {
		c.state, c.kept = keeping, true
		return
	}
	if s.relay.Unlistened() {
		c.unlisten("")
	}
	if mode != pool.Session && c.lingers() {
		return
	}
	c.letGo()
}

// letGo gives the server back.
func (c *client) letGo() {
	s := c.server
	c.unpin()
	c.server, s.client = nil, nil
	c.state, c.kept = idle, false
	now := c.conn.Loop().Now()
	if s.pool.pool.Config().Mode == pool.Session || c.soils {
		s.session.Soil()
	}
	c.soils = false
	s.release(now)
	c.deliverNews()
	c.conn.Resume() // it may have been paused for the server
	switch {
	case c.leaving:
		c.leave("client said goodbye")
	case c.pool.hub.draining:
		c.farewell(errStopping)
	}
}

// turnAway answers the client's request with an error in place of a server; the connection goes on.
func (c *client) turnAway(e *claimpool.Error) {
	if c.ticket != nil {
		c.pool.hub.tickets = append(c.pool.hub.tickets, c.ticket)
		c.ticket = nil
	}
	c.pool.hub.proxy.log.Warn("request refused", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
		claimpool.LogSQLState, string(e.Code), claimpool.LogReason, e.Error())
	if c.greeting != greeted {
		c.fatal(e)
		return
	}
	c.pool.hub.refused.add(e.Code)
	c.conn.Write(wire.AppendError(nil, "ERROR", e))
	c.state, c.attempts, c.active = refused, 0, c.pool.hub.clock()
	c.hush()
	c.solo.Refuse()
	c.conn.Resume()
}

// skip passes over a request that has been refused.
func (c *client) skip(b []byte) int {
	n, done, terminate, err := c.solo.Skip(b)
	switch {
	case err != nil:
		c.fatal(claimpool.AsError(err))
		return len(b)
	case terminate:
		c.leave("client said goodbye")
		return len(b)
	case !done:
		return n
	}
	c.conn.Write(wire.AppendReadyForQuery(nil, wire.StatusIdle))
	c.state, c.active = c.atRest(), c.pool.hub.clock()
	c.unhush()
	if c.pool.hub.draining {
		c.farewell(errStopping)
		return len(b)
	}
	if n < len(b) {
		c.conn.Resume() // what stands behind it begins anew
	}
	return n
}

// observe notes a setting that the client has changed, as PostgreSQL reports it.
func (c *client) observe(name, value string) {
	if followed(name) {
		c.settings = c.pool.hub.intern.With(c.settings, name, value)
		c.server.session.Observed(c.settings)
		if c.statements != nil {
			c.statements.Rescope(c.scope())
		}
	}
}

// Drained is part of loop.Handler: the client has taken what the server sent.
func (c *client) Drained() {
	if c.server != nil && (c.state == relaying || c.state == keeping) {
		c.server.conn.Resume()
	}
	c.deliverNews()
	if c.state == idle || c.state == keeping || c.state == relaying && c.held {
		c.held = c.held && c.state != relaying
		c.conn.Resume()
	}
}

// Hangup is part of loop.Handler: a client in the queue has left. One that has said goodbye behind its requests does not
// wait for answers, but still wants them carried out, and so may one whose last words do not fit into a buffer. Who leaves without a
// word wants nothing any more.
func (c *client) Hangup() {
	if c.state != waiting && c.state != receiving && c.state != listening {
		return
	}
	if all := c.conn.ReadAhead(); all && !relay.EndsInGoodbye(c.conn.Kept()) {
		c.leave("client closed the connection")
	}
}

// Closed is part of loop.Handler.
func (c *client) Closed(err error) {
	if err == io.EOF {
		c.gone("client closed the connection")
		return
	}
	c.gone("connection lost: " + err.Error())
}
