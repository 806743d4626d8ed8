package proxy

import (
	"bytes"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

var renewal = relay.Known(trusted.Renews)

// ours gives what the proxy answers itself of the client's requests. Where neither the client has come with a token nor the
// database has a context, SET jwt.context is PostgreSQL's business.
func (c *client) ours() *relay.Known {
	if _, none := c.pool.db.Dialect.(trusted.None); none && c.identity.Claims == nil {
		return nil
	}
	return &renewal
}

// takeToken takes a fresh token between two transactions. The verification runs beside the loop, like those of logins and
// within their number, and in turn with them. The request stays in the client's connection until then.
func (c *client) takeToken(b []byte, now time.Time) int {
	if c.identity.Expired(now.Add(-c.limits().TokenGrace)) {
		c.fatal(errExpired)
		return len(b)
	}
	st, whole, err := relay.ReadStatement(b)
	if err == nil && !whole {
		return 0
	}
	var raw []byte
	if err == nil {
		raw, err = trusted.RenewalToken(st.SQL)
	}
	if err != nil {
		c.turnAway(claimpool.AsError(err))
		return c.skip(b)
	}
	c.state = renewing
	c.conn.Pause()
	c.hush()
	h, p, id, fresh := c.pool.hub, c.pool.hub.proxy, c.identity, claimpool.Secret(bytes.Clone(raw))
	req := auth.Request{Database: c.pool.key.database, Unix: c.conn.Peer() == "@"}
	p.wg.Go(func() {
		defer fresh.Clear()
		slot := newSlot(p.ctx, p.places)
		if slot == nil {
			return // the proxy ends, and its clients with it
		}
		defer slot.quit()
		slot.work()
		next, err := p.config.Load().Auth.Renew(id, req, fresh, slot.waiting)
		h.loop.Post(func() { c.tokenTaken(&st, next, err) })
	})
	return 0
}

// tokenTaken is the end of that, in the loop again.
func (c *client) tokenTaken(st *relay.Statement, next *claimpool.Identity, err error) {
	if c.state != renewing { // it has left, or had to
		return
	}
	c.state = c.atRest()
	c.unhush()
	var stays func() // under the identity that it has
	if err == nil {
		stays, err = c.mayBecome(next)
	}
	if unrecorded := c.recordRenewal(next, err); unrecorded != nil {
		err = unrecorded
	}
	if err != nil {
		if stays != nil {
			stays()
		}
		c.turnAway(claimpool.AsError(err))
		return
	}
	c.become(next)
	if c.signOut() { // while it was verified
		return
	}
	h := c.pool.hub
	h.proxy.log.Info("token renewed", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(), claimpool.LogIdentity, next)
	c.conn.Discard(st.Len)
	c.conn.Write(st.Before)
	c.conn.Write(wire.AppendCommandComplete(nil, "SET"))
	c.conn.Write(wire.AppendReadyForQuery(bytes.Clone(st.After), wire.StatusIdle))
	c.active = h.clock()
	switch {
	case !h.draining:
		c.conn.Resume()
	case c.state == keeping:
		c.transactionOver()
	default:
		c.farewell(errStopping)
	}
}

// mayBecome says why a token that is good may not be this client's at the moment. When it may, the client is counted under the new
// identity, until stays is called.
func (c *client) mayBecome(next *claimpool.Identity) (stays func(), err error) {
	if c.pin != nil && c.pool.pool.Config().Mode != pool.Session && next.Key() != c.identity.Key() {
		return nil, errPinnedClaims
	}
	if err := c.staysWith(next); err != nil {
		return nil, err
	}
	return c.sitAs(next)
}

// become gives the client another identity of the same person. The next transaction finds that its server carries another one,
// or other claims, and is handed over. A session keeps its server and what it has left there.
func (c *client) become(next *claimpool.Identity) {
	switch {
	case c.server != nil:
		next = next.Continuing(c.identity)
	case next.Key() != c.identity.Key():
		c.pool.pool.Leave(c.entry)
		c.entry = c.pool.pool.Enter(next.Key(), next.Share(c.pool.db.ShareBy))
	}
	c.identity, c.reminded, c.reminder = next, false, false
	c.ears.judgeAnew()
	c.shareIdentity()
}

// refuseToken deals with a fresh token at the front of b while the client has a server. What comes before it decides whether a
// transaction is open. In one, other SQL goes to the server in its place, which fails as it must, and the transaction with it.
func (c *client) refuseToken(b []byte) int {
	s := c.server
	if s.relay.Answering() {
		c.held = true
		c.conn.Pause()
		return 0
	}
	if s.relay.Over() {
		c.transactionOver()
		c.conn.Resume() // begin sees it
		return 0
	}
	message, n, whole, err := relay.Replace(b, trusted.RefuseRenewal)
	switch {
	case err != nil:
		c.fatal(claimpool.AsError(err))
		return len(b)
	case !whole:
		return 0
	}
	if s.relay.FromClient(message); !s.relay.Named() {
		s.conn.Write(message)
	} else if _, _, err = c.rewrite(message, 0); err != nil || s.relay.Named() { // it would have to wait, and the token with it
		c.fatal(relay.ErrNotOne)
		return len(b)
	}
	c.conn.Resume() // for what stands behind it
	return n
}

var errPinnedClaims = &claimpool.Error{
	Code: claimpool.CodeActiveTransaction, Message: "SET jwt.context cannot change claims while a server connection is kept",
	Hint: "Release what keeps it first (DISCARD ALL), or connect again.",
}
