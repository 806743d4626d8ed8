package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// serverState says what a server connection is doing.
type serverState uint8

const (
	resting     serverState = iota // idle, in its pool
	handingOver                    // getting ready for a client; its replies are ours
	serving                        // relaying
	finishing                      // answering the last requests of a client that said goodbye and is gone
	rollingBack                    // ending the transaction of a client that has left; its replies are ours
	asking                         // telling what its client has left on it; its replies are ours
	cancelling                     // its client is done, but a cancel request is still on its way to it
	reopening                      // its connection is being replaced by one that is opened as its client has asked for
	gone                           // closed
)

// How long a server may take for what the proxy itself asks of it.
const (
	handoverTimeout      = 5 * time.Second
	rollbackTimeout      = time.Second
	defaultCancelTimeout = 5 * time.Second
)

// maxAttempts is how many servers may fail to be handed over before a request is refused: a neighbour that cancels
// everything it can costs others time, but not for ever.
const maxAttempts = 5

// backend is a server connection in a loop. It belongs to its hub's goroutine.
type backend struct {
	conn    *loop.Conn
	pool    *sharedPool
	client  *client // in serving, and in handingOver unless it has left
	former  *client // in finishing: who has asked, and is gone
	member  pool.Server
	session trusted.Session
	relay   relay.Relay

	statements *prepared.Server // nil in session mode

	replies  trusted.Replies
	params   [][2]string // what it has reported at its login; nil unless it was opened with a client's settings
	target   server.Target
	address  string      // where it is, for server.Group
	opened   moment      // when it was
	timer    *loop.Timer // for what the proxy itself asks
	heard    time.Time   // when the last reply was complete
	clock    clockwork
	cancels  int  // cancel requests on their way
	doubtful bool // one of them may still arrive
	state    serverState
}

// stale reports whether the connection has been idle for so long that it should give a sign of life first.
func (s *backend) stale(now time.Time) bool {
	after := s.pool.pool.Config().CheckAfter
	return after > 0 && s.member.IdleFor(now) > after
}

// handOver is step 9: everything that makes the server the client's goes out in one write. The client's first request,
// which begins what it has sent, follows when all replies have come: in a database without a gate nothing else can promise
// that it does not run under somebody else's context. Behind a gate it goes along.
func (s *backend) handOver(c *client, sent []byte, now time.Time) {
	h := s.pool.hub
	if s.clockSet(now) {
		s.pool.distrust(now)
		s.askFailed(errClockSet)
		return
	}
	if s.session.Wipes(c.identity) {
		s.statements.Clear()
	}
	b, steps := s.session.Handover(h.scratch[:0], s.pool.db.Dialect, c.identity, c.settings, now)
	if len(steps) == 0 {
		b, steps = trusted.Check(b, steps)
	}
	if s.session.Together() && steps.Fenced() && !s.stale(now) {
		b = append(b, c.goAlong(sent)...)
	}
	h.scratch = b
	d := handoverTimeout
	if c.ahead > 0 { // the replies come with its answer, which may take as long as it likes; switch() bounds its own time
		d = 0
	}
	s.ask(handingOver, b, steps, d)
	s.replies.Compare(c.settings)
	if c.kept { // the session goes on, and so does its LISTEN
		s.replies.KeepNews()
	}
}

// ask sends requests of our own and waits for their replies; with no d for as long as it takes.
func (s *backend) ask(state serverState, b []byte, steps trusted.Steps, d time.Duration) {
	s.state = state
	s.replies = trusted.Expect(steps)
	if s.timer = nil; d > 0 {
		s.timer = s.pool.hub.loop.After(d, func() { s.askFailed(errTimeout) })
	}
	s.conn.Write(b)
	s.conn.Resume()
}

var errTimeout = errors.New("no reply in time")

// Data is part of loop.Handler.
func (s *backend) Data(b []byte) int {
	switch s.state {
	case serving:
		return s.deliver(b)
	case handingOver, rollingBack, asking:
		return s.take(b)
	case finishing:
		return s.finish(b)
	case resting, cancelling:
		return s.idleTalk(b)
	}
	return len(b)
}

// take checks the replies to our own requests.
func (s *backend) take(b []byte) int {
	n, err := s.replies.Take(b)
	if news := s.replies.News(); len(news) > 0 && s.client != nil {
		s.client.tellNews(news)
	}
	if err != nil {
		s.askFailed(err)
		return len(b)
	}
	if !s.replies.Done() {
		return n
	}
	s.timer.Stop()
	if s.client != nil {
		s.client.introduce()
		s.client.settle(s.replies.Settled())
	}
	switch {
	case s.replies.Temporary():
		s.retire(pool.SessionOver)
		return len(b)
	case s.client == nil && s.state == handingOver && s.pool.pool.Config().Mode == pool.Session && !s.session.Unisolated:
		s.cleanUp(s.pool.hub.scratch[:0], nil, true) // its client has left meanwhile, perhaps behind a long session
	case s.state == rollingBack || s.client == nil:
		s.release(s.pool.hub.loop.Now())
	case s.state == asking:
		s.state = serving
		s.client.answered(s.replies.Left())
	case s.late():
		s.client.attempts++
		s.handOver(s.client, nil, s.pool.hub.loop.Now())
	default:
		s.state = serving
		s.client.received()
	}
	if n < len(b) {
		s.conn.Resume()
	}
	return n
}

// late reports whether the hand-over took longer than its seal is good for: then it begins again, because a transaction under
// it would be refused. A request that came along has its answer already.
func (s *backend) late() bool {
	c := s.client
	return c.ahead == 0 && c.attempts < maxAttempts && !s.session.Ready(c.identity, c.settings, s.pool.hub.loop.Now())
}

// askFailed closes the server: it may be in any state. The client of a hand-over has not been served a byte, so it simply
// gets another server.
func (s *backend) askFailed(err error) {
	s.timer.Stop()
	c, state := s.client, s.state
	h := s.pool.hub
	why := pool.HandoverFailed
	if state == rollingBack {
		why = pool.RollbackFailed
	}
	h.proxy.log.Warn("server connection closed", claimpool.LogPool, s.pool.name(), claimpool.LogServer, s.session.PID,
		claimpool.LogReason, why.String(), claimpool.LogErr, err.Error())
	s.client = nil
	if errors.Is(err, errTimeout) {
		s.cancelRunning() // it may wait for a lock, and would for ever: closed connections count at the server, too
	}
	s.statements.Abort()
	s.remove(why)
	if c == nil {
		return
	}
	c.server = nil
	c.attempts++
	along := c.ahead > 0
	c.ahead = 0
	var e *claimpool.Error
	switch {
	case along && !errors.As(err, &e): // no word of the server: its request may have run
		c.state = idle
		c.fatal(c.reason(lostInRequest(err)))
	case c.kept: // what the session has left on it is lost
		c.fatal(&claimpool.Error{
			Code: claimpool.CodeConnectionFailure, Message: "server connection lost",
			Detail: "The trusted context of the session could not be renewed.", Hint: "Connect again.", Cause: err,
		})
	case errors.As(err, &e) && trusted.ClientsFault(&s.replies, e):
		c.state = idle
		c.fatal(e)
	case c.attempts >= maxAttempts:
		c.state = idle
		c.turnAway(&claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "could not prepare a server connection",
			Detail: "The hand-over failed several times in a row.", Hint: "Try again; the proxy's log has the reason.",
		})
	case c.greeting != greeted:
		c.state = idle
		c.enter(h.loop.Now())
	default:
		c.state = idle
		c.conn.Resume() // begin shows the request again and acquires anew
	}
}

// deliver is step 10 in the direction of the client.
func (s *backend) deliver(b []byte) int {
	c := s.client
	used := 0
	ended := s.relay.Ended()
	for used < len(b) {
		r, err := s.relay.FromServer(b[used:])
		if r.Forward > 0 {
			c.conn.Write(b[used : used+r.Forward])
		}
		if r.Instead != nil {
			c.conn.Write(wire.AppendError(nil, "ERROR", r.Instead))
		}
		if t := c.sampled(); t != nil {
			t.Take(b[used : used+r.Forward])
			t.Instead(r.Instead)
		}
		used += r.Forward + r.Drop
		if err != nil {
			s.brokenProtocol(err)
			return len(b)
		}
		if r.Event == relay.Parameter {
			if r.Name == "in_hot_standby" {
				s.promoted(r.Value)
			}
			c.observe(r.Name, r.Value)
		}
		if r.Done {
			break
		}
	}
	s.pool.counts.ToClients += uint64(used)
	s.pool.counts.Transactions += uint64(s.relay.Ended() - ended)
	s.resolve()
	if c.held && s.relay.Ready() {
		c.held = false
		c.conn.Resume()
	}
	switch {
	case s.relay.Ended() != ended && !s.relay.Over() && c.expired():
		return used // one transaction is over, and what waits behind it would be another
	case s.relay.Over():
		s.heard = s.pool.hub.loop.Now()
		if s.relay.Ended() != ended {
			s.pool.counts.Held.Add(s.heard.Sub(s.clock.began))
		}
		c.transactionOver()
	case s.relay.InTransaction() && !s.relay.Busy():
		s.heard = s.pool.hub.loop.Now()
		if s.pool.pool.Config().Mode == pool.Statement {
			c.fatal(&claimpool.Error{
				Code: claimpool.CodeFeatureNotSupported, Message: "transaction blocks are not allowed in statement mode",
				Hint: "Use a pool with mode transaction or session.",
			})
			return used
		}
	case s.relay.Unsure() && !s.relay.Busy():
		s.heard = s.pool.hub.loop.Now()
	}
	// A transaction is left open, or the session is over, or the server waits for COPY data that will never come.
	if s.client == c && c.leaving && !s.relay.Answering() {
		c.leave("client said goodbye")
		return used
	}
	if s.client == c && c.conn.Blocked() { // still the same lease
		s.conn.Pause()
	}
	return used
}

// resolve asks how many answers are to come where the relay cannot tell.
func (s *backend) resolve() {
	if s.relay.Doubtful() {
		s.conn.Write(s.relay.Probe(s.pool.hub.scratch[:0]))
	}
}

// idleTalk takes what a server says without having been asked. Only news may come; anything else means that it is not
// what we think it is.
func (s *backend) idleTalk(b []byte) int {
	n := 0
	for {
		typ, size, ok, err := wire.Header(b[n:])
		if err == nil && !ok {
			return n
		}
		if err == nil && len(b)-n < wire.HeaderLen+size && size <= maxNews {
			return n
		}
		switch {
		case err != nil || size > maxNews:
		case typ == wire.MsgNoticeResponse || typ == wire.MsgNotificationResponse:
			n += wire.HeaderLen + size
			continue
		case typ == wire.MsgParameterStatus && s.state == resting && !s.member.Fresh():
			// A setting has changed behind our back (a reload of postgresql.conf): the next hand-over resets.
			s.session.Soil()
			n += wire.HeaderLen + size
			continue
		case typ == wire.MsgParameterStatus:
			n += wire.HeaderLen + size
			continue
		case typ == wire.MsgErrorResponse:
			s.lost(errors.New(errorText(b[n+wire.HeaderLen : n+wire.HeaderLen+size])))
			return len(b)
		}
		s.retire(pool.ServerError)
		return len(b)
	}
}

// maxNews is the longest message that an idle server may send: notices and notifications are short, and a NOTIFY payload
// has less than 8,000 bytes.
const maxNews = 32 << 10

func errorText(body []byte) string {
	fields, err := wire.ParseError(body)
	if err != nil {
		return "unreadable error"
	}
	return fields.ClaimpoolError().Message
}

// brokenProtocol ends a server that speaks nonsense, and its client, which may have half a message.
func (s *backend) brokenProtocol(err error) {
	c := s.client
	s.client = nil
	e := &claimpool.Error{
		Code: claimpool.CodeConnectionFailure, Message: "lost synchronization with server", Cause: err,
	}
	whole := s.relay.Interruptible()
	s.retire(pool.ServerError)
	if c == nil {
		return
	}
	c.server = nil
	if !whole {
		c.leave(e.Message)
		return
	}
	c.fatal(c.reason(e))
}

// Drained is part of loop.Handler: the server has taken what the client sent.
func (s *backend) Drained() {
	if s.client != nil && s.state == serving {
		s.client.conn.Resume()
	}
}

// Hangup is part of loop.Handler: the server has closed while its client does not take its bytes; they are still there.
func (s *backend) Hangup() {}

// Closed is part of loop.Handler.
func (s *backend) Closed(err error) { s.lost(err) }

// lost is the end of a server that PostgreSQL or the network has ended.
func (s *backend) lost(err error) {
	if s.state == gone {
		return
	}
	s.timer.Stop()
	if s.state == handingOver || s.state == asking {
		s.askFailed(err)
		return
	}
	c := s.client
	s.client = nil
	fatal, whole := s.relay.Fatal(), s.relay.Interruptible()
	s.pool.hub.proxy.log.Warn("server connection lost", claimpool.LogPool, s.pool.name(),
		claimpool.LogServer, s.session.PID, claimpool.LogErr, err.Error())
	s.remove(pool.ServerClosed)
	s.pool.doubtHosts()
	if c == nil {
		return
	}
	c.server = nil
	switch {
	case fatal: // PostgreSQL's own last words have reached the client
		c.gone("server ended the connection")
		c.conn.Finish()
	case !whole:
		c.leave("server connection lost in the middle of a message")
	default:
		c.fatal(lostInRequest(err))
	}
}

func lostInRequest(err error) *claimpool.Error {
	return &claimpool.Error{
		Code: claimpool.CodeConnectionFailure, Message: "server closed the connection unexpectedly",
		Hint: "The request may or may not have been carried out: check before you try again.", Cause: err,
	}
}

// cancelRunning asks PostgreSQL to stop what nobody waits for any more, even when the proxy ends.
func (s *backend) cancelRunning() {
	target, p := s.target, s.pool.hub.proxy
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), lastWords)
		defer cancel()
		if err := target.Cancel(ctx); err != nil {
			p.log.Debug("could not cancel", claimpool.LogServer, target.PID, claimpool.LogErr, err.Error())
		}
	})
}
