package auth

import (
	"context"
	"net/netip"
	"sync"
)

// maxAsking is how many logins of one address may wait for somebody else at the same moment: a directory, an API, an issuer, a look-up.
// More wait for their turn, and are refused unseen when the address has failed too often meanwhile. Without it one address could have
// a directory judge as many guesses at once as there are clients, and lock people out there; and take the connections to an API
// from everybody else.
const maxAsking = 32

// gates keep the addresses whose logins ask; the zero gates are empty. There is one for each login that asks, at most.
type gates struct {
	mu   sync.Mutex
	open map[netip.Addr]*gate // under mu
}

type gate struct {
	places chan struct{}
	users  int // under gates.mu: who is inside, or waits
}

// enter waits until a login of an address may ask, or until its time is over: then there is nothing left to ask for.
func (g *gates) enter(ctx context.Context, addr netip.Addr) (leave func()) {
	g.mu.Lock()
	if g.open == nil {
		g.open = map[netip.Addr]*gate{}
	}
	own := g.open[addr]
	if own == nil {
		own = &gate{places: make(chan struct{}, maxAsking)}
		g.open[addr] = own
	}
	own.users++
	g.mu.Unlock()
	inside := false
	select {
	case own.places <- struct{}{}:
		inside = true
	case <-ctx.Done():
	}
	return func() {
		if inside {
			<-own.places
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(g.open, addr)
		}
	}
}
