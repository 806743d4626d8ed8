package pgtest

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Weather is what a network does to bytes. Chances are of one in so many pieces; zero is never.
type Weather struct {
	Piece int           // the longest that is passed on at once
	Late  int           // the chance that a piece is held back
	Delay time.Duration // for how long at most
	Reset int           // the chance that a connection is reset in place of a piece
}

// Relay passes TCP connections on through bad weather.
type Relay struct {
	net.Listener
	target  string
	weather atomic.Pointer[Weather]
	seed    atomic.Uint64
	down    func(from, to net.Conn) // what servers say
	wg      sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool // guarded by mu
}

// StartRelay listens on loopback and passes on to an address until the test ends. The same seed makes the same weather, as far as
// connections come in the same order.
func StartRelay(t testing.TB, target string, seed uint64) *Relay {
	t.Helper()
	r := &Relay{target: target, open: map[net.Conn]bool{}}
	r.seed.Store(seed)
	r.down = r.pass
	r.start(t)
	return r
}

func (r *Relay) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.Listener = l
	r.weather.Store(&Weather{Piece: 64 << 10})
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for c := range r.open {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
}

// Turn changes the weather, for open connections too.
func (r *Relay) Turn(w Weather) { r.weather.Store(&w) }

func (r *Relay) accept() {
	for {
		from, err := r.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.target)
		if err != nil {
			from.Close()
			continue
		}
		r.mu.Lock()
		r.open[from], r.open[to] = true, true
		r.mu.Unlock()
		r.wg.Go(func() { r.pass(from, to) })
		r.wg.Go(func() { r.down(to, from) })
	}
}

// pass is one direction of a connection; its end is the end of both.
func (r *Relay) pass(from, to net.Conn) {
	seed := r.seed.Add(1)
	chance := rand.New(rand.NewPCG(seed, seed))
	defer r.end(from, to)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			w := r.weather.Load()
			if w.Reset > 0 && chance.IntN(w.Reset) == 0 {
				reset(from)
				reset(to)
				return
			}
			if w.Late > 0 && chance.IntN(w.Late) == 0 {
				<-time.After(time.Duration(chance.Int64N(int64(w.Delay))))
			}
			k := min(len(b), 1+chance.IntN(max(1, w.Piece)))
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
			b = b[k:]
		}
	}
}

func (r *Relay) end(from, to net.Conn) {
	from.Close()
	to.Close()
	r.mu.Lock()
	delete(r.open, from)
	delete(r.open, to)
	r.mu.Unlock()
}

// reset closes a connection so that the peer gets RST.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
