package proxy

import (
	"errors"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// listener is the one server connection of a pool that listens for all of its clients. It runs nothing but LISTEN and UNLISTEN. It does
// not count as one of the pool's.
//
// When it is lost, the clients that listen are disconnected, as they would be by PostgreSQL: they cannot know what they have missed.
type listener struct {
	pool     *sharedPool
	conn     *loop.Conn // nil while it is being opened
	address  string
	session  trusted.Session
	identity *claimpool.Identity
	channels map[string]*channel
	changed  map[string]struct{} // those of which PostgreSQL may have to be told
	parts    parts               // of the channels, by who listened to them first
	replies  trusted.Replies
	sent     []feature.Command // whose replies are to come
	timer    *loop.Timer
	begun    bool // its connection is there, or being opened; else it waits for the end of a pause
	over     bool
}

// channel is who listens to it.
type channel struct {
	clients map[*client]struct{}
	part    claimpool.Key
	up      bool // PostgreSQL has said so
	asked   bool // it is being told
}

// maxListened bounds the channels of one pool, see parts: clients with one identity can have a fifth of them.
const maxListened = 1 << 15

var (
	errReconfigured = &claimpool.Error{
		Code: claimpool.CodeAdminShutdown, Message: "terminating connection due to administrator command",
		Detail: "The configuration of the database has changed, and the connection listened to channels.", Hint: "Connect again.",
	}
	errListenerLost = &claimpool.Error{
		Code: claimpool.CodeConnectionFailure, Message: "the connection that listens for the proxy's clients was lost",
		Detail: "Notifications may have been missed.", Hint: "Connect again.",
	}
)

var errHostChanged = errors.New(pool.HostChanged.String())

// listening gives the pool's listener, and opens it: in a pause behind its end, unless it is for what is under way, which nobody wants to wait
// for that long.
func (sp *sharedPool) listening(underWay bool) *listener {
	if sp.listener == nil {
		sp.listener = &listener{
			pool: sp, channels: map[string]*channel{}, changed: map[string]struct{}{}, parts: parts{of: map[claimpool.Key]int{}},
			identity: claimpool.NewIdentity(claimpool.MethodTrust, "", "claimpool", sp.key.role, nil, nil, noDeadline),
		}
	}
	if underWay || !sp.pool.Paused() {
		sp.listener.resume()
	}
	return sp.listener
}

// resume opens the connection, if that has not begun.
func (l *listener) resume() {
	if l == nil || l.begun {
		return
	}
	l.begun = true
	sp := l.pool
	h, cfg, db, role := sp.hub, sp.server, sp.db, sp.key.role
	h.proxy.wg.Go(func() {
		o, err := sp.reach(cfg, db, role)
		if !h.loop.Post(func() { l.opened(o, err) }) && o != nil {
			o.discard()
		}
	})
}

func (l *listener) opened(o *opened, err error) {
	if l.over {
		if o != nil {
			o.discard()
		}
		return
	}
	if err == nil {
		l.session, l.address = o.session, o.conn.Address
		l.conn, err = l.pool.hub.loop.Add(o.fd, o.conn.TLS, o.carrier, l, nil)
	}
	if err != nil {
		l.conn = nil
		if l.begun = !l.pool.pool.Paused(); l.begun { // a pause may be why, and nobody is refused for it
			l.end(claimpool.AsError(err))
		}
		return
	}
	l.pool.hub.proxy.log.Info("listener opened", claimpool.LogPool, l.pool.name(), claimpool.LogServer, l.session.PID)
	l.work()
}

// add lets a client hear of a channel. known is false while the connection does not listen to it yet: then the client's request is
// shown again when it does.
func (l *listener) add(name string, c *client) (known bool, err error) {
	ch := l.channels[name]
	if ch == nil {
		ch = &channel{clients: map[*client]struct{}{}, part: c.entry.Share()}
		if !l.parts.take(ch.part, maxListened) {
			return false, errTooManyChannels
		}
		l.channels[name] = ch
	}
	ch.clients[c] = struct{}{}
	if ch.up && !ch.asked {
		return true, nil
	}
	l.changed[name] = struct{}{}
	l.work()
	return false, nil
}

// remove is the end of that.
func (l *listener) remove(name string, c *client) {
	if l == nil || l.channels[name] == nil {
		return
	}
	delete(l.channels[name].clients, c)
	l.changed[name] = struct{}{}
	l.work()
}

// work tells PostgreSQL which channels to listen to from now on.
func (l *listener) work() {
	if l.conn == nil || l.over || len(l.sent) > 0 {
		return
	}
	h := l.pool.hub
	b, steps := h.scratch[:0], trusted.Steps(nil)
	for name := range l.changed {
		ch, cmd := l.channels[name], feature.Command{Use: feature.Listen, Name: name}
		if ch == nil {
			continue
		}
		switch wanted := len(ch.clients) > 0; {
		case wanted == ch.up && !wanted:
			delete(l.channels, name)
			l.parts.free(ch.part)
			continue
		case wanted == ch.up:
			continue
		case !wanted:
			cmd.Use = feature.Unlisten
		}
		if len(l.sent) == 0 {
			b, steps = l.session.Handover(b, l.pool.db.Dialect, l.identity, h.intern.Of(nil), h.loop.Now())
		}
		ch.asked = true
		l.sent = append(l.sent, cmd)
		b, steps = trusted.Listen(b, steps, cmd.Use, name)
	}
	h.scratch = b
	clear(l.changed)
	if len(l.sent) == 0 {
		return
	}
	l.replies = trusted.Expect(steps)
	l.replies.KeepNews()
	l.timer = h.loop.After(handoverTimeout, func() { l.lost(errTimeout) })
	l.conn.Write(b)
}

// Data is part of loop.Handler.
func (l *listener) Data(b []byte) int {
	used := 0
	if len(l.sent) > 0 {
		n, err := l.replies.Take(b)
		news := l.replies.News()
		for m, rest := message(news); m != nil; m, rest = message(rest) {
			l.tell(m)
		}
		if err != nil {
			l.lost(err)
			return len(b)
		}
		if used = n; !l.replies.Done() {
			return used
		}
		l.done()
	}
	for m, rest := message(b[used:]); m != nil; m, rest = message(rest) {
		used += len(m)
		switch m[0] {
		case wire.MsgNotificationResponse:
			l.tell(m)
		case wire.MsgNoticeResponse, wire.MsgParameterStatus:
		case wire.MsgErrorResponse:
			l.lost(errors.New(errorText(m[wire.HeaderLen:])))
			return len(b)
		default:
			l.lost(errors.New("unexpected message from server"))
			return len(b)
		}
	}
	if _, size, ok, err := wire.Header(b[used:]); err != nil || ok && size > maxNews {
		l.lost(errors.New("unexpected message from server"))
		return len(b)
	}
	return used
}

// message cuts the first message from b; nil when not all of it is there.
func message(b []byte) (m, rest []byte) {
	_, size, ok, err := wire.Header(b)
	if !ok || err != nil || len(b)-wire.HeaderLen < size {
		return nil, b
	}
	return b[:wire.HeaderLen+size], b[wire.HeaderLen+size:]
}

// done takes the end of the replies: those who have waited for a channel go on.
func (l *listener) done() {
	l.timer.Stop()
	sent := l.sent
	l.sent = nil
	for _, cmd := range sent {
		ch := l.channels[cmd.Name]
		ch.up, ch.asked = cmd.Use == feature.Listen, false
		l.changed[cmd.Name] = struct{}{} // who has asked for it may have left
		for c := range ch.clients {
			if ch.up && c.state == listening {
				c.state = c.atRest()
				c.conn.Resume() // begin shows the request again
			}
			c.goOn(nil)
		}
	}
	l.work()
}

// tell passes a notification on.
func (l *listener) tell(m []byte) {
	name, ok := relay.NotifiedOn(m[wire.HeaderLen:])
	ch := l.channels[name]
	if !ok || ch == nil {
		return
	}
	for c := range ch.clients {
		c.heard(name, m)
	}
}

// lost is the end of a connection that PostgreSQL or the network has ended.
func (l *listener) lost(err error) {
	if l.over {
		return
	}
	l.pool.hub.proxy.log.Warn("listener lost", claimpool.LogPool, l.pool.name(), claimpool.LogServer, l.session.PID,
		claimpool.LogErr, err.Error())
	var own *claimpool.Error
	if errors.As(err, &own) && len(l.sent) > 0 {
		l.end(own)
		return
	}
	l.end(errListenerLost)
}

// end closes the listener. Clients whose LISTEN has not been carried out get the error as its answer; those that listen have to go.
func (l *listener) end(e *claimpool.Error) {
	if l == nil || l.over {
		return
	}
	l.over = true
	l.pool.listener = nil
	l.timer.Stop()
	if l.conn != nil {
		l.conn.Write(wire.AppendTerminate(nil))
		l.conn.Close()
	}
	heard := map[*client]bool{} // those that wait, and those that have heard
	for _, ch := range l.channels {
		for c := range ch.clients {
			heard[c] = heard[c] || ch.up
		}
	}
	for c, has := range heard {
		switch {
		case c.state == left:
		case has: // it relies on it, or a transaction of its does
			clear(c.ears.channels)
			clear(c.ears.pending)
			c.goOn(e)
			c.deaf(listenerGone(e))
		case c.state == listening:
			clear(c.ears.channels)
			c.state = c.atRest()
			c.turnAway(e)
		default:
			c.goOn(e)
		}
	}
}

// listenerGone is what a client is told that has listened, where the reason is no end of its connection.
func listenerGone(e *claimpool.Error) *claimpool.Error {
	if e == errReconfigured || e == errStopping {
		return e
	}
	return errListenerLost
}

// turnLateAway refuses those who have waited too long for the end of a pause.
func (l *listener) turnLateAway() {
	late := map[*client]bool{}
	for _, ch := range l.channels {
		for c := range ch.clients {
			if c.pool.hub.clock()-c.ears.asked >= c.pool.pool.Config().QueueWait {
				late[c] = true
			}
		}
	}
	for c := range late {
		if c.state != listening {
			c.goOn(errWaited)
			continue
		}
		c.unlisten("")
		c.state = c.atRest()
		c.turnAway(errWaited)
	}
}

// sweep closes a listener that nobody needs. In a pause it looks after those who wait, to the second.
func (l *listener) sweep() {
	if l != nil && !l.begun {
		l.turnLateAway()
	}
	if l == nil || l.begun && l.conn == nil || len(l.sent) > 0 {
		return
	}
	for _, ch := range l.channels {
		if len(ch.clients) > 0 {
			return
		}
	}
	l.end(errListenerLost)
}

// Drained is part of loop.Handler.
func (l *listener) Drained() {}

// Hangup is part of loop.Handler.
func (l *listener) Hangup() {}

// Closed is part of loop.Handler.
func (l *listener) Closed(err error) { l.lost(err) }
