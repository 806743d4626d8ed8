package proxy

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
)

// chosen is what a pool does about features that outlive a transaction (docs/adr/0011-what-outlives-a-transaction.md). In session
// mode it does nothing.
type chosen struct {
	watch  feature.Uses // requests stop in front of these
	pin    feature.Uses
	refuse feature.Uses
	left   feature.Uses // a client that leaves behind one of these leaves a server that must be reset
	shared bool         // LISTEN is the listener's
	follow bool         // SET goes with the client
}

func (db *Database) chosen() chosen {
	if db.Pool.Mode == pool.Session {
		return chosen{}
	}
	c := &db.Features
	f := chosen{
		pin: c.With(feature.Pin), refuse: c.With(feature.Refuse), shared: c.Listen == feature.Shared, follow: c.Set == feature.Follow,
	}
	f.left = f.pin | f.refuse
	if f.follow {
		f.left |= feature.Set
	}
	if f.shared {
		f.left |= feature.Listen
	}
	f.watch = f.pin | f.refuse | feature.Deallocate
	if db.SendChannels != nil {
		f.watch |= feature.Notify
	}
	if f.follow {
		f.watch |= feature.Set
	}
	if f.shared {
		f.watch |= feature.Listen | feature.Unlisten
	}
	return f
}

// refusals are the answers to what a pool refuses.
var refusals = map[feature.Uses]*claimpool.Error{
	feature.Listen: {
		Code: claimpool.CodeFeatureNotSupported, Message: "LISTEN is refused on shared server connections",
		Hint: "Set pool.features.listen to shared or pin, or use session mode.",
	},
	feature.Lock: {
		Code: claimpool.CodeFeatureNotSupported, Message: "advisory locks of a session are refused on shared server connections",
		Hint: "Use pg_advisory_xact_lock(), set pool.features.advisory_locks to pin, or use session mode.",
	},
	feature.Temporary: {
		Code: claimpool.CodeFeatureNotSupported, Message: "temporary tables are refused on shared server connections",
		Hint: "Make them ON COMMIT DROP, set pool.features.temporary_tables to pin, or use session mode.",
	},
	feature.Hold: {
		Code: claimpool.CodeFeatureNotSupported, Message: "cursors WITH HOLD are refused on shared server connections",
		Hint: "Use the cursor within its transaction, set pool.features.with_hold to pin, or use session mode.",
	},
	feature.Set: {
		Code: claimpool.CodeFeatureNotSupported, Message: "SET is refused on shared server connections",
		Hint: "Use SET LOCAL, set pool.features.set to follow or pin, or use session mode.",
	},
	feature.Prepare: {
		Code: claimpool.CodeFeatureNotSupported, Message: "PREPARE outside of a transaction is refused on shared server connections",
		Hint: "Prepare with the extended protocol, set pool.features.prepare to pin, or use session mode.",
	},
}

var errTooManyPins = &claimpool.Error{
	Code: claimpool.CodeTooManyConnections, Message: "too many clients keep a server connection",
	Detail: "What the statement leaves behind needs a server connection of its own, and pool.pin_size clients have one already.",
	Hint:   "Raise pool.pin_size, or release what is not in use: pg_advisory_unlock_all(), UNLISTEN, DROP TABLE, CLOSE, DEALLOCATE or DISCARD ALL.",
}

// decide says what becomes of the Query or Parse at the front of b, in front of which the relay has stopped. It returns how much of b
// has been used.
func (c *client) decide(b []byte) int {
	s := c.server
	asked, f := s.relay.Asked(), &c.pool.features
	if asked == 0 { // the rest of it has not come
		return 0
	}
	if s.relay.Answering() { // what comes before it decides whether a transaction is open
		c.held = true
		c.conn.Pause()
		return 0
	}
	if asked&c.own() != 0 {
		if _, _, _, ok := c.reads(b); ok && s.relay.Over() {
			c.transactionOver()
			c.conn.Resume() // begin sees it
			return 0
		}
		if n, done := c.within(b); done {
			return n
		}
	}
	if asked&feature.Prepare != 0 && s.relay.InTransaction() {
		asked &^= feature.Prepare & f.refuse // it may be executed there; the server is reset behind it
	}
	if asked&feature.Set != 0 {
		name := feature.SettingName(relay.Text(b, maxFront))
		if f.follow {
			c.remember(name)
		}
		if c.pool.reported(name) != "" {
			asked &^= feature.Set // it follows the client, whatever was chosen
		}
	}
	for use, e := range refusals {
		if asked&f.refuse&use != 0 {
			return c.refuse(b, e)
		}
	}
	if asked&f.pin&feature.Listen != 0 && !c.mayListen(relay.Text(b, maxFront)) {
		return c.refuse(b, errChannel)
	}
	if asked&feature.Notify != 0 && !c.maySend(relay.Text(b, maxSent)) {
		return c.refuse(b, errSend)
	}
	if asked&f.pin != 0 && c.pin == nil && !c.pool.pool.CanPin() {
		return c.refuse(b, errTooManyPins)
	}
	return c.pass()
}

// pass lets the message go on in front of which the relay has stopped.
func (c *client) pass() int {
	c.server.relay.Pass()
	c.conn.Resume()
	return 0
}

// refuse makes PostgreSQL fail in place of the message at the front of b: what the error means for a transaction and for what comes
// behind it is PostgreSQL's business.
func (c *client) refuse(b []byte, e *claimpool.Error) int {
	h, s := c.pool.hub, c.server
	if s.conn.Blocked() {
		c.conn.Pause()
		return 0
	}
	out, n, err := s.relay.Refuse(h.rewritten[:0], b, trusted.Refusal(e), e)
	if err != nil {
		c.fatal(claimpool.AsError(err))
		return len(b)
	}
	h.rewritten = out
	h.proxy.log.Warn("request refused", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
		claimpool.LogSQLState, string(e.Code), claimpool.LogReason, e.Error())
	s.conn.Write(out)
	c.unwanted = n
	c.conn.Resume()
	return c.throw(b)
}

// throw takes what nobody wants of a refused message.
func (c *client) throw(b []byte) int {
	n := min(c.unwanted, len(b))
	c.unwanted -= n
	return n
}
