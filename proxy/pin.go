package proxy

import (
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/trusted"
)

// pin is why a client keeps its server between transactions.
type pin struct {
	uses  feature.Uses  // what it has left there
	since time.Duration // as hub.clock tells, like the next
	asked time.Duration // when PostgreSQL was asked last
}

// askAgain is how old PostgreSQL's answer may become: what was left may have been taken away unseen, by a function or with a
// prepared statement.
const askAgain = 10 * time.Second

// lingers reports whether the client's server cannot be released yet, at the end of a transaction: it is pinned, or PostgreSQL is
// being asked whether anything was left on it. A release goes on in answered.
func (c *client) lingers() bool {
	s, f, h := c.server, &c.pool.features, c.pool.hub
	seen := s.relay.Seen() & feature.Features
	if seen&f.refuse != 0 { // within a transaction, or unseen until it was done
		c.soils = true
	}
	if f.shared && seen&feature.Listen != 0 {
		c.soils = true // the server is to hear nothing any more
	}
	uses := seen & f.pin
	follow := f.follow && (seen&feature.Set != 0 || s.relay.Wiped())
	switch {
	case c.pin == nil && uses == 0 && !follow && !c.joining():
		return false
	case c.leaving || h.draining || c.state == left:
		c.soils = c.soils || uses != 0
		if follow {
			s.session.Wiped()
		}
		return false
	case c.pin != nil && uses == 0 && !follow && !c.joining() && !s.relay.Released() && h.clock()-c.pin.asked < askAgain:
		c.stay()
		return true
	}
	if c.pin != nil {
		uses |= c.pin.uses
	}
	c.ask(uses, follow)
	return true
}

// ask asks PostgreSQL what is left. Under a context that has gone with an error the question would be refused: it is installed again.
func (c *client) ask(uses feature.Uses, settings bool) {
	s, h := c.server, c.pool.hub
	now := h.loop.Now()
	c.stay()
	c.conn.Pause()
	s.relay.Forget()
	b, steps := h.scratch[:0], trusted.Steps(nil)
	if !s.session.Ready(c.identity, s.session.Settings(), now) {
		b, steps = s.session.Handover(b, s.pool.db.Dialect, c.identity, s.session.Settings(), now)
	}
	b, steps = trusted.AskLeft(b, steps, &trusted.Question{
		Uses: uses, Known: c.settings, Settings: settings, Custom: c.custom, Channels: c.joining(),
	})
	h.scratch = b
	c.asked, c.follows = uses, settings
	s.ask(asking, b, steps, handoverTimeout)
	s.replies.KeepNews()
}

// stay keeps the server.
func (c *client) stay() {
	c.state, c.kept = keeping, true
	if c.server.state == serving {
		c.deliverNews()
	}
}

// answered takes the answer: what is left decides whether the server stays.
func (c *client) answered(l *trusted.Left) {
	s, h := c.server, c.pool.hub
	if c.follows && !c.follow(l) {
		return
	}
	if c.joining() {
		c.join(l)
	}
	uses := l.Uses & c.asked
	if l.Unknown {
		uses = c.asked
	}
	c.asked = 0
	switch {
	case h.draining || uses == 0:
		c.unpin()
		c.letGo()
		return
	case !s.pool.pool.Pin(&s.member):
		s.session.Soil()
		c.fatal(errTooManyPins)
		return
	case c.pin == nil:
		c.pin = &pin{since: h.clock()}
		h.proxy.log.Info("server connection pinned", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
			claimpool.LogServer, s.session.PID, claimpool.LogReason, uses.String())
	}
	c.pin.uses, c.pin.asked = uses, h.clock()
	if l.Unknown {
		c.pin.asked -= askAgain
	}
	c.held = false
	c.conn.Resume()
	c.deliverNews()
}

// unpin says that the client's server may go. A server that somebody has had for himself is reset before anybody's next use.
func (c *client) unpin() {
	if c.pin == nil {
		return
	}
	s, h := c.server, c.pool.hub
	s.session.Soil()
	s.pool.pool.Unpin(&s.member)
	h.proxy.log.Info("server connection unpinned", claimpool.LogClient, c.number, claimpool.LogPool, c.pool.name(),
		claimpool.LogServer, s.session.PID, claimpool.LogHeld, (h.clock() - c.pin.since).Round(time.Millisecond))
	c.pin = nil
}

// checkPin ends a client that keeps a server for too long without using it.
func (c *client) checkPin() {
	limit := c.pool.db.PinTimeout
	if c.pin == nil || !c.rests() || limit == 0 || c.pool.hub.clock()-c.active <= limit {
		return
	}
	c.pool.counts.PinsTimedOut++
	c.fatal(&claimpool.Error{
		Code: claimpool.CodeIdleSessionTimeout, Message: "terminating connection due to pin timeout",
		Detail: "The connection has kept a server connection without using it: " + c.pin.uses.String() + ".",
		Hint:   "Release what is not in use, or raise pool.pin_timeout.",
	})
}

// follow takes the client's settings as the session has them now. It reports whether the client is still there.
func (c *client) follow(l *trusted.Left) bool {
	s, h := c.server, c.pool.hub
	switch {
	case l.Unknown || c.settings.Foreign():
		s.session.Wiped() // whatever was set goes back
	case len(l.Settings) > maxSettings:
		s.session.Soil()
		c.fatal(&claimpool.Error{
			Code: claimpool.CodeProgramLimitExceeded, Message: "too many settings",
			Detail: "Each setting that a client makes is carried to its next server connections.", Hint: "Use SET LOCAL.",
		})
		return false
	default:
		c.settings = h.intern.Of(c.carried(l.Settings))
		if !s.relay.Wiped() {
			s.session.Observed(c.settings)
		}
		if c.statements != nil {
			c.statements.Rescope(c.scope())
		}
	}
	c.soils = c.soils || l.Role // it does not follow
	return true
}

// maxCustom bounds the names that are remembered of one client.
const maxCustom = maxSettings

// remember keeps the names of settings that PostgreSQL shows in no list, to ask for them by name.
func (c *client) remember(setting string) {
	if strings.Contains(setting, ".") && !trusted.Reserved(setting) && !slices.Contains(c.custom, setting) && len(c.custom) < maxCustom {
		c.custom = append(c.custom, setting)
	}
}

// carried are the settings that go with the client when the session has made some: these, what it has brought, and what it has been
// told last of those that PostgreSQL reports. RESET goes back to what it has brought.
func (c *client) carried(made [][2]string) (list [][2]string) {
	for _, kv := range c.brought.List() {
		if c.pool.reported(kv[0]) == "" {
			list = append(list, kv)
		}
	}
	for _, kv := range c.settings.List() {
		if c.pool.reported(kv[0]) != "" {
			list = append(list, kv)
		}
	}
	for _, kv := range made {
		if !strings.EqualFold(kv[0], contextParameter) {
			list = append(list, kv)
		}
	}
	return list
}
