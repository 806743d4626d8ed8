package proxy

import (
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// Bounds of what listening may take of the proxy's memory.
const (
	maxChannels = 256     // of one client
	maxWaiting  = 1 << 20 // bytes of notifications that one client has not taken yet
	maxUnsent   = 4 << 20 // bytes of everything, when notifications come while its server cannot be paused
)

// ears are what a client listens with.
type ears struct {
	permission *feature.Permission // nil: not judged yet
	judged     *Database           // by its templates
	hears      relay.Hears         // what its own server tells it
	channels   map[string]struct{} // those that the listener hears for it
	pending    map[string]struct{} // the same, for a transaction that has not ended
	held       []byte              // notifications that depend on that
	failed     *claimpool.Error    // why the listener cannot hear what a transaction wants to
	waits      bool                // a request in a transaction waits for the listener
	asked      time.Duration       // on the hub's clock: since when the client waits for the listener
	news       []byte              // notifications that wait for the end of a transaction, or for the client to take bytes
	lost       *claimpool.Error    // why it has missed some
}

func (c *client) listens() *ears {
	if c.ears == nil {
		c.ears = &ears{channels: map[string]struct{}{}, pending: map[string]struct{}{}}
	}
	return c.ears
}

// judgeAnew follows a change of the client's claims.
func (e *ears) judgeAnew() {
	if e != nil {
		e.permission = nil
	}
}

// allowed reports whether the client may hear of a channel now. NOTIFY knows no rights in PostgreSQL, so that this is all that stands
// between identities; it is asked for each notification, not only when a client begins to listen.
func (c *client) allowed(channel string) bool {
	e := c.listens()
	if db := c.pool.db; e.permission == nil || e.judged != db {
		e.judged = db
		_, none := db.Dialect.(trusted.None)
		switch {
		case db.Channels != nil:
			e.permission = feature.Permit(db.Channels, c.identity.Claims)
		case none || db.Pool.Mode == pool.Session:
			e.permission = feature.AllChannels()
		default:
			e.permission = &feature.Permission{}
		}
	}
	return e.permission.Allows(channel)
}

var errChannel = &claimpool.Error{
	Code: claimpool.CodeInsufficientPrivileges, Message: "permission denied for channel",
	Hint: "Allow it with a template under databases.NAME.channels, such as tenant_${tenant_id}_*.",
}

// hearing says which notifications of its own server reach the client: in a session those that it may hear, else only while it keeps
// the server because of LISTEN.
func (c *client) hearing(session bool) *relay.Hears {
	if session && c.pool.db.Channels == nil || !session && c.pool.features.pin&feature.Listen == 0 {
		return nil
	}
	e := c.listens()
	if e.hears == nil {
		e.hears = func(channel string) bool {
			return (c.pool.db.Pool.Mode == pool.Session || c.keepsForListen()) && !c.identity.Expired(c.conn.Loop().Now()) && c.allowed(channel)
		}
	}
	return &e.hears
}

// hearServer has the client hear what its server may tell it.
func (c *client) hearServer(session bool) {
	c.server.relay.Hear(session && c.pool.db.Channels == nil, c.hearing(session))
}

// hearAnew follows a reload: who only listens asks for nothing that would have its server look at the configuration again.
func (sp *sharedPool) hearAnew() {
	for _, c := range sp.hub.clients {
		if c.pool == sp && c.server != nil {
			c.hearServer(sp.pool.Config().Mode == pool.Session)
		}
	}
}

func (c *client) keepsForListen() bool {
	return c.pin != nil && c.pin.uses&feature.Listen != 0 || c.server != nil && (c.server.relay.Seen()|c.asked)&feature.Listen != 0
}

// mayListen reports whether SQL listens to nothing that the client must not hear, as far as that can be read.
func (c *client) mayListen(sql []byte) bool {
	list, _ := feature.Commands(sql)
	for _, cmd := range list {
		if cmd.Use == feature.Listen && !c.allowed(cmd.Name) {
			return false
		}
	}
	return true
}

// tellNews passes on what came between the replies to the proxy's own requests. Those are waited for, so that the server is not paused
// when the client does not take its bytes: there is an end to what is kept for it.
func (c *client) tellNews(news []byte) {
	if c.conn.Unsent() > maxUnsent {
		c.fatal(errNewsWait)
		return
	}
	hears := c.hearing(c.pool.pool.Config().Mode == pool.Session)
	passes := func(m []byte) bool {
		channel, ok := relay.NotifiedOn(m[wire.HeaderLen:])
		return hears == nil && c.pool.pool.Config().Mode == pool.Session || hears != nil && ok && (*hears)(channel)
	}
	run := 0 // bytes in front of rest that pass: they are written at once, as each write moves all that waits already
	m, rest := message(news)
	for ; m != nil; m, rest = message(rest) {
		if passes(m) {
			run += len(m)
			continue
		}
		c.tell(news, len(m)+len(rest), run)
		run = 0
	}
	c.tell(news, len(rest), run)
}

// tell writes the n bytes of news in front of the last ones.
func (c *client) tell(news []byte, last, n int) {
	if end := len(news) - last; n > 0 {
		c.conn.Write(news[end-n : end])
	}
}

// heard takes a notification from the listener. It goes to the client between two transactions, as PostgreSQL does it.
func (c *client) heard(channel string, m []byte) {
	e := c.listens()
	if !c.allowed(channel) {
		return // its claims have changed
	}
	switch {
	case c.identity.Expired(c.conn.Loop().Now()):
		c.deaf(errExpired)
	case c.settings.Foreign() && !isASCII(m[wire.HeaderLen+4:]):
		c.deaf(errForeign)
	case len(e.news)+len(e.held)+len(m) > maxWaiting:
		c.deaf(errNewsWait)
	case !heardAlready(e, channel):
		e.held = append(e.held, m...)
	case len(e.news) == 0 && c.betweenMessages():
		c.conn.Write(m)
	default:
		e.news = append(e.news, m...)
	}
}

// heardAlready reports whether the client listens to a channel whatever becomes of its transaction.
func heardAlready(e *ears, channel string) bool {
	_, is := e.channels[channel]
	return is
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// betweenMessages reports whether the client may be told something of its own now, and takes it.
func (c *client) betweenMessages() bool {
	switch c.state {
	case idle, waiting, renewing, refused, listening:
		return !c.conn.Blocked()
	case keeping:
		return !c.conn.Blocked() && c.server.relay.Interruptible()
	}
	return false
}

// deliverNews gives the client the notifications that have waited, when it may have them.
func (c *client) deliverNews() {
	e := c.ears
	if e == nil || c.state == left || !c.betweenMessages() {
		return
	}
	switch {
	case e.lost != nil:
		c.fatal(e.lost)
	case len(e.news) > 0:
		news := e.news
		e.news = nil
		c.conn.Write(news)
	}
}

// deaf ends a client that has missed notifications, or will: it cannot know which. A transaction is carried out first.
func (c *client) deaf(e *claimpool.Error) {
	if c.state == left {
		return
	}
	c.listens().lost = e
	switch c.state {
	case relaying, receiving:
		return
	case keeping:
		if c.server.state == asking || !c.server.relay.Interruptible() {
			return
		}
	}
	c.fatal(e)
}

var (
	errForeign = &claimpool.Error{
		Code: claimpool.CodeFeatureNotSupported, Message: "notifications need client_encoding UTF8",
		Hint: "Leave client_encoding as it is where you listen.",
	}
	errNewsWait = &claimpool.Error{
		Code: claimpool.CodeProgramLimitExceeded, Message: "too many notifications wait for the client",
		Detail: "The connection has to end, because some would be lost.", Hint: "Read them, and keep transactions short where you listen.",
	}
	errTooManyChannels = &claimpool.Error{
		Code: claimpool.CodeProgramLimitExceeded, Message: "too many channels",
		Hint: "Use one channel with more in its payload.",
	}
)

// listen begins to listen. known is false when the listener must do so first: then the client waits.
func (c *client) listen(channel string) (known bool, err error) {
	if known, err = c.hear(channel); err != nil {
		return false, err
	}
	c.ears.channels[channel] = struct{}{}
	if !known {
		c.state = listening
		c.conn.Pause()
	}
	return known, nil
}

// hear has the listener hear a channel, if the client may.
func (c *client) hear(channel string) (known bool, err error) {
	e := c.listens()
	_, already := e.channels[channel]
	switch {
	case !c.allowed(channel):
		return false, errChannel
	case c.settings.Foreign():
		return false, errForeign
	case !already && len(e.channels)+len(e.pending) >= maxChannels:
		return false, errTooManyChannels
	}
	if known, err = c.pool.listening(c.server != nil).add(channel, c); !known {
		e.asked = c.pool.hub.clock()
	}
	return known, err
}

// joining reports whether the client has listened within a transaction.
func (c *client) joining() bool { return c.ears != nil && len(c.ears.pending) > 0 }

// join takes what has become of that. What was heard in between is told: to have told too much harms nobody.
func (c *client) join(l *trusted.Left) {
	e := c.ears
	for name := range e.pending {
		if l.Unknown || slices.Contains(l.Channels, name) {
			e.channels[name] = struct{}{}
		} else if _, already := e.channels[name]; !already {
			c.pool.listener.remove(name, c)
		}
	}
	held := e.held
	e.held = nil
	clear(e.pending)
	for m, rest := message(held); m != nil; m, rest = message(rest) {
		channel, _ := relay.NotifiedOn(m[wire.HeaderLen:])
		if _, is := e.channels[channel]; is && c.ears != nil {
			e.news = append(e.news, m...)
		}
	}
}

// unlisten ends listening; an empty name is all.
func (c *client) unlisten(channel string) {
	if c.ears == nil {
		return
	}
	for _, names := range []map[string]struct{}{c.ears.channels, c.ears.pending} {
		for name := range names {
			if channel == "" || name == channel {
				delete(names, name)
				c.pool.listener.remove(name, c)
			}
		}
	}
}

// forgetChannels is unlisten for a client that has left.
func (c *client) forgetChannels() {
	c.unlisten("")
	c.ears = nil
}

// goOn shows the request again that has waited for the listener in a transaction; e is why that cannot listen.
func (c *client) goOn(e *claimpool.Error) {
	if c.ears != nil && c.ears.waits {
		c.ears.waits, c.ears.failed = false, e
		c.conn.Resume()
	}
}
