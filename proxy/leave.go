package proxy

import (
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// fatal tells the client why it has to go, and closes.
func (c *client) fatal(e *claimpool.Error) {
	if c.state == left {
		return
	}
	c.pool.hub.proxy.log.Warn("connection ended", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
		claimpool.LogSQLState, string(e.Code), claimpool.LogReason, e.Error())
	c.pool.hub.cutOff.add(e.Code)
	if c.server == nil || c.server.relay.Interruptible() { // in the middle of a message nothing can be said
		c.conn.Write(wire.AppendError(nil, "FATAL", e))
	}
	c.gone(e.Message)
	c.conn.Finish()
}

// farewell is fatal without the warning: nothing is wrong.
func (c *client) farewell(e *claimpool.Error) {
	if c.conn != nil && c.conn.Open() && (c.server == nil || c.server.relay.Interruptible()) {
		c.conn.Write(wire.AppendError(nil, "FATAL", e))
	}
	c.gone(e.Message)
	if c.conn != nil {
		c.conn.Finish()
	}
}

// leave closes the connection of a client that goes by itself.
func (c *client) leave(reason string) {
	c.gone(reason)
	c.conn.Close()
}

// gone undoes all that the client holds. The connection is the caller's to close.
func (c *client) gone(reason string) {
	if c.state == left {
		return
	}
	h := c.pool.hub
	if c.ticket != nil {
		c.pool.pool.Cancel(c.ticket)
		h.tickets = append(h.tickets, c.ticket)
		c.ticket = nil
	}
	c.state = left
	c.recordTransaction(false)
	h.proxy.keys.remove(c) // first: who gets the server next may be told the same process id
	s := c.server
	if s != nil {
		c.server, s.client = nil, nil
		s.statements.Leave()
		if c.soils {
			s.session.Soil()
		}
		s.abandoned(c, h.loop.Now())
	}
	c.statements.Release()
	c.forgetChannels()
	h.drop(c)
	c.pool.pool.Leave(c.entry)
	h.proxy.leave(c.pool, c.identity)
	if s == nil || s.former != c { // else the server has them until it is done
		c.unseat()
	}
	h.proxy.count.Add(-1)
	c.recordEnd(reason)
	h.proxy.log.Info("connection closed", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
		claimpool.LogIdentity, c.identity, claimpool.LogReason, reason,
		claimpool.LogHeld, (h.clock() - c.since).Round(time.Millisecond))
}

// checkIdle ends clients that do nothing for too long, or whose token has ended.
func (c *client) checkIdle(l *Limits, now time.Time) {
	c.checkReminder(l, now)
	c.checkPin()
	switch {
	case c.rests() && c.identity.Expired(now.Add(-l.TokenGrace)):
		c.fatal(errExpired)
	case c.rests() && l.IdleTimeout > 0 && c.pool.hub.clock()-c.active > l.IdleTimeout:
		c.fatal(&claimpool.Error{
			Code: claimpool.CodeIdleSessionTimeout, Message: "terminating connection due to idle-session timeout",
			Hint: "Raise limits.idle_timeout.",
		})
	case c.working() && l.Overrun > 0 && c.identity.Expired(now.Add(-l.Overrun)):
		c.expired()
	case c.state == relaying && l.TransactionIdleTimeout > 0 && c.server.idle(now) > l.TransactionIdleTimeout:
		c.fatal(&claimpool.Error{
			Code: claimpool.CodeIdleInTransaction, Message: "terminating connection due to idle-in-transaction timeout",
			Hint: "Raise limits.transaction_idle_timeout, or end transactions sooner.",
		})
	case c.working():
		c.checkWork(l, now)
	case c.state == waiting:
		c.checkQueue(now)
	}
}

// rests reports whether nothing of the client is under way: it may do nothing for as long as it likes, also in front of the Sync of a
// batch that was refused.
func (c *client) rests() bool { return c.state == idle || c.state == keeping || c.state == refused }

// working reports whether a server has got requests of the client, be it behind a hand-over.
func (c *client) working() bool { return c.state == relaying || c.state == receiving && c.ahead > 0 }

// ticket gives an unused ticket for the client.
func (h *hub) ticket(c *client) *pool.Ticket {
	var t *pool.Ticket
	if n := len(h.tickets); n > 0 {
		t = h.tickets[n-1]
		h.tickets = h.tickets[:n-1]
	} else {
		t = new(pool.Ticket)
	}
	t.Value, t.Entry = c, c.entry
	return t
}
