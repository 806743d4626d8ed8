package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// storm is how long the storm lasts. STORM=5m lengthens it.
func storm(t *testing.T) time.Duration {
	d, err := time.ParseDuration(os.Getenv("STORM"))
	if err != nil && os.Getenv("STORM") != "" {
		t.Fatal(err)
	}
	return max(d, 2*time.Second)
}

// A loop joins connections in pairs, as a proxy does: plain ones and some with TLS; with pieces of all sizes, that are used in part, now
// or later; with readers that stop for a while; with ends of all kinds, between two bytes. What arrives is what was sent on the other side of the
// same pair, all of it and in order, unless the pair was torn apart.
func TestStorm(t *testing.T) {
	l := start(t)
	w := &weather{l: l, listeners: map[string]net.Listener{}}
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		w.listeners[network] = ln
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	var count, torn int
	var mu sync.Mutex
	for i, until := 0, time.Now().Add(storm(t)); i < 150; i++ {
		all.Go(func() {
			for n := 0; !t.Failed() && time.Now().Before(until); n++ {
				p := &couple{w: w, id: uint64(i)<<32 | uint64(n), random: rand.New(rand.NewPCG(seed, uint64(i)<<32|uint64(n)))}
				if err := p.live(); err != nil {
					t.Errorf("pair %d of row %d: %v", n, i, err)
				}
				mu.Lock()
				if count++; p.tear != none {
					torn++
				}
				mu.Unlock()
			}
		})
	}
	do(t, l, w.gust)
	all.Wait()
	do(t, l, func() { w.over = true })
	t.Logf("%d pairs, %d of them torn", count, torn)
	waitUntil(t, l, func() bool { return l.Len() == 0 })
	do(t, l, func() {
		if w.most > 4*readSize {
			t.Errorf("%d bytes waited for one connection", w.most)
		}
	})
}

type weather struct {
	l         *Loop
	mu        sync.Mutex
	listeners map[string]net.Listener
	most      int // bytes that waited for one connection
	over      bool
	sides     []*side // of the loop
}

// gust stops all connections at once, and then lets all of them go on: what has come meanwhile comes in one and the same round.
func (w *weather) gust() {
	w.sides = slices.DeleteFunc(w.sides, func(s *side) bool { return !s.c.Open() || s.c.handler != Handler(s) })
	for _, s := range w.sides {
		s.c.Pause()
	}
	w.l.After(3*time.Millisecond, func() {
		for _, s := range w.sides {
			s.goOn()
		}
		if !w.over {
			w.l.After(10*time.Millisecond, w.gust)
		}
	})
}

// tear is how a pair ends before its time.
type tear int

const (
	none tear = iota
	reset
	closed
	closedInLoop
	tears
)

type couple struct {
	w      *weather
	id     uint64
	random *rand.Rand // of live, and then of the loop
	sides  [2]*side
	tear   tear
	words  []byte // the last ones
}

// side is a connection of the loop, and its other end.
type side struct {
	p     *couple
	c     *Conn
	other *side
	far   net.Conn // TLS or plain
	raw   net.Conn
	size  int // bytes that come from the far end
	chaos *rand.Rand
	seed  [32]byte
}

var errTorn = errors.New("torn")

// live is the life of a pair.
func (p *couple) live() error {
	r := p.random
	if r.IntN(4) == 0 {
		p.tear = tear(1 + r.IntN(int(tears)-1))
	}
	if p.tear == none {
		p.words = bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(20_000))
	}
	for i := range p.sides {
		s := &side{p: p, size: 1 + r.IntN([]int{500, 10_000, 100_000, 1_000_000}[r.IntN(4)]), chaos: rand.New(rand.NewPCG(r.Uint64(), 1))}
		s.seed[0], s.seed[1] = byte(p.id), byte(p.id>>32)
		s.seed[2], s.seed[3] = byte(p.id>>8), byte(i)
		p.sides[i] = s
	}
	a, b := p.sides[0], p.sides[1]
	a.other, b.other = b, a
	for _, s := range p.sides {
		if err := s.connect(); err != nil {
			return err
		}
		defer s.raw.Close()
	}
	p.inLoop(func() { // both are there
		p.w.sides = append(p.w.sides, a, b)
		a.c.Resume()
		b.c.Resume()
	})
	results := make(chan error, 4)
	for _, s := range p.sides {
		writes, reads := rand.New(rand.NewPCG(r.Uint64(), 2)), rand.New(rand.NewPCG(r.Uint64(), 3))
		go func() { results <- s.speak(writes) }()
		go func() { results <- s.listen(reads) }()
	}
	if p.tear != none {
		<-time.After(time.Duration(r.IntN(20_000)) * time.Microsecond)
		p.tearApart()
	}
	var err error
	for range 4 {
		if e := <-results; err == nil && (p.tear == none || e != nil && !errors.Is(e, errTorn)) {
			err = e
		}
	}
	if err != nil || p.tear != none {
		return err
	}
	return p.end()
}

func (p *couple) inLoop(f func()) {
	done := make(chan struct{})
	p.w.l.Post(func() { defer close(done); f() })
	<-done
}

func (p *couple) tearApart() {
	s := p.sides[0]
	switch p.tear {
	case reset:
		if tcp, ok := s.raw.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		s.raw.Close()
	case closed:
		s.raw.Close()
	default:
		p.inLoop(func() { s.c.Close(); s.other.c.Close() })
	}
}

// end closes one end, half or whole; the other one hears the last words.
func (p *couple) end() error {
	a, b := p.sides[0], p.sides[1]
	if half, ok := a.far.(interface{ CloseWrite() error }); ok && p.id%2 == 0 {
		half.CloseWrite()
	} else {
		a.far.Close()
	}
	got, err := io.ReadAll(b.far)
	if err != nil || !bytes.Equal(got, p.words) {
		return fmt.Errorf("%d last bytes of %d, %v", len(got), len(p.words), err)
	}
	return nil
}

// connect makes the connection, paused.
func (s *side) connect() error {
	r := s.p.random
	network := []string{"tcp", "unix"}[r.IntN(2)]
	near, err := s.p.w.dial(network, s)
	if err != nil {
		return err
	}
	var secured *tls.Conn
	var carrier *Carrier
	if r.IntN(3) == 0 {
		carrier = NewCarrier(near)
		server, client := configs()()
		server.MaxVersion, client.MinVersion = []uint16{tls.VersionTLS12, tls.VersionTLS13}[r.IntN(2)], tls.VersionTLS12
		secured = tls.Server(carrier, server)
		done := make(chan error, 1)
		go func() { done <- secured.Handshake() }()
		c := tls.Client(s.raw, client)
		if err := errors.Join(c.Handshake(), <-done); err != nil {
			return err
		}
		s.far = c
	}
	fd, err := Detach(near)
	if err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10)
	}
	s.p.inLoop(func() {
		if s.c, err = s.p.w.l.Add(fd, secured, carrier, s, nil); err == nil {
			s.c.Pause()
		}
	})
	return err
}

func (w *weather) dial(network string, s *side) (near net.Conn, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ln := w.listeners[network]
	if s.raw, err = net.Dial(network, ln.Addr().String()); err != nil {
		return nil, err
	}
	s.far = s.raw
	s.raw.SetDeadline(time.Now().Add(patience))
	return ln.Accept()
}

// speak sends what belongs to this end.
func (s *side) speak(r *rand.Rand) error {
	stream := rand.NewChaCha8(s.seed)
	for left := s.size; left > 0; {
		piece := make([]byte, min(left, 1+r.IntN([]int{50, 5_000, 5_000, 100_000}[r.IntN(4)])))
		stream.Read(piece)
		if _, err := s.far.Write(piece); err != nil {
			return s.lost(err)
		}
		left -= len(piece)
		rest(r)
	}
	return nil
}

// listen takes what belongs to the other end.
func (s *side) listen(r *rand.Rand) error {
	stream := rand.NewChaCha8(s.other.seed)
	for left := s.other.size; left > 0; {
		got := make([]byte, min(left, 1+r.IntN([]int{50, 5_000, 100_000}[r.IntN(3)])))
		n, err := s.far.Read(got)
		want := make([]byte, n)
		stream.Read(want)
		if !bytes.Equal(got[:n], want) {
			return fmt.Errorf("%d bytes before the end of %d, %d bytes are not those that were sent", left, s.other.size, n)
		}
		if left -= n; left > 0 && err != nil {
			return s.lost(fmt.Errorf("%d bytes before the end of %d: %w", left, s.other.size, err))
		}
		rest(r)
	}
	return nil
}

func rest(r *rand.Rand) {
	if r.IntN(10) == 0 {
		<-time.After(time.Duration(r.IntN(3_000)) * time.Microsecond)
	}
}

func (s *side) lost(err error) error {
	if s.p.tear != none && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	return err
}

// Data gives to the other side, now or later.
func (s *side) Data(b []byte) int {
	n := len(b)
	if s.chaos.IntN(6) == 0 {
		n = 1 + s.chaos.IntN(n)
	}
	if to := s.other.c; s.chaos.IntN(3) == 0 {
		to.WriteSoon(b[:n])
	} else {
		to.Write(b[:n])
	}
	s.p.w.most = max(s.p.w.most, s.other.c.Unsent())
	switch {
	case s.other.c.Blocked():
		s.c.Pause()
	case s.chaos.IntN(10) == 0:
		s.c.Pause()
		s.c.Loop().After(time.Duration(s.chaos.IntN(2_000))*time.Microsecond, s.goOn)
	case n < len(b):
		s.c.Resume()
	}
	return n
}

func (s *side) goOn() {
	if !s.other.c.Blocked() {
		s.c.Resume()
	}
}

func (s *side) Drained() { s.other.c.Resume() }

func (s *side) Hangup() {
	if s.chaos.IntN(2) == 0 {
		s.c.ReadAhead()
	}
}

// Closed ends the other side, with some last words.
func (s *side) Closed(error) {
	s.other.c.Write(s.p.words)
	s.other.c.Finish()
}
