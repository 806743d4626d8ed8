package proxy

import (
	"time"

	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// greeting is what a client of a session has still to hear before it may ask for anything.
type greeting uint8

const (
	greeted      greeting = iota
	introduction          // parameters and its key: it waits for its server
	readiness             // ReadyForQuery: its server is being handed over
)

// sessions reports whether a client of the database gets its server at login: then the process id that it is told is the true one
// of its server, which pg_terminate_backend, pg_stat_activity, pg_locks and notifications know it by.
func (p *Proxy) sessions(database string) bool {
	db := p.config.Load().database(database)
	return db != nil && db.Pool.Mode == pool.Session
}

// enter is step 8 before step 6 is complete: AuthenticationOk has been sent, and the rest follows when there is a server.
func (c *client) enter(now time.Time) {
	c.conn.Pause()
	if c.pool.removed {
		c.fatal(errRemoved)
		return
	}
	c.acquire(nil, now)
	c.greet()
}

// introduce tells the client who serves it.
func (c *client) introduce() {
	if c.greeting != introduction {
		return
	}
	c.greeting = readiness
	keys := &c.pool.hub.proxy.keys
	keys.addAs(c, c.server.target.PID)
	var b []byte
	for _, kv := range c.server.params {
		b = wire.AppendParameterStatus(b, kv[0], kv[1])
	}
	if c.server.params == nil {
		for _, kv := range c.pool.known() {
			b = wire.AppendParameterStatus(b, kv[0], ownValue(kv[0], kv[1], c.settings.List()))
		}
	}
	id, secret := keys.key(c)
	c.conn.Write(wire.AppendBackendKeyData(b, id, secret))
}

// greet ends the login of a client whose server is ready for it.
func (c *client) greet() {
	if c.greeting == greeted || c.state != relaying {
		return
	}
	c.introduce()
	c.greeting = greeted
	c.conn.Write(wire.AppendReadyForQuery(nil, wire.StatusIdle))
	c.transactionOver()
	c.conn.Resume()
}
