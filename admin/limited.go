package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// limited bounds the connections of a listener. When there are too many, one that has proved nothing ends: of the address that has most
// of them, the oldest. While all of them work for somebody who has proved himself, new ones wait.
type limited struct {
	net.Listener
	most int
	free *sync.Cond // a place has come free, or may be taken away; its lock is mu

	mu     sync.Mutex
	all    []*place // the oldest first; guarded by mu
	closed bool     // guarded by mu
}

func newLimited(l net.Listener, most int) *limited {
	own := &limited{Listener: l, most: most}
	own.free = sync.NewCond(&own.mu)
	return own
}

// Accept is part of net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p := &place{Conn: c, limited: l, from: addressOf(c)}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.all) >= l.most && !l.closed {
		if v := l.victim(); v != nil {
			l.mu.Unlock()
			v.Close()
			l.mu.Lock()
			continue
		}
		l.free.Wait()
	}
	if l.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	l.all = append(l.all, p)
	return p, nil
}

// Close is part of net.Listener.
func (l *limited) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.free.Broadcast()
	return l.Listener.Close()
}

// victim gives the connection that ends for a new one; nil when none may. The caller holds mu.
func (l *limited) victim() (v *place) {
	count := map[netip.Prefix]int{}
	for _, p := range l.all {
		if !p.proved {
			count[p.from]++
		}
	}
	for _, p := range l.all {
		if !p.proved && (v == nil || count[p.from] > count[v.from]) {
			v = p
		}
	}
	return v
}

// addressOf says whose a connection is. Whoever has one address of IPv6 has 2^64 of them.
func addressOf(c net.Conn) netip.Prefix {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := a.AddrPort().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // of no address: none
	return p
}

// place is a connection that has one of the places.
type place struct {
	net.Conn
	limited *limited
	from    netip.Prefix
	proved  bool // its request is of somebody who has proved himself; guarded by limited.mu
}

// Close is part of net.Conn.
func (p *place) Close() error {
	err := p.Conn.Close()
	l := p.limited
	l.mu.Lock()
	l.all = slices.DeleteFunc(l.all, func(other *place) bool { return other == p })
	l.mu.Unlock()
	l.free.Broadcast()
	return err
}

func (p *place) prove(is bool) {
	p.limited.mu.Lock()
	p.proved = is
	p.limited.mu.Unlock()
	p.limited.free.Broadcast()
}

// placeKey is where a request finds the place of its connection.
type placeKey struct{}

// proved keeps the connection of a request until the request has been answered: whoever sent it has proved himself.
func proved(r *http.Request) {
	if p, ok := r.Context().Value(placeKey{}).(*place); ok { // not in a server of somebody else's
		p.prove(true)
	}
}
