package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// In session mode a client's own settings stand in the startup packet of its server connection, so that RESET, DISCARD ALL and SET …
// TO DEFAULT go back to them, as they do without a proxy. Such a connection serves nobody but clients that have asked for exactly the
// same; for all others it is closed, and another one is opened in its place.

// wanted gives the settings that the client's server must have been opened with in session mode; nil: none.
func (c *client) wanted() *trusted.Settings {
	if list := c.brought.Startup(c.pool.db.Dialect); len(list) > 0 {
		return c.pool.hub.intern.Of(list)
	}
	return nil
}

// poolKey is what the pool knows the client by: its identity, and in session mode what its server must have been opened with, too.
func (c *client) poolKey() claimpool.Key {
	key := c.identity.Key()
	if c.pool.pool.Config().Mode != pool.Session {
		return key
	}
	want := c.wanted()
	if want == nil {
		return key
	}
	b := append([]byte("settings\x00"), key[:]...)
	for _, kv := range want.List() {
		b = append(append(b, kv[0]...), 0)
		b = append(append(b, kv[1]...), 0)
	}
	return sha256.Sum256(b)
}

// likely gives the settings of the client that will probably get the next server; nil: none, or nobody waits.
func (sp *sharedPool) likely() *trusted.Settings {
	t := sp.pool.Head()
	if t == nil || sp.pool.Config().Mode != pool.Session {
		return nil
	}
	return t.Value.(*client).wanted()
}

// reachFor opens a server connection with a client's settings; set may be nil. It blocks, beside the loop.
func (sp *sharedPool) reachFor(set *trusted.Settings, cfg *server.Config, db *Database, role string) (*opened, error) {
	if set == nil {
		return sp.reach(cfg, db, role)
	}
	s, err := sp.reachAsked(set, cfg, db)
	if claimpool.AsError(err).Code == claimpool.CodeUndefinedObject { // of another version than we think, or a setting that does not exist
		if old, wayErr := db.way(role, trusted.Oldest); wayErr == nil {
			return sp.reachAsked(set, old, db)
		}
	}
	return s, err
}

// reachLikely is reachFor without the settings where it fails with them: whoever has asked for them is told when it gets the server, and
// the pool is not kept waiting.
func (sp *sharedPool) reachLikely(set *trusted.Settings, cfg *server.Config, db *Database, role string) (*opened, error) {
	s, err := sp.reachFor(set, cfg, db, role)
	var op *net.OpError
	if err == nil || set == nil || errors.As(err, &op) && op.Op == "dial" {
		return s, err
	}
	return sp.reach(cfg, db, role)
}

func (sp *sharedPool) reachAsked(set *trusted.Settings, cfg *server.Config, db *Database) (*opened, error) {
	own := *cfg
	own.Asked = set.List()
	o, err := sp.lent.open(&own, func(cfg *server.Config) (*opened, error) { return openServer(sp.hub.proxy.ctx, cfg, db.Dialect) })
	if o != nil {
		o.session.Bear(set)
	}
	return o, err
}

// reopen replaces the connection of a server that has just been leased by one that is opened with the client's settings. The lease
// stays: nobody is passed over, and there is never one connection more than the pool may have.
func (s *backend) reopen(c *client) {
	sp, h := s.pool, s.pool.hub
	c.state, s.state = receiving, reopening
	c.conn.Pause()
	s.conn.Write(wire.AppendTerminate(nil))
	s.conn.Close()
	want, cfg, db, role := c.wanted(), sp.server, sp.db, sp.key.role
	h.proxy.wg.Go(func() {
		o, err := sp.reachInPlace(want, cfg, db, role)
		if !h.loop.Post(func() { s.reopened(o, err) }) && o != nil {
			o.discard()
		}
	})
}

// How often, and for how long, a server is asked again that has no place for the new connection yet: the process of the old one needs
// a moment to end.
const (
	inPlaceTries = 40
	inPlacePause = 25 * time.Millisecond
)

func (sp *sharedPool) reachInPlace(set *trusted.Settings, cfg *server.Config, db *Database, role string) (o *opened, err error) {
	for range inPlaceTries {
		o, err = sp.reachFor(set, cfg, db, role)
		if claimpool.AsError(err).Code != claimpool.CodeTooManyConnections {
			break
		}
		select {
		case <-time.After(inPlacePause):
		case <-sp.hub.proxy.ctx.Done():
			return nil, context.Cause(sp.hub.proxy.ctx)
		}
	}
	return o, err
}

// reopened goes on where reopen has begun.
func (s *backend) reopened(o *opened, err error) {
	c, now := s.client, s.pool.hub.loop.Now()
	if err != nil {
		s.pool.counts.OpenFailed++
	}
	if s.state == gone || c == nil { // the client has left
		if o != nil {
			o.discard()
		}
		s.remove(pool.SessionOver)
		return
	}
	if err == nil {
		err = s.plugIn(o)
	}
	if err != nil {
		s.notReopened(c, err, now)
		return
	}
	s.pool.pool.Reopened(&s.member, pool.OtherSettings, rand.Float64(), now)
	s.pool.hub.proxy.log.Debug("server connection opened", claimpool.LogPool, s.pool.name(), claimpool.LogServer, s.session.PID)
	s.state = resting
	s.client, c.server = nil, nil // got may give the server to somebody else
	c.got(s, now)
}

// notReopened tells the client why: its settings may be at fault in more ways than PostgreSQL says (a statement_timeout that nothing
// can be asked under). Only where no server was to be had it gets in line anew, as behind a hand-over that has failed.
func (s *backend) notReopened(c *client, err error, now time.Time) {
	e := claimpool.AsError(err)
	s.pool.hub.proxy.log.Warn("could not open a server connection", claimpool.LogPool, s.pool.name(), claimpool.LogClient, c.number,
		claimpool.LogSQLState, string(e.Code), claimpool.LogErr, e.Error())
	s.client, c.server = nil, nil
	s.remove(pool.ServerClosed)
	c.attempts++
	c.state = idle
	switch {
	case c.attempts >= maxAttempts || e.Message == notReady || e.Code != claimpool.CodeCannotConnectNow && e.Code != claimpool.CodeTooManyConnections:
		c.fatal(e)
	case c.greeting != greeted:
		s.pool.doubtHosts()
		c.enter(now)
	default:
		s.pool.doubtHosts()
		c.conn.Resume()
	}
}
