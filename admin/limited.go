package admin

import (
	"net"
	"slices"
	"sync"
)

// limited bounds the connections of a listener.
type limited struct {
	net.Listener
	places    chan struct{}
	makesRoom bool // the oldest connection ends when there is no place; else new ones wait

	mu  sync.Mutex
	all []*place // the oldest first; guarded by mu
}

// Accept is part of net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	default:
		if l.makesRoom {
			l.makeRoom()
		}
		l.places <- struct{}{}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	p := &place{Conn: c, limited: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, p)
	return p, nil
}

func (l *limited) makeRoom() {
	l.mu.Lock()
	all := slices.Clone(l.all)
	l.mu.Unlock()
	if len(all) > 0 {
		all[0].Close()
	}
}

// place is a connection that has one of the places.
type place struct {
	net.Conn
	limited *limited
	once    sync.Once
}

// Close is part of net.Conn.
func (p *place) Close() error {
	defer p.once.Do(func() {
		l := p.limited
		l.mu.Lock()
		l.all = slices.DeleteFunc(l.all, func(other *place) bool { return other == p })
		l.mu.Unlock()
		<-l.places
	})
	return p.Conn.Close()
}
