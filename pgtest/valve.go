package pgtest

import (
	"net"
	"sync"
	"testing"
)

// Valve passes TCP connections on, and lets what servers say through as a test wants it: so that a message arrives in two pieces,
// and something happens between them.
type Valve struct {
	Relay
	turned *sync.Cond // its lock guards what follows
	closed bool
	pipes  map[*pipe]bool
}

// pipe is what one server says.
type pipe struct {
	kept  []byte
	let   int // bytes of kept that may go
	ended bool
}

// StartValve listens on loopback and passes on to an address until the test ends. The valve is open.
func StartValve(t testing.TB, target string) *Valve {
	t.Helper()
	v := &Valve{turned: sync.NewCond(&sync.Mutex{}), pipes: map[*pipe]bool{}}
	v.Relay.target, v.Relay.open = target, map[net.Conn]bool{}
	v.down = v.drip
	v.start(t)
	t.Cleanup(v.Open) // before the relay waits for all to end
	return v
}

// Shut holds back what servers say from now on.
func (v *Valve) Shut() { v.turn(func() { v.closed = true }) }

// Open lets everything through again.
func (v *Valve) Open() { v.turn(func() { v.closed = false }) }

// Kept is what is held back. There must be one server with something to say.
func (v *Valve) Kept() (b []byte) {
	v.turn(func() {
		for p := range v.pipes {
			b = append(b, p.kept...)
		}
	})
	return b
}

// Let lets so many bytes of it through, in one piece.
func (v *Valve) Let(n int) {
	v.turn(func() {
		for p := range v.pipes {
			p.let = min(n, len(p.kept))
		}
	})
}

func (v *Valve) turn(change func()) {
	v.turned.L.Lock()
	defer v.turned.L.Unlock()
	change()
	v.turned.Broadcast()
}

// drip is the direction from a server.
func (v *Valve) drip(from, to net.Conn) {
	defer v.end(from, to)
	p := &pipe{}
	v.turn(func() { v.pipes[p] = true })
	v.wg.Go(func() {
		buf := make([]byte, 64<<10)
		for err := error(nil); err == nil; {
			var n int
			n, err = from.Read(buf)
			v.turn(func() { p.kept, p.ended = append(p.kept, buf[:n]...), err != nil })
		}
	})
	for b := v.next(p); b != nil; b = v.next(p) {
		if _, err := to.Write(b); err != nil {
			break
		}
	}
	from.Close()
	v.turn(func() { delete(v.pipes, p) })
}

// next waits for something that may go; nil is the end.
func (v *Valve) next(p *pipe) []byte {
	v.turned.L.Lock()
	defer v.turned.L.Unlock()
	for {
		n := p.let
		if !v.closed {
			n = len(p.kept)
		}
		if n > 0 {
			b := p.kept[:n:n]
			p.kept, p.let = p.kept[n:], 0
			return b
		}
		if p.ended && len(p.kept) == 0 {
			return nil
		}
		v.turned.Wait()
	}
}
