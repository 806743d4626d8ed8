package proxy

import (
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
)

// Revocations say which clients have been signed out. *revocation.Set is one.
type Revocations interface {
	// Generation changes with each revocation that is new.
	Generation() uint64

	// SignedOut reports whether a client that logged in at a moment with a proof has to go.
	SignedOut(p *claimpool.Proof, login time.Time) bool
}

var errSignedOut = &claimpool.Error{
	Code: claimpool.CodeInvalidAuthorization, Message: "you have been signed out", Hint: "Connect again with a new token.",
}

// SignOut ends the clients that have been signed out. It is for whoever has added a revocation, and returns at once.
func (p *Proxy) SignOut() {
	for _, h := range p.hubs {
		h.loop.Post(h.signOut)
	}
	p.endStreams(errSignedOut.Message, (*stream).signedOut)
	p.endGuests((*guest).check)
}

// signOut looks at all clients again when somebody has been signed out since it last did. Clients that come later are looked at
// when they are adopted: nobody slips through in between.
func (h *hub) signOut() {
	if !h.outdated() {
		return
	}
	h.generation = h.proxy.revoked.Generation()
	for i := len(h.clients) - 1; i >= 0; i-- {
		if i < len(h.clients) { // one client's end may be another's
			h.clients[i].signOut()
		}
	}
	for _, s := range h.finishing {
		if s.state == finishing && s.former.signedOut() {
			s.retireBusy(pool.LeftInQuery)
		}
	}
}

// outdated reports whether somebody has been signed out whom this hub does not know of. It is asked before each transaction: one
// read of a number.
func (h *hub) outdated() bool {
	return h.proxy.revoked != nil && h.proxy.revoked.Generation() != h.generation
}

// signOut ends a client that has been signed out, and reports whether it did. An open transaction is rolled back and a running
// statement cancelled, what it has asked for before a goodbye included.
func (c *client) signOut() bool {
	if c.state == left || !c.signedOut() {
		return false
	}
	c.leaving = false
	c.fatal(errSignedOut)
	return true
}

func (c *client) signedOut() bool {
	h := c.pool.hub
	return h.proxy.revoked != nil && h.proxy.revoked.SignedOut(&c.identity.Proof, h.born.Add(c.since))
}
