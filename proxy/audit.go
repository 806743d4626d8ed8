package proxy

import (
	"errors"
	"time"

	"github.com/claimpool/claimpool"
)

// record puts an event into the audit stream, if there is one. What cannot be undone is not asked about: the stream counts what it
// loses.
func (p *Proxy) record(e *claimpool.Event) error {
	if p.audit == nil {
		return nil
	}
	return p.audit.Record(e)
}

// event is what is known of a visitor.
func (v *visitor) event(kind claimpool.EventKind) *claimpool.Event {
	return &claimpool.Event{
		Kind: kind, Client: v.number, Addr: v.addr(), Database: v.request.Database, User: v.request.User, Identity: v.identity,
	}
}

func (v *visitor) addr() string {
	if v.origin.IsValid() {
		return v.origin.String()
	}
	return v.raw.RemoteAddr().String()
}

// recordLogin refuses a login that cannot be recorded, where the stream is to be complete.
func (v *visitor) recordLogin() error {
	if err := v.proxy.record(v.event(claimpool.EventLogin)); err != nil {
		return &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "cannot record the login at the moment", Hint: "Try again later.", Cause: err,
		}
	}
	return nil
}

func (v *visitor) recordRefusal(err *claimpool.Error) {
	v.proxy.counts.refused(v.method, err.Code)
	if v.proxy.audit == nil {
		return
	}
	e := v.event(claimpool.EventRefusal)
	e.Code, e.Reason = err.Code, err.Error()
	v.proxy.record(e)
}

// recordEnd is for replication connections.
func (v *visitor) recordEnd(reason string, held time.Duration) {
	e := v.event(claimpool.EventEnd)
	e.Reason, e.Held = reason, held
	v.proxy.record(e)
}

// recordEnd is for the clients of pools.
func (c *client) recordEnd(reason string) {
	h := c.pool.hub
	if h.proxy.audit == nil {
		return
	}
	h.proxy.record(&claimpool.Event{
		Kind: claimpool.EventEnd, Client: c.number, Addr: c.trail.addr, Database: c.pool.key.database, Identity: c.identity, Reason: reason, Held: h.clock() - c.since,
	})
}

// recordRenewal is for a fresh token, good or not. One that cannot be recorded is not taken, where the stream is to be complete.
func (c *client) recordRenewal(next *claimpool.Identity, failed error) error {
	h := c.pool.hub
	if h.proxy.audit == nil {
		return nil
	}
	e := &claimpool.Event{Kind: claimpool.EventRenewal, Client: c.number, Addr: c.trail.addr, Database: c.pool.key.database, Identity: next}
	if failed != nil {
		bad := claimpool.AsError(failed)
		e.Identity, e.Code, e.Reason = c.identity, bad.Code, bad.Error()
	}
	if err := h.proxy.record(e); err != nil {
		return &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "cannot record the fresh token at the moment", Hint: "Try again later.",
			Cause: errors.Join(err, failed),
		}
	}
	return nil
}

// recordHandover is for one in every so many hand-overs, as the options say.
func (c *client) recordHandover() {
	h := c.pool.hub
	if h.proxy.audit == nil || h.proxy.handovers == 0 {
		return
	}
	if h.handovers++; h.handovers%h.proxy.handovers != 0 {
		return
	}
	h.proxy.record(&claimpool.Event{
		Kind: claimpool.EventHandover, Client: c.number, Addr: c.trail.addr, Database: c.pool.key.database, Identity: c.identity, Server: c.server.session.PID,
	})
}
