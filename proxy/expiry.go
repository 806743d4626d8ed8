package proxy

import (
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

var errExpired = &claimpool.Error{
	Code: claimpool.CodeInvalidAuthorization, Message: "token has expired", Hint: "Connect again with a new token.",
}

var errExpiredForNow = &claimpool.Error{
	Code: claimpool.CodeInvalidAuthorization, Message: "token has expired",
	Hint: "Hand in a fresh token with SET jwt.context, or connect again with one.",
}

// expired ends a client whose token has ended while its requests are on their way already, and reports whether it did. What it has asked
// for before a goodbye ends with it.
func (c *client) expired() bool {
	if !c.identity.Expired(c.conn.Loop().Now()) {
		return false
	}
	c.leaving = false
	c.fatal(errExpired)
	return true
}

// reason is why a client loses its server connection in the middle of a request. Behind the end of its token the extension
// refuses, fatally, the context that is installed again between two requests of a pipeline: then that is the reason.
func (c *client) reason(e *claimpool.Error) *claimpool.Error {
	if c.identity.Expired(c.conn.Loop().Now()) {
		return errExpired
	}
	return e
}

// tooLate answers a client that wants to begin a transaction behind the end of its token: there is none. Within the grace
// the connection stays.
func (c *client) tooLate(b []byte, now time.Time) int {
	if c.identity.Expired(now.Add(-c.limits().TokenGrace)) {
		c.fatal(errExpired)
		return len(b)
	}
	c.turnAway(errExpiredForNow)
	return c.skip(b)
}

func (c *client) limits() *Limits { return &c.pool.hub.proxy.config.Load().Limits }

// atRest is the state between two transactions.
func (c *client) atRest() clientState {
	if c.server != nil {
		return keeping
	}
	return idle
}

// hush keeps the server of a session from saying half of something while the proxy itself answers; unhush ends that.
func (c *client) hush() {
	if c.server != nil {
		c.server.conn.Pause()
	}
}

func (c *client) unhush() {
	if c.server != nil {
		c.server.conn.Resume()
	}
}

// checkReminder tells a client, once for each token, that it ends soon. PostgreSQL's clients take a notice at any time
// (protocol-flow, Asynchronous Operations), but nothing is put between the answers to a request.
func (c *client) checkReminder(l *Limits, now time.Time) {
	end := c.identity.Expires
	if l.TokenWarning == 0 || c.reminded || end.IsZero() || now.Before(end.Add(-l.TokenWarning)) || !now.Before(end) {
		return
	}
	c.reminded = true
	switch {
	case c.state == idle, c.state == keeping && c.server.relay.Interruptible(),
		c.state == relaying && !c.server.relay.Busy() && c.server.relay.Interruptible():
		c.remind()
	default:
		c.reminder = true
	}
}

// remind sends the notice.
func (c *client) remind() {
	c.reminder = false
	left := max(0, c.identity.Expires.Sub(c.conn.Loop().Now()))
	c.conn.Write(wire.AppendWarning(nil, &claimpool.Error{
		Code: claimpool.CodeWarning, Message: fmt.Sprintf("token expires in %d seconds", left/time.Second),
		Hint: "Hand in a fresh token with SET jwt.context, or connect again with one.",
	}))
}
