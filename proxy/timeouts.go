package proxy

import (
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// clockwork is what the sweep knows of the work of a server for its client.
type clockwork struct {
	began    time.Time // the transaction
	asked    time.Time // what the server has an answer to give for
	stopped  time.Time // when the query was cancelled because of its timeout; zero: it was not
	answered uint32    // answers at the last sweep
	ended    uint32    // transactions at the last sweep
}

func (s *backend) startClock(now time.Time) { s.clock = clockwork{began: now, asked: now} }

// checkWork holds the work of a server to query_timeout and transaction_timeout. Both are looked at once a second.
func (c *client) checkWork(l *Limits, now time.Time) {
	s := c.server
	w := &s.clock
	if n := s.relay.Answered(); n != w.answered {
		w.answered, w.asked, w.stopped = n, now, time.Time{}
	}
	if n := s.relay.Ended(); n != w.ended { // another transaction of the same pipeline
		w.ended, w.began = n, now
	}
	switch {
	case l.TransactionTimeout > 0 && now.Sub(w.began) > l.TransactionTimeout:
		c.fatal(errTransactionTimeout)
	case l.QueryTimeout <= 0 || !s.relay.Busy() || now.Sub(w.asked) <= l.QueryTimeout:
	case !w.stopped.IsZero() && now.Sub(w.stopped) > l.cancelTimeout():
		c.fatal(errQueryStuck)
	default: // again while it runs: PostgreSQL forgets a cancel that comes before it has begun
		if w.stopped.IsZero() {
			w.stopped = now
		}
		s.relay.Explain(errQueryTimeout)
		s.sendCancel(make(chan struct{}))
	}
}

// cancelTimeout is how long a cancel request may take, and its effect.
func (l *Limits) cancelTimeout() time.Duration {
	if l.CancelTimeout > 0 {
		return l.CancelTimeout
	}
	return defaultCancelTimeout
}

// finishFor begins to carry out the last requests of a client that has said goodbye. It is bounded, and counted, as if the client were there.
func (s *backend) finishFor(c *client) {
	h := s.pool.hub
	s.state, s.former = finishing, c
	if d := c.limits().QueryTimeout; d > 0 {
		s.timer = h.loop.After(d, func() { s.retireBusy(pool.LeftInQuery) })
	}
	h.finishing = append(h.finishing, s)
	s.conn.Resume()
}

// finished forgets the servers that are done with that, and ends those that take too long.
func (h *hub) finished(l *Limits, now time.Time) {
	for _, s := range h.finishing { // it may grow meanwhile
		if s.state == finishing && s.overdue(l, now) {
			s.retireBusy(pool.LeftInQuery)
		}
	}
	h.finishing = slices.DeleteFunc(h.finishing, func(s *backend) bool { return s.state != finishing })
}

// overdue reports whether the transaction of a client that is gone has taken too long, or outlived the client's token for too long.
func (s *backend) overdue(l *Limits, now time.Time) bool {
	w := &s.clock
	if n := s.relay.Ended(); n != w.ended {
		w.ended, w.began = n, now
	}
	return l.TransactionTimeout > 0 && now.Sub(w.began) > l.TransactionTimeout ||
		l.Overrun > 0 && s.former.identity.Expired(now.Add(-l.Overrun))
}

// checkQueue tells a client that it waits, once for each wait.
func (c *client) checkQueue(now time.Time) {
	if after := c.pool.db.QueueNotice; after > 0 && !c.noticed && c.ticket.WaitedFor(now) >= after {
		c.noticed = true
		c.conn.Write(wire.AppendNotice(nil, &claimpool.Error{
			Code: claimpool.CodeSuccess, Message: "waiting for a server connection",
			Detail: "All server connections of the pool are in use, or none can be reached.",
		}))
	}
}

var errQueryTimeout = &claimpool.Error{
	Code: claimpool.CodeQueryCanceled, Message: "canceling statement due to query timeout",
	Hint: "Raise limits.query_timeout, or make the query shorter.",
}

var errQueryStuck = &claimpool.Error{
	Code: claimpool.CodeQueryCanceled, Message: "terminating connection due to query timeout",
	Detail: "The query was cancelled, and did not end within limits.cancel_timeout.",
	Hint:   "Raise limits.query_timeout, or make the query shorter.",
}

var errTransactionTimeout = &claimpool.Error{
	Code: claimpool.CodeTransactionTimeout, Message: "terminating connection due to transaction timeout",
	Hint: "Raise limits.transaction_timeout, or make transactions shorter.",
}
