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

type serverState uint8

const (
	resting serverState = iota
	handingOver
	serving
	finishing
	rollingBack
	cancelling
	gone
)

const (
	handoverTimeout = 5 * time.Second
	rollbackTimeout = time.Second
	cancelTimeout   = 5 * time.Second
	maxAttempts     = 5
)

// backend is the proxy's end of a server connection.
type backend struct {
	w        *world
	server   *server // the other end
	conn     conn
	client   *client
	former   *client // in finishing: who has asked, and is gone
	member   pool.Server
	session  trusted.Session
	relay    relay.Relay
	replies  trusted.Replies
	deadline time.Time // for what the proxy itself asks; zero: none
	asked    time.Time // when it did
	slow     bool      // the hand-over took so long that its seal may be over: then PostgreSQL refuses, and nothing runs
	cancels  int
	doubtful bool
	state    serverState
}

func (s *backend) stale() bool {
	after := s.w.pool.Config().CheckAfter
	return after > 0 && s.member.IdleFor(s.w.now) > after
}

func (s *backend) handOver(c *client, sent []byte) {
	w := s.w
	b, steps := s.session.Handover(nil, w.dialect, c.identity, c.settings, w.now)
	if len(steps) == 0 {
		b, steps = trusted.Check(b, steps)
	}
	s.ahead(c, sent, &b, steps)
	s.ask(handingOver, b, steps, handoverTimeout)
	if c.ahead > 0 {
		s.deadline = time.Time{}
	}
	s.replies.Compare(c.settings)
	if c.kept {
		s.replies.KeepNews()
	}
	if w.broken == trustsTheHandover { // and does not wait for its replies
		s.replies = trusted.Expect(nil)
		s.deadline = time.Time{}
		s.state = serving
		c.received(nil)
	}
	if w.broken == sendsInOneWrite && !s.session.Together() {
		if n, _, err := s.relay.FromClient(sent); err == nil && s.relay.Answering() {
			s.send(sent[:n])
			c.ahead = n
		} else {
			s.relay.Begin(w.sessions(), w.dialect.Gated() && !w.sessions())
		}
	}
}

// ahead lets the client's request follow the hand-over where the gate is on.
func (s *backend) ahead(c *client, sent []byte, b *[]byte, steps trusted.Steps) {
	if s.session.Together() && steps.Fenced() && !s.stale() {
		*b = append(*b, c.goAlong(sent)...)
	}
}

func (s *backend) ask(state serverState, b []byte, steps trusted.Steps, d time.Duration) {
	s.state = state
	s.replies = trusted.Expect(steps)
	s.asked, s.deadline = s.w.now, s.w.now.Add(d)
	s.send(b)
	s.conn.resume()
}

func (s *backend) send(b []byte) { s.server.in = append(s.server.in, b...) }

var errTimeout = errors.New("no reply in time")

func (s *backend) data(b []byte) int {
	switch s.state {
	case serving:
		return s.deliver(b)
	case handingOver, rollingBack:
		return s.take(b)
	case finishing:
		return s.finish(b)
	case resting, cancelling:
		return s.idleTalk(b)
	}
	return len(b)
}

func (s *backend) take(b []byte) int {
	n, err := s.replies.Take(b)
	if news := s.replies.News(); len(news) > 0 && s.client != nil {
		s.client.write(news)
	}
	if err != nil && s.w.broken == keepsAfterAFailure {
		s.replies, n, err = trusted.Expect(nil), len(b), nil
	}
	if err != nil {
		s.askFailed(err)
		return len(b)
	}
	if !s.replies.Done() {
		return n
	}
	s.deadline = time.Time{}
	switch {
	case s.replies.Temporary():
		s.remove(pool.SessionOver)
		return len(b)
	case s.client == nil && s.state == handingOver && s.w.sessions():
		s.cleanUp(nil, nil)
	case s.state == rollingBack || s.client == nil:
		s.release()
	default:
		s.state, s.slow = serving, s.w.now.Sub(s.asked) > time.Second
		s.client.received(s.replies.Settled())
	}
	if n < len(b) {
		s.conn.resume()
	}
	return n
}

func (s *backend) askFailed(err error) {
	c, state := s.client, s.state
	why := pool.HandoverFailed
	if state == rollingBack {
		why = pool.RollbackFailed
	}
	s.client = nil
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
	case along && !errors.As(err, &e):
		c.state = idle
		c.fatal(err)
	case c.kept:
		c.fatal(errors.New("server connection lost"))
	case errors.As(err, &e) && trusted.ClientsFault(&s.replies, e):
		c.state = idle
		c.fatal(e)
	case c.attempts >= maxAttempts:
		c.state = idle
		c.turnAway()
	default:
		c.state = idle
		c.conn.resume()
	}
}

func (s *backend) deliver(b []byte) int {
	c := s.client
	used := 0
	ended := s.relay.Ended()
	for used < len(b) {
		r, err := s.relay.FromServer(b[used:])
		if r.Forward > 0 {
			c.write(b[used : used+r.Forward])
		}
		used += r.Forward + r.Drop
		if err != nil {
			s.brokenProtocol(err)
			return len(b)
		}
		if r.Event == relay.Parameter {
			c.observe(r.Name, r.Value)
		}
		if r.Done {
			break
		}
	}
	if s.relay.Doubtful() {
		s.send(s.relay.Probe(nil))
	}
	if c.held && s.relay.Ready() {
		c.held = false
		c.conn.resume()
	}
	over := s.relay.Over()
	if s.w.broken == isAlwaysSure && !s.relay.Busy() && !s.relay.InTransaction() && s.relay.Whole() && !s.relay.Fatal() {
		over = true
	}
	if s.w.broken == releasesEarly && !over && !s.relay.Busy() && s.relay.Whole() && !s.relay.Fatal() {
		over = true // before the transaction's end
	}
	switch {
	case s.relay.Ended() != ended && !over && c.expired():
		return used
	case over:
		c.transactionOver()
	case s.relay.InTransaction() && !s.relay.Busy() && s.w.pool.Config().Mode == pool.Statement:
		c.fatal(errors.New("transaction blocks are not allowed in statement mode"))
		return used
	}
	if s.client == c && c.leaving && !s.relay.Answering() {
		c.gone()
	}
	return used
}

func (s *backend) idleTalk(b []byte) int {
	n := 0
	for {
		typ, size, ok, err := wire.Header(b[n:])
		if err != nil {
			s.w.fail("a server says nonsense")
		}
		if !ok || len(b)-n < wire.HeaderLen+size {
			return n
		}
		switch typ {
		case wire.MsgNoticeResponse, wire.MsgNotificationResponse:
		case wire.MsgParameterStatus:
			if s.state == resting && !s.member.Fresh() {
				s.session.Soil()
			}
		case wire.MsgErrorResponse:
			s.lost()
			return len(b)
		default:
			s.remove(pool.ServerError)
			return len(b)
		}
		n += wire.HeaderLen + size
	}
}

func (s *backend) brokenProtocol(err error) {
	c := s.client
	s.client = nil
	whole := s.relay.Interruptible()
	s.remove(pool.ServerError)
	if c == nil {
		return
	}
	c.server = nil
	if !whole {
		c.gone()
		return
	}
	c.fatal(err)
}

// lost is the end of a server that PostgreSQL or the network has ended.
func (s *backend) lost() {
	if s.state == gone {
		return
	}
	if s.state == handingOver {
		s.askFailed(errors.New("connection lost"))
		return
	}
	c := s.client
	s.client = nil
	fatal, whole := s.relay.Fatal(), s.relay.Interruptible()
	s.remove(pool.ServerClosed)
	if c == nil {
		return
	}
	c.server = nil
	if fatal || !whole {
		c.gone()
		return
	}
	c.fatal(errors.New("server closed the connection unexpectedly"))
}

func (s *backend) release() {
	if s.cancels > 0 && s.w.broken != ignoresCancels {
		s.state = cancelling
		return
	}
	if s.doubtful && s.w.broken != ignoresDoubt {
		s.remove(pool.CancelUnsure)
		return
	}
	s.w.released(s)
	s.state = resting
	s.conn.resume()
	t, why := s.w.pool.Release(&s.member, pool.Keep, s.w.now)
	if why != pool.Keep {
		s.dismiss()
		s.w.grow()
		return
	}
	if t != nil {
		t.Value.(*client).granted(s)
	}
}

func (s *backend) abandoned(c *client) {
	w := s.w
	switch {
	case s.state == handingOver && s.relay.Busy():
		s.remove(pool.LeftInQuery)
	case s.state == handingOver:
		if w.sessions() {
			s.session.Soil()
		}
	case s.state != serving:
	case w.broken == keepsTheAbandoned:
		s.release()
	case !s.relay.Whole():
		s.remove(pool.LeftInMessage)
	case s.relay.Unsure() && w.broken != isAlwaysSure:
		s.remove(pool.OutOfStep)
	case s.relay.Copying():
		s.remove(pool.LeftInCopy)
	case s.relay.Unsynced():
		s.remove(pool.LeftUnsynced)
	case s.relay.Busy() && c.leaving:
		s.state, s.former = finishing, c
		s.conn.resume()
	case s.relay.Busy():
		s.remove(pool.LeftInQuery)
	case s.relay.InTransaction():
		if w.broken != forgetsARollback {
			s.session.Wiped()
		}
		s.soil()
		b, steps := trusted.Rollback(nil)
		s.cleanUp(b, steps)
	case w.sessions():
		s.soil()
		s.cleanUp(nil, nil)
	default:
		s.release()
	}
}

func (s *backend) cleanUp(b []byte, steps trusted.Steps) {
	if s.w.sessions() {
		s.soil()
		b, steps = trusted.AskTemporary(b, steps)
	}
	s.ask(rollingBack, b, steps, rollbackTimeout)
}

// soil makes the next hand-over begin anew where a client's session is over.
func (s *backend) soil() {
	if s.w.sessions() && s.w.broken != forgetsASession {
		s.session.Soil()
	}
}

func (s *backend) finish(b []byte) int {
	used, ended := 0, s.relay.Ended()
	for used < len(b) {
		r, err := s.relay.FromServer(b[used:])
		used += r.Forward + r.Drop
		if err != nil {
			s.remove(pool.ServerError)
			return len(b)
		}
		if r.Event == relay.Parameter {
			s.session.Soil()
		}
		if r.Done {
			break
		}
	}
	switch {
	case !s.relay.Busy() && s.relay.Whole():
		c := s.former
		s.state, s.former, c.leaving = serving, nil, false
		s.abandoned(c)
	case s.relay.Ended() != ended && s.former.identity.Expired(s.w.now):
		s.remove(pool.LeftInQuery)
		return len(b)
	}
	return used
}

func (s *backend) remove(why pool.Reason) {
	if s.state == gone {
		return
	}
	s.w.pool.Remove(&s.member, why)
	s.dismiss()
	s.w.grow()
}

func (s *backend) dismiss() {
	s.state = gone
	s.deadline = time.Time{}
	s.conn.closed = true
}

// cancelled is what becomes of a cancel request: err when nobody knows.
func (s *backend) cancelled(err error) {
	s.cancels--
	if s.state == gone {
		return
	}
	if err != nil {
		s.doubtful = true
	}
	if s.state == cancelling && s.cancels == 0 {
		s.release()
	}
}
