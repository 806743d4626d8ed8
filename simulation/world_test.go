// Package simulation drives the packages pool, relay and trusted together, in simulated time, between simulated clients and
// simulated PostgreSQL servers, and knows at every moment who may see what. It knows no sockets and no clock: a number gives
// the whole history, so that whatever goes wrong goes wrong again.
package simulation

import (
	"errors"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// violation is a broken promise.
type violation struct{ text string }

// plan is what a seed chooses once.
type plan struct {
	pool    pool.Config
	dialect string // "none", "sql" or "native"
	ungated bool   // the native dialect without the gate
	wild    bool   // some people send what no driver would
}

// world is everything that there is.
type world struct {
	plan
	broken   mutation
	dialect  trusted.Dialect
	now      time.Time
	pool     *pool.Pool
	intern   trusted.Intern
	people   []*person // all that ever were
	backends []*backend
	opening  int
	cancels  []cancelRequest
	strays   []cancelRequest // those that were given up
	hangups  []*person       // connections that were closed by the client's side
	ran      map[string]bool
	pids     uint32
	history  []string
}

func newWorld(p plan, broken mutation) *world {
	w := &world{plan: p, broken: broken, now: time.Unix(1e9, 0), pool: pool.New(p.pool), ran: map[string]bool{}}
	switch p.dialect {
	case "sql":
		key, err := trusted.ParseSQLKey([]byte(sqlSecret))
		if err != nil {
			w.fail("%v", err)
		}
		w.dialect = &trusted.SQL{Key: key, Window: 3 * time.Second}
	case "native":
		key, err := trusted.ParseNativeKey([]byte("shared:k1:BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"))
		if err != nil {
			w.fail("%v", err)
		}
		w.dialect = &trusted.Native{Key: key}
	default:
		w.dialect = trusted.None{}
	}
	return w
}

func (w *world) fail(format string, args ...any) { panic(violation{fmt.Sprintf(format, args...)}) }

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%7.2fs  ", w.now.Sub(time.Unix(1e9, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) sessions() bool { return w.plan.pool.Mode == pool.Session }
func (w *world) strict() bool   { return w.plan.pool.Isolation == pool.Strict }

// come is a login. Two people may have the same identity, with different tokens of it.
func (w *world) come(who, token int, lasts time.Duration) {
	name := []string{"alice", "bob", "carol", "nobody"}[who%4]
	var claims claimpool.Claims
	var expires time.Time
	if name != "nobody" && w.plan.dialect != "none" {
		claims = fmt.Appendf(nil, `{"who":"%s","jti":%d}`, name, token%2)
		if lasts > 0 {
			expires = w.now.Add(lasts)
		}
	}
	p := &person{w: w, name: name, number: len(w.people) + 1, wild: w.wild && token%3 == 0, app: ownApp, status: wire.StatusIdle}
	p.id = claimpool.NewIdentity(claimpool.MethodJWT, "issuer", name, "app", claims, []byte(name), expires)
	w.people = append(w.people, p)
	var params [][2]string
	if token%4 == 1 {
		p.app = p.mark()
		params = [][2]string{{appName, p.app}}
	}
	p.client = &client{w: w, person: p, identity: p.id, settings: w.intern.Of(params), entry: w.pool.Enter(p.id.Key(), p.id.Key())}
	w.note("%s comes (wild %v, expires %v, %v)", p, p.wild, lasts, params)
}

// opened is the end of an opening: the login and the dialect's greeting, which nobody disturbs.
func (w *world) opened() {
	w.opening--
	s := &backend{w: w, server: newServer(w)}
	s.member.Value = s
	s.session = trusted.Session{PID: s.server.pid, Seed: func() float64 { return 0.5 }, Sessions: w.sessions()}
	s.greet()
	w.backends = append(w.backends, s)
	w.note("server %d is open", s.server.pid)
	if t := w.pool.Opened(&s.member, 0.5, w.now); t != nil {
		t.Value.(*client).granted(s)
	}
}

func (s *backend) greet() {
	var answer []string
	for {
		ask, err := s.w.dialect.Greet(&s.session, answer, s.w.now)
		if err != nil {
			s.w.fail("greet: %v", err)
		}
		if ask == nil {
			return
		}
		answer = s.server.greeted(ask)
	}
}

// greeted answers one question of a greeting.
func (s *server) greeted(ask []byte) []string {
	if typ, _, _, _ := wire.Header(ask); typ == wire.MsgQuery {
		return []string{s.greeting()}
	}
	s.in = ask
	s.step()
	_, size, _, _ := wire.Header(s.out)
	value, err := wire.ParseFunctionCallResponse(s.out[wire.HeaderLen : wire.HeaderLen+size])
	if err != nil {
		s.w.fail("greet: %v", err)
	}
	s.out = nil
	return []string{string(value)}
}

func (w *world) openFailed() {
	w.opening--
	w.pool.OpenFailed(w.now)
	w.note("an opening fails")
	if st := w.pool.Stats(); st.Leased+st.Idle+st.Opening == 0 {
		for t := w.pool.Drop(); t != nil; t = w.pool.Drop() {
			t.Value.(*client).turnAway()
		}
	}
}

func (w *world) grow() {
	n, evict := w.pool.Wanted(w.now)
	if evict != nil {
		evict.Value.(*backend).dismiss()
	}
	w.opening += n
}

// pass lets time go by, and does what is due.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, s := range w.backends {
		if !s.deadline.IsZero() && !w.now.Before(s.deadline) {
			s.deadline = time.Time{}
			s.askFailed(errTimeout)
		}
	}
	for i := 0; i < len(w.cancels); {
		if w.now.Before(w.cancels[i].deadline) {
			i++
			continue
		}
		r := w.cancels[i]
		w.cancels = append(w.cancels[:i], w.cancels[i+1:]...)
		w.late(r)
	}
	for t := w.pool.Expire(w.now); t != nil; t = w.pool.Expire(w.now) {
		t.Value.(*client).turnAway()
	}
	w.grow()
}

// late is a cancel request of which nobody knows whether it has arrived. It has not: it will.
func (w *world) late(r cancelRequest) {
	w.note("the cancel request of client %d is given up", r.from)
	w.strays = append(w.strays, r)
	r.to.cancelled(errors.New("no answer"))
}

// arrive is a cancel request that has been dealt with, or one that comes too late.
func (w *world) arrive() {
	if len(w.strays) > 0 {
		r := w.strays[0]
		w.strays = w.strays[1:]
		w.note("the cancel request of client %d arrives at server %d after all", r.from, r.to.server.pid)
		r.to.server.interrupt(r.from)
		return
	}
	r := w.cancels[0]
	w.cancels = w.cancels[1:]
	w.note("the cancel request of client %d arrives at server %d", r.from, r.to.server.pid)
	r.to.server.interrupt(r.from)
	r.to.cancelled(nil)
}

// interrupt is SIGINT: an idle backend ignores it.
func (s *server) interrupt(from int) {
	if s.busy() {
		s.cancel, s.canceller = true, from
	}
}

// given and released are the moments at which a server changes hands. Whether it is in doubt the server itself knows.
func (w *world) given(s *backend, c *client) {
	s.server.user = c.person
	s.server.lease++
	if s.server.closed || w.sessions() && c.kept {
		return
	}
	if !s.server.quiet() {
		w.fail("server %d is given to %s, but is not quiet", s.server.pid, c.person)
	}
}

func (w *world) released(s *backend) {
	if s.server.closed {
		return
	}
	if !s.server.quiet() {
		w.fail("server %d is released, but is not quiet: %q, status %c", s.server.pid, s.server.in, s.server.status)
	}
	for b := append(append([]byte(nil), s.conn.in...), s.server.out...); len(b) > 0; {
		typ, size, ok, _ := wire.Header(b)
		if !ok || typ != wire.MsgNotificationResponse {
			w.fail("server %d is released, but has not said all: %q", s.server.pid, b)
		}
		b = b[wire.HeaderLen+size:]
	}
}

// begins is the moment at which a client's bytes go to a server, with nothing under way: perhaps a transaction begins.
func (w *world) begins(s *backend, c *client) {
	begins := s.server.quiet() && !s.server.closed
	if begins && c.identity.Expired(c.leased) {
		w.fail("%s begins a transaction, but its token has expired", c.person)
	}
	if _, ok := w.dialect.(*trusted.SQL); ok && begins && c.identity.Claims != nil && s.server.wiped == "" && !s.slow && !c.person.wild {
		if _, expired := s.server.sealed(); expired {
			w.fail("%s begins a transaction under an old seal", c.person)
		}
	}
}

// pump shows everybody what is there for them, until nobody has anything to do.
func (w *world) pump() {
	for round, more := 0, true; more; round++ {
		more = false
		if round > 10_000 {
			w.fail("the proxy is busy with nothing")
		}
		for _, p := range w.people {
			c := &p.client.conn
			for c.again && !c.paused && !c.closed {
				more, c.again = true, false
				used := p.client.data(c.in)
				if !c.closed {
					c.in = c.in[used:]
				}
			}
		}
		for _, s := range w.backends {
			for s.conn.again && !s.conn.closed {
				more, s.conn.again = true, false
				b := s.conn.in
				s.conn.in = nil
				s.conn.in = b[s.data(b):]
			}
		}
		for _, p := range w.hangups {
			more = w.hangup(p) || more
		}
	}
	w.check()
}

// hangup is a client's connection that has ended: the loop says so at once when it is paused, and else when all that came
// before has been shown.
func (w *world) hangup(p *person) bool {
	c := p.client
	switch {
	case c.conn.closed:
		return false
	case !c.conn.paused:
		c.gone()
		return true
	}
	c.hangup()
	return c.conn.closed
}

// reach brings n bytes of a server to the proxy.
func (w *world) reach(s *backend, n int) {
	if s.conn.closed {
		return
	}
	b := s.server.send(n)
	s.conn.in = append(s.conn.in, b...)
	s.conn.again = s.conn.again || len(b) > 0
	w.pump()
	if s.server.closed && len(s.server.out) == 0 && !s.conn.closed {
		s.conn.closed = true
		s.lost()
	}
	w.pump()
}

// check compares the pool's books with the world's.
func (w *world) check() {
	var resting, leased, waits int
	alive := w.backends[:0]
	for _, s := range w.backends {
		if s.state == gone {
			continue
		}
		alive = append(alive, s)
		if s.member.Idle() {
			resting++
		} else {
			leased++
		}
	}
	w.backends = alive
	for _, p := range w.people {
		if p.client.state == waiting {
			waits++
		}
	}
	st := w.pool.Stats()
	if st.Idle != resting || st.Leased != leased || st.Opening != w.opening || st.Waiting != waits {
		w.fail("the pool counts %+v; there are %d resting, %d leased, %d opening, %d waiting", st, resting, leased, w.opening, waits)
	}
}
