package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
)

// sharedPool is the pool of one database and role with all that acts on its decisions. Its fields belong to the hub's
// goroutine, but for those that say otherwise.
type sharedPool struct {
	hub    *hub
	key    poolKey
	db     *Database
	pool   *pool.Pool
	server *server.Config
	users  int // clients that hold this object; guarded by Proxy.mu

	lent     lent // tokens for servers
	version  int  // the server's, as server_version_num; 0: not known yet
	features chosen
	listener *listener              // nil unless somebody listens
	library  prepared.Library       // of its clients' statements
	params   atomic.Pointer[report] // nil: not known yet; any goroutine reads it
	asking   []chan<- reported      // logins that wait for params
	alarm    *loop.Timer            // for the queue
	alarmAt  time.Time
	removed  bool // the database is no longer configured
	hosts    hosts
	counts   PoolCounts
}

// report is what servers report at their login. It does not change.
type report struct {
	by     *Database // as it was configured then
	params [][2]string
}

type reported struct {
	params [][2]string
	err    error
}

// enter finds or makes the pool for an identity and holds it. It looks at the configuration once more: a reload during the
// login must not leave a pool behind that it did not see.
func (p *Proxy) enter(name, target string, id *claimpool.Identity) (*sharedPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	db := p.config.Load().database(name)
	if db == nil { // known only to those who may log in: names of databases are not for strangers
		return nil, &claimpool.Error{
			Code: claimpool.CodeInvalidCatalogName, Message: fmt.Sprintf("database %q does not exist", name),
			Hint: "Ask for one of the databases in the configuration file.",
		}
	}
	choice := db.at(target)
	if choice == nil {
		return nil, db.noTarget(target)
	}
	db = choice
	role := db.Role
	if role == "" {
		role = id.Role
	}
	key := poolKey{name, target, role}
	if sp := p.pools[key]; sp != nil {
		sp.users++
		sp.lent.take(id)
		return sp, nil
	}
	version := int(atomic.LoadInt32(&db.version))
	way, err := db.way(role, version)
	if err != nil {
		return nil, err
	}
	h := p.hubs[p.nextHub%len(p.hubs)]
	p.nextHub++
	sp := &sharedPool{hub: h, key: key, db: db, pool: pool.New(db.Pool), server: way, version: version, users: 1, features: db.chosen()}
	sp.library.Random = randomName
	sp.lent.take(id)
	sp.pool.Pause(p.paused[name] != nil)
	p.pools[key] = sp
	if !h.loop.Post(func() { h.pools[key] = sp }) {
		return nil, errStopping
	}
	return sp, nil
}

// leave lets a pool go. An unused one stays until its servers have had their idle time (see sweep).
func (p *Proxy) leave(sp *sharedPool, id *claimpool.Identity) {
	sp.lent.drop(id)
	p.mu.Lock()
	sp.users--
	p.mu.Unlock()
}

// parameters gives what a client is told at its login, after a first server has been reached. It blocks. What servers of another
// configuration have reported is nothing to go by: the loop may not have heard of the reload yet.
func (sp *sharedPool) parameters(ctx context.Context) ([][2]string, error) {
	if r := sp.params.Load(); r != nil && r.by.same(sp.hub.proxy.config.Load().database(sp.key.database).at(sp.key.target)) {
		return r.params, nil
	}
	answer := make(chan reported, 1)
	if !sp.hub.loop.Post(func() { sp.ask(answer) }) {
		return nil, errStopping
	}
	select {
	case r := <-answer:
		return r.params, r.err
	case <-ctx.Done():
		if sp.hub.proxy.IsPaused(sp.key.database) {
			return nil, errPaused(ctx)
		}
		return nil, errNoAnswer(ctx)
	}
}

// known is what servers report at their login; nil when none has been reached yet.
func (sp *sharedPool) known() [][2]string {
	if r := sp.params.Load(); r != nil {
		return r.params
	}
	return nil
}

func errNoAnswer(ctx context.Context) error {
	return &claimpool.Error{Code: claimpool.CodeCannotConnectNow, Message: "no database server answered in time", Cause: ctx.Err()}
}

func (sp *sharedPool) ask(answer chan<- reported) {
	switch {
	case sp.removed:
		answer <- reported{err: errRemoved}
		return
	case sp.known() != nil:
		answer <- reported{params: sp.known()}
		return
	}
	sp.asking = append(sp.asking, answer)
	sp.openForLogins()
}

// openForLogins opens a server when logins wait to hear what servers report; in a pause they wait on.
func (sp *sharedPool) openForLogins() {
	if len(sp.asking) > 0 && !sp.pool.Paused() && sp.pool.Stats().Opening == 0 {
		sp.pool.Open()
		sp.open(1)
	}
}

// grow opens the server connections that the pool wants.
func (sp *sharedPool) grow(now time.Time) {
	if sp.removed || sp.hub.ended {
		return
	}
	sp.match(now)
	n, evict := sp.pool.Wanted(now)
	if evict != nil {
		evict.Value.(*backend).closeFor(pool.Isolated)
	}
	sp.open(n)
	sp.arm(now)
}

// match gives idle servers to clients that may have them only now.
func (sp *sharedPool) match(now time.Time) {
	for m, t := sp.pool.Match(); t != nil; m, t = sp.pool.Match() {
		t.Value.(*client).granted(m.Value.(*backend), now)
	}
}

// open starts n openings. They block, so each has a goroutine of its own; what comes out is posted back.
func (sp *sharedPool) open(n int) {
	h, cfg, db, role, want := sp.hub, sp.server, sp.db, sp.key.role, sp.likely()
	for range n {
		h.proxy.wg.Go(func() {
			s, err := sp.reachLikely(want, cfg, db, role)
			ok := h.loop.Post(func() {
				switch {
				case db != sp.db || sp.removed:
					sp.openedTheOldWay(s)
				case err != nil:
					sp.openFailed(err)
				default:
					sp.opened(s)
				}
			})
			if !ok && s != nil {
				s.discard()
			}
		})
	}
}

// reach opens a server connection. It blocks, beside the loop.
func (sp *sharedPool) reach(cfg *server.Config, db *Database, role string) (*opened, error) {
	open := func(cfg *server.Config) (*opened, error) { return openServer(sp.hub.proxy.ctx, cfg, db.Dialect) }
	s, err := sp.lent.open(cfg, open)
	if claimpool.AsError(err).Code == claimpool.CodeUndefinedObject { // of another version than we think
		if cfg, wayErr := db.way(role, trusted.Oldest); wayErr == nil {
			return sp.lent.open(cfg, open)
		}
	}
	return s, err
}

func (sp *sharedPool) opened(o *opened) {
	now := sp.hub.loop.Now()
	s := &backend{pool: sp}
	s.member.Value = s
	s.keepStatements()
	if err := s.plugIn(o); err != nil {
		sp.openFailed(err)
		return
	}
	if s.params == nil {
		sp.params.Store(&report{sp.db, o.conn.Params})
	}
	sp.learnVersion()
	sp.answer(reported{params: sp.known()})
	sp.hub.proxy.log.Debug("server connection opened", claimpool.LogPool, sp.name(), claimpool.LogServer, s.session.PID)
	if t := sp.pool.Opened(&s.member, rand.Float64(), now); t != nil {
		t.Value.(*client).granted(s, now)
	}
	if (sp.hub.draining || sp.pool.Paused()) && s.member.Idle() {
		s.retire(pool.Reconfigured)
	}
}

// plugIn makes a connection that has been opened the server's.
func (s *backend) plugIn(o *opened) error {
	sp := s.pool
	s.session, s.target, s.address, s.params = o.session, o.conn.Target, o.conn.Address, nil
	s.opened = sp.hub.moment(sp.hub.loop.Now())
	sp.hosts.version, sp.hosts.since = 0, time.Time{} // the hosts may have changed meanwhile: look again
	s.session.Sessions = sp.pool.Config().Mode == pool.Session
	_, none := sp.db.Dialect.(trusted.None) // elsewhere isolation: off is refused by the configuration, and does nothing here
	s.session.Unisolated = none && sp.pool.Config().Isolation == pool.Off
	if s.session.Born() != nil {
		s.params = o.conn.Params
	}
	conn, err := sp.hub.loop.Add(o.fd, o.conn.TLS, o.carrier, s, nil)
	s.conn = conn
	return err
}

// openedTheOldWay is the end of an opening that a reload has overtaken: it serves nobody. s is nil when it failed.
func (sp *sharedPool) openedTheOldWay(s *opened) {
	if s != nil {
		s.discard()
	}
	sp.pool.Unopened()
	sp.openForLogins()
	sp.grow(sp.hub.loop.Now())
}

// way is how to reach a server as a role.
func (db *Database) way(role string, version int) (*server.Config, error) {
	cfg, err := db.Server(role)
	if err != nil {
		return nil, err
	}
	own := *cfg
	own.Wrap = wrap
	own.Startup = trusted.Startup(db.Parameters, db.Dialect, version)
	return &own, nil
}

// learnVersion pins, from the next opening on, what only this version of PostgreSQL knows.
func (sp *sharedPool) learnVersion() {
	if sp.version != 0 {
		return
	}
	for _, kv := range sp.known() {
		if kv[0] == "server_version" {
			sp.version = trusted.Version(kv[1])
			atomic.StoreInt32(&sp.db.version, int32(sp.version)) // for its other pools
		}
	}
	if way, err := sp.db.way(sp.key.role, sp.version); err == nil {
		sp.server = way
	}
}

// openFailed lets those who wait hear why, unless other servers can still serve them.
func (sp *sharedPool) openFailed(err error) {
	now := sp.hub.loop.Now()
	sp.pool.OpenFailed(now)
	sp.counts.OpenFailed++
	e := claimpool.AsError(err)
	sp.hub.proxy.log.Error("could not open a server connection", claimpool.LogPool, sp.name(),
		claimpool.LogSQLState, string(e.Code), claimpool.LogErr, e.Error())
	if sp.pool.Paused() { // that may be why, and nobody is refused for it
		sp.arm(now)
		return
	}
	sp.answer(reported{err: e})
	sp.doubtHosts()
	if st := sp.pool.Stats(); st.Leased+st.Idle+st.Opening == 0 && !sp.patient(e, now) {
		sp.fail(e)
	}
	sp.arm(now)
}

func (sp *sharedPool) answer(r reported) {
	for _, ch := range sp.asking {
		ch <- r
	}
	sp.asking = nil
}

// fail refuses all clients that wait.
func (sp *sharedPool) fail(e *claimpool.Error) {
	sp.answer(reported{err: e})
	for t := sp.pool.Drop(); t != nil; t = sp.pool.Drop() {
		t.Value.(*client).turnAway(e)
	}
}

// arm sets the alarm for the next thing that time brings to the queue: a client that has waited too long, the reserve, or
// the end of the pause after a failed opening.
func (sp *sharedPool) arm(now time.Time) {
	at, ok := sp.pool.NextAlarm(now)
	if !ok || sp.alarm != nil && !at.Before(sp.alarmAt) {
		return
	}
	sp.alarm.Stop()
	sp.alarmAt = at
	sp.alarm = sp.hub.loop.After(at.Sub(now), func() {
		sp.alarm = nil
		now := sp.hub.loop.Now()
		for t := sp.pool.Expire(now); t != nil; t = sp.pool.Expire(now) {
			t.Value.(*client).turnAway(sp.waited())
		}
		sp.grow(now)
	})
}

var errWaited = &claimpool.Error{
	Code: claimpool.CodeTooManyConnections, Message: "timed out while waiting for a server connection",
	Detail: "All server connections of the pool were in use for pool.queue_wait.",
	Hint:   "Raise pool.size or pool.queue_wait, or make transactions shorter.",
}

var errQueueFull = &claimpool.Error{
	Code: claimpool.CodeTooManyConnections, Message: "too many clients wait for a server connection",
	Detail: "pool.queue_length clients wait already.",
	Hint:   "Raise pool.size or pool.queue_length, or make transactions shorter.",
}

// sweep closes servers that are old or unused, keeps the minimum open, and forgets a pool that nobody uses.
func (sp *sharedPool) sweep(now time.Time) {
	for s, why := sp.pool.Sweep(now); s != nil; s, why = sp.pool.Sweep(now) {
		s.Value.(*backend).closeFor(why)
	}
	sp.lookAfterHosts(now)
	if !sp.hub.draining {
		sp.grow(now)
	}
	sp.listener.sweep()
	st := sp.pool.Stats()
	if st.Idle+st.Leased+st.Opening > 0 || sp.listener != nil {
		return
	}
	p := sp.hub.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if sp.users == 0 {
		delete(p.pools, sp.key)
		delete(sp.hub.pools, sp.key)
	}
}

// reconfigure applies a reload. db is nil when the database is gone from the configuration.
func (sp *sharedPool) reconfigure(db *Database) {
	old := sp.db
	switch {
	case db == nil || (db.Role != "" && db.Role != sp.key.role):
		sp.removed = true
	case db.same(old):
		sp.removed = false
		return
	default:
		way, err := db.way(sp.key.role, 0)
		if err != nil {
			sp.removed = true
			break
		}
		sp.removed, sp.version = false, 0
		sp.db, sp.server = db, way
		sp.pool.SetConfig(db.Pool)
		sp.features = db.chosen()
	}
	sp.listener.end(errReconfigured)
	sp.hearAnew()
	// What was opened the old way serves nobody new.
	for _, s := range sp.pool.Condemn(pool.Reconfigured) {
		s.Value.(*backend).closeFor(pool.Reconfigured)
	}
	sp.params.Store(nil)
	if sp.removed {
		sp.answer(reported{err: errRemoved})
		for t := sp.pool.Drop(); t != nil; t = sp.pool.Drop() {
			t.Value.(*client).fatal(errRemoved)
		}
	}
	sp.grow(sp.hub.loop.Now())
}

// reported gives the name under which servers report a setting to their clients; empty when they do not.
func (sp *sharedPool) reported(name string) string {
	for _, kv := range sp.known() {
		if strings.EqualFold(kv[0], name) {
			return kv[0]
		}
	}
	return ""
}

func (sp *sharedPool) name() string {
	if sp.key.target != "" {
		return sp.key.database + cluster + sp.key.target + "/" + sp.key.role
	}
	return sp.key.database + "/" + sp.key.role
}

var errRemoved = &claimpool.Error{
	Code: claimpool.CodeAdminShutdown, Message: "terminating connection due to administrator command",
	Detail: "The database is no longer in the proxy's configuration.", Cause: errors.New("database removed by reload"),
}
