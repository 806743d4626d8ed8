package proxy

import (
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
)

// hosts is what a pool knows of the servers of its database (see server.Group).
type hosts struct {
	version uint64           // of the group, at the last look
	told    string           // what the log says of them
	since   time.Time        // since when no server can be reached; zero: one can
	last    *claimpool.Error // why
}

// lookAfterHosts is part of the sweep: it has the servers looked at when it is time, and closes the connections to those that are not
// to be used any more, each when it is free.
func (sp *sharedPool) lookAfterHosts(now time.Time) {
	g, cfg, p := sp.server.Group, sp.server, sp.hub.proxy
	if g == nil || sp.removed || sp.hub.ended {
		return
	}
	if !sp.pool.Paused() && g.Due(now) {
		p.wg.Go(func() {
			if err := g.Check(p.ctx, cfg); err != nil && p.ctx.Err() == nil {
				p.log.Warn("could not look at the database servers", claimpool.LogPool, sp.name(), claimpool.LogErr, err.Error())
			}
		})
	}
	version := g.Version()
	if version == sp.hosts.version {
		return
	}
	sp.hosts.version = version
	if list := g.String(); list != sp.hosts.told {
		sp.hosts.told = list
		p.log.Info("database servers", claimpool.LogPool, sp.name(), claimpool.LogReason, list)
	}
	elsewhere := func(m *pool.Server) bool { return !g.Keeps(m.Value.(*backend).address) }
	for _, m := range sp.pool.CondemnIf(pool.HostChanged, elsewhere) {
		m.Value.(*backend).closeFor(pool.HostChanged)
	}
	if l := sp.listener; l != nil && l.conn != nil && !g.Keeps(l.address) {
		l.lost(errHostChanged)
	}
}

// doubtHosts has the servers looked at soon.
func (sp *sharedPool) doubtHosts() {
	if g := sp.server.Group; g != nil {
		g.Doubt()
	}
}

// promoted notes that a server has told us that it is no standby any more.
func (s *backend) promoted(value string) {
	if g := s.pool.server.Group; g != nil {
		g.Promoted(s.address, value == "on")
	}
}

// patient reports whether clients that wait are to go on waiting although no server can be reached: for as long as a fail-over may
// take. A refusal for good is not waited for.
func (sp *sharedPool) patient(e *claimpool.Error, now time.Time) bool {
	if sp.hosts.since.IsZero() {
		sp.hosts.since = now
	}
	sp.hosts.last = e
	passing := e.Code == claimpool.CodeCannotConnectNow || e.Code == claimpool.CodeConnectionFailure || e.Code == claimpool.CodeAdminShutdown
	return passing && now.Sub(sp.hosts.since) < sp.db.FailoverWait
}

// waited is what a client is told that has waited in vain.
func (sp *sharedPool) waited() *claimpool.Error {
	if !sp.hosts.since.IsZero() {
		return sp.hosts.last
	}
	return errWaited
}
