package proxy

import (
	"slices"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/wire"
)

// maxFront is how much of a request is looked at for a command of the proxy's own.
const maxFront = 256

var errListenAlone = &claimpool.Error{
	Code: claimpool.CodeFeatureNotSupported, Message: "LISTEN must be a request by itself",
	Hint: "Send it as a simple query, or one batch without names and arguments, with a channel of at most 63 ASCII characters.",
}

// own are the commands that the client need not have a server for.
func (c *client) own() (u feature.Uses) {
	if c.pool.features.shared {
		u = feature.Listen | feature.Unlisten
	}
	if c.statements.Len() > 0 {
		u |= feature.Deallocate
	}
	return u
}

// reads reads the request at the front of b. ok is false when it is PostgreSQL's to answer; whole, when all of it has come.
func (c *client) reads(b []byte) (st relay.Statement, list []feature.Command, whole, ok bool) {
	st, whole, err := relay.ReadStatement(b)
	if err != nil || !whole {
		return st, nil, false, err == nil
	}
	list, ok = feature.Commands(st.SQL)
	if !ok || len(st.Before) > 0 && len(list) > 1 {
		return st, nil, true, false
	}
	for _, cmd := range list {
		if cmd.Use == feature.Deallocate && !c.statements.Has(cmd.Name) || cmd.Use != feature.Deallocate && !c.pool.features.shared {
			return st, nil, true, false
		}
	}
	return st, list, true, true
}

// command answers a request that needs no server, between two transactions. done is false when it is PostgreSQL's to answer.
func (c *client) command(b []byte) (n int, done bool) {
	uses := feature.First(relay.Text(b, maxFront)) & c.own()
	if uses == 0 {
		return 0, false
	}
	st, list, whole, ok := c.reads(b)
	switch {
	case ok && !whole:
		return 0, true
	case ok:
		return c.carryOut(&st, list), true
	case uses&feature.Listen != 0:
		c.turnAway(errListenAlone)
		return c.skip(b), true
	}
	return 0, false
}

// carryOut does what a request asks for, and answers. It returns how much has been used: nothing where the listener has to listen first.
func (c *client) carryOut(st *relay.Statement, list []feature.Command) int {
	for _, cmd := range list {
		if cmd.Use != feature.Listen {
			c.drop(cmd)
			continue
		}
		known, err := c.listen(cmd.Name)
		if err != nil {
			c.turnAway(claimpool.AsError(err))
			return 0
		}
		if !known {
			return 0 // the request is shown again
		}
	}
	c.reply(st, list, wire.StatusIdle)
	c.active = c.pool.hub.clock()
	if c.pool.hub.draining {
		c.farewell(errStopping)
	}
	return st.Len
}

// drop carries out DEALLOCATE or UNLISTEN.
func (c *client) drop(cmd feature.Command) {
	if cmd.Use == feature.Deallocate {
		c.statements.Deallocate(cmd.Name)
	} else {
		c.unlisten(cmd.Name)
	}
}

// reply answers a request as PostgreSQL would.
func (c *client) reply(st *relay.Statement, list []feature.Command, status byte) {
	c.statements.DropUnnamed()
	b := append([]byte(nil), st.Before...)
	for _, cmd := range list {
		b = wire.AppendCommandComplete(b, cmd.Tag())
	}
	c.conn.Write(wire.AppendReadyForQuery(append(b, st.After...), status))
	c.conn.Resume()
}

// within deals with such a command where a transaction may be open. done is false when it goes on to the server.
func (c *client) within(b []byte) (n int, done bool) {
	s := c.server
	st, list, whole, ok := c.reads(b)
	open := s.relay.InTransaction() && !s.relay.Failed() && !s.relay.Busy()
	switch {
	case ok && open && !whole:
		return 0, true
	case ok && open && allListen(list):
		return c.listenWithin(b, list)
	case s.relay.Asked()&feature.Listen != 0 && c.pool.features.shared:
		return c.refuse(b, errListenAlone), true
	case !ok || !open || slices.ContainsFunc(list, func(cmd feature.Command) bool { return cmd.Use == feature.Listen }):
		return 0, false
	}
	if c.conn.Blocked() { // as in begin: it gets no more answers than it takes
		c.held = true
		c.conn.Pause()
		return 0, true
	}
	for _, cmd := range list {
		c.drop(cmd)
	}
	s.relay.LoseUnnamed()
	c.reply(&st, list, wire.StatusInTransaction)
	return st.Len, true
}

func allListen(list []feature.Command) bool {
	return !slices.ContainsFunc(list, func(cmd feature.Command) bool { return cmd.Use != feature.Listen })
}

// listenWithin deals with LISTEN in a transaction, which counts when that commits: PostgreSQL carries it out on the client's server, and
// is asked behind the transaction whether it has come about. The listener hears the channel from now on, for the client to be told then.
func (c *client) listenWithin(b []byte, list []feature.Command) (n int, done bool) {
	e := c.listens()
	if err := e.failed; err != nil {
		e.failed = nil
		return c.refuse(b, err), true
	}
	for _, cmd := range list {
		known, err := c.hear(cmd.Name)
		if err != nil {
			return c.refuse(b, claimpool.AsError(err)), true
		}
		e.pending[cmd.Name] = struct{}{}
		if !known {
			e.waits = true
			c.conn.Pause()
			return 0, true
		}
	}
	return c.pass(), true
}
