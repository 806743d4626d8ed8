package proxy

import (
	"math/rand/v2"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/relay"
)

// trail is what the audit stream needs of a client in a pool; nil where there is no stream.
type trail struct {
	addr   string
	sample *sample // nil unless the transaction under way was chosen to be recorded
}

// sample is a transaction that was chosen, or a pipeline of them.
type sample struct {
	tally relay.Tally
	began time.Duration // when it got a server, as hub.clock tells
}

// trail is nil where nothing is recorded.
func (v *visitor) trail() *trail {
	if v.proxy.audit == nil {
		return nil
	}
	return &trail{addr: v.addr()}
}

// chance is how many transactions pass by until one of n is chosen: by chance, so that nobody can tell which one it will be.
func chance(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return rand.Uint64N(2*n - 1)
}

// choose decides, at the beginning of a lease, whether it is recorded. A hand-over that has failed is another lease of the same transaction.
func (c *client) choose() {
	h := c.pool.hub
	switch {
	case h.proxy.transactions == 0:
		return
	case c.trail.sample != nil && c.attempts > 0:
	case h.unchosen > 0:
		h.unchosen--
		c.trail.sample = nil
		return
	default:
		h.unchosen = chance(h.proxy.transactions)
		c.trail.sample = new(sample)
	}
	c.trail.sample.began = h.clock()
}

// sampled gives the tally of the transaction under way; nil when it was not chosen.
func (c *client) sampled() *relay.Tally {
	if c.trail == nil || c.trail.sample == nil {
		return nil
	}
	return &c.trail.sample.tally
}

// recordTransaction is for the end of a transaction, chosen or not: known, or cut off.
func (c *client) recordTransaction(known bool) {
	if t := c.sampled(); t != nil {
		c.recordSample(t, known)
	}
}

func (c *client) recordSample(t *relay.Tally, known bool) {
	h := c.pool.hub
	began := c.trail.sample.began
	c.trail.sample = nil
	if known && t.Transactions == 0 { // nothing has run: a statement was prepared, or described
		return
	}
	e := &claimpool.Event{
		Kind: claimpool.EventTransaction, Client: c.number, Addr: c.trail.addr, Database: c.pool.key.database, Identity: c.identity,
		Pool: c.pool.name(), Held: max(h.clock()-began, time.Microsecond), Outcome: t.Outcome, Code: t.Code, Transactions: t.Transactions, Rows: t.Rows,
	}
	if c.server != nil {
		e.Server = c.server.session.PID
	}
	if !known {
		e.Outcome, e.Code = claimpool.OutcomeUnknown, ""
	}
	h.proxy.record(e)
}
