package loop

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOneByteWritesAreEchoed(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		p := connect(t, start(t), k, echo)
		for i := range 300 {
			if _, err := p.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if b := readFull(t, p, 1); b[0] != byte(i) {
				t.Fatalf("byte %d came back as %d", byte(i), b[0])
			}
		}
	})
}

func TestBytesOfEveryReadSizeArrive(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		p := connect(t, start(t), k, echo)
		random := rand.NewChaCha8([32]byte{1})
		for _, n := range []int{1, 255, 1023, 1024, 1025, 16383, 16384, 16385, readSize - 1, readSize, readSize + 1, 300_000} {
			b := make([]byte, n)
			random.Read(b)
			go p.Write(b)
			if got := readFull(t, p, n); !bytes.Equal(got, b) {
				t.Fatalf("%d bytes came back different", n)
			}
		}
	})
}

// pair joins two connections as the proxy does, with back-pressure, and measures the largest buffer.
type pair struct {
	a, b    *Conn
	largest int
}

// half is the handler of from. full is closed when to has taken no more for the first time.
func (p *pair) half(from, to **Conn, full chan struct{}) *hooks {
	var once sync.Once
	return &hooks{
		data: func(b []byte) int {
			(*to).Write(b)
			p.largest = max(p.largest, cap((*to).out), cap((*from).in))
			if (*to).Blocked() {
				(*from).Pause()
				once.Do(func() { close(full) })
			}
			return len(b)
		},
		drained: func() { (*to).Resume() },
		closed:  func(error) { (*to).Finish() },
	}
}

func TestHugeTransfersBothWaysNeedLittleMemory(t *testing.T) {
	const size = 24 << 20
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		var p pair
		leftFull, rightFull := make(chan struct{}), make(chan struct{})
		left := connect(t, l, k, func(c *Conn) Handler { p.a = c; return p.half(&p.a, &p.b, rightFull) })
		right := connect(t, l, kind{network: "tcp"}, func(c *Conn) Handler { p.b = c; return p.half(&p.b, &p.a, leftFull) })
		var wg sync.WaitGroup
		send := func(w io.Writer, seed byte, sum *[32]byte) {
			h := sha256.New()
			io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{seed}), size)
			h.Sum(sum[:0])
		}
		// A slow reader: it begins when nothing moves any more, and reads in small and uneven pieces.
		receive := func(r io.Reader, full chan struct{}, sum *[32]byte) {
			<-full
			h := sha256.New()
			b := make([]byte, 9000)
			for n, i := 0, 0; n < size; i++ {
				k, err := r.Read(b[:1000+i%8000])
				if err != nil {
					t.Errorf("after %d bytes: %v", n, err)
					return
				}
				h.Write(b[:k])
				n += k
			}
			h.Sum(sum[:0])
		}
		var sums [4][32]byte
		wg.Go(func() { send(left, 1, &sums[0]) })
		wg.Go(func() { send(right, 2, &sums[1]) })
		wg.Go(func() { receive(right, rightFull, &sums[2]) })
		wg.Go(func() { receive(left, leftFull, &sums[3]) })
		wg.Wait()
		if sums[0] != sums[2] || sums[1] != sums[3] {
			t.Error("what arrived is not what was sent")
		}
		do(t, l, func() {
			if p.largest > 128<<10 {
				t.Errorf("a connection held a buffer of %d bytes", p.largest)
			}
		})
	})
}

func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		p := connect(t, l, k, echo)
		go p.Write(make([]byte, 1<<20))
		readFull(t, p, 1<<20)
		do(t, l, func() {
			c := p.conn
			if c.in != nil || c.out != nil || c.tls != nil && (c.tls.carrier.held != nil || c.tls.carrier.in != nil) {
				t.Error("a buffer is held")
			}
		})
	})
}

func TestPeerClosesItsHalf(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		var got bytes.Buffer
		end := make(chan error, 1)
		p := connect(t, l, k, func(c *Conn) Handler {
			return &hooks{
				data:   func(b []byte) int { got.Write(b); return len(b) },
				closed: func(err error) { end <- err },
			}
		})
		text := strings.Repeat("the last words ", 20_000)
		go func() {
			io.WriteString(p, text)
			p.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if err := wait(t, end); err != io.EOF {
			t.Errorf("closed with %v", err)
		}
		if got.String() != text {
			t.Errorf("%d bytes of %d came before the end", got.Len(), len(text))
		}
		do(t, l, func() {
			if p.conn.Open() || l.Len() != 0 {
				t.Error("the connection is still there")
			}
		})
	})
}

func TestTLSThatIsCutOffIsNotAnEnd(t *testing.T) {
	l := start(t)
	end := make(chan error, 1)
	p := connect(t, l, kinds[2], func(*Conn) Handler { return &hooks{closed: func(err error) { end <- err }} })
	p.raw.Close()
	if err := wait(t, end); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("closed with %v", err)
	}
}

func TestReset(t *testing.T) {
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprintf("paused %v", paused), func(t *testing.T) {
			l := start(t)
			end, hung := make(chan error, 1), make(chan struct{}, 2)
			p := connect(t, l, kinds[0], func(c *Conn) Handler {
				if paused {
					c.Pause()
				}
				return &hooks{
					closed: func(err error) { end <- err },
					hangup: func() { hung <- struct{}{}; c.Resume() },
				}
			})
			p.raw.(*net.TCPConn).SetLinger(0)
			p.raw.Close()
			if paused {
				wait(t, hung)
			}
			if err := wait(t, end); err == nil || err == io.EOF {
				t.Errorf("closed with %v", err)
			}
		})
	}
}

func TestLastWordsOfThePeerAreReadAfterAFailedWrite(t *testing.T) {
	l := start(t)
	var got bytes.Buffer
	end := make(chan error, 1)
	p := connect(t, l, kinds[1], func(c *Conn) Handler {
		c.Pause()
		return &hooks{
			data:   func(b []byte) int { got.Write(b); return len(b) },
			closed: func(err error) { end <- err },
		}
	})
	io.WriteString(p, "FATAL: goodbye")
	p.Close()
	do(t, l, func() {
		p.conn.Write([]byte("a request"))
		p.conn.Write([]byte("and one more"))
		if !p.conn.Open() {
			t.Error("Write closed the connection under its caller")
		}
	})
	wait(t, end)
	if got.String() != "FATAL: goodbye" {
		t.Errorf("got %q", got.String())
	}
}

func TestFinishDeliversTheLastWords(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		for _, size := range []int{100, 3 << 20} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				l := start(t)
				words := bytes.Repeat([]byte("x"), size)
				called := make(chan string, 1)
				p := connect(t, l, k, func(c *Conn) Handler {
					return &hooks{
						data: func(b []byte) int {
							c.Write(words)
							c.Finish()
							return 1 // the rest is nobody's business any more
						},
						closed: func(error) { called <- "Closed" },
					}
				})
				// The peer is still sending when the other side closes: a plain close would answer with a reset.
				stop := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					b := make([]byte, 4096)
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := p.Write(b); err != nil {
							return
						}
					}
				})
				got, err := io.ReadAll(p)
				if err != nil || !bytes.Equal(got, words) {
					t.Errorf("%d of %d bytes arrived, %v", len(got), size, err)
				}
				close(stop)
				wg.Wait()
				p.raw.Close()
				waitUntil(t, l, func() bool { return l.Len() == 0 })
				if len(called) > 0 {
					t.Error("the handler was called after Finish")
				}
			})
		}
	})
}

// waitUntil asks in the loop's goroutine until the answer is yes.
func waitUntil(t *testing.T, l *Loop, f func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); ; {
		yes := false
		do(t, l, func() { yes = f() })
		if yes {
			return
		}
		if time.Now().After(until) {
			t.Fatal("it did not happen")
		}
	}
}

func TestFinishGivesUp(t *testing.T) {
	l := start(t)
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{} })
	began := time.Now()
	do(t, l, func() {
		p.conn.Write(make([]byte, 32<<20)) // the peer reads none of it
		p.conn.Finish()
		p.conn.Finish()
	})
	waitUntil(t, l, func() bool { return !p.conn.Open() })
	if d := time.Since(began); d < finishTimeout {
		t.Errorf("it gave up after %v", d)
	}
	do(t, l, func() {
		if len(l.timers) > 1 {
			t.Errorf("%d timers are left", len(l.timers))
		}
	})
}

func TestCloseInsideOfACallbackIsTheEnd(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		calls := 0
		p := connect(t, l, k, func(c *Conn) Handler {
			return &hooks{
				data: func(b []byte) int {
					calls++
					c.Close()
					c.Close()
					c.Write(b)
					c.Finish()
					c.Resume()
					return 0
				},
				closed: func(error) { calls++ },
				hangup: func() { calls++ },
			}
		})
		io.WriteString(p, "a")
		if _, err := p.Read(make([]byte, 1)); err == nil {
			t.Error("the peer has got something")
		}
		do(t, l, func() {
			if calls != 1 || p.conn.Open() || l.Len() != 0 {
				t.Errorf("%d calls, open %v, %d connections", calls, p.conn.Open(), l.Len())
			}
		})
	})
}

func TestManyConnectionsComeAndGo(t *testing.T) {
	l := start(t)
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 15 {
				p := connect(t, l, kinds[(g+i)%len(kinds)], echo)
				for n := 1; n < 40_000; n *= 11 {
					b := bytes.Repeat([]byte{byte(g)}, n)
					go p.Write(b)
					if !bytes.Equal(readFull(t, p, n), b) {
						t.Error("somebody else's bytes")
					}
				}
				if i%2 == 0 {
					p.Close()
				} else {
					do(t, l, p.conn.Close)
				}
			}
		})
	}
	wg.Wait()
	waitUntil(t, l, func() bool { return l.Len() == 0 })
}

func TestAddRefusesMoreThanItCanHold(t *testing.T) {
	l := start(t)
	_, far := sockets(t, "tcp")
	fd, err := Detach(far)
	if err != nil {
		t.Fatal(err)
	}
	do(t, l, func() {
		if _, err := l.Add(fd, nil, nil, &hooks{}, make([]byte, readSize+1)); err == nil {
			t.Error("taken")
		}
	})
}

func TestBytesThatWereReadBeforeComeFirst(t *testing.T) {
	l := start(t)
	near, far := sockets(t, "tcp")
	io.WriteString(near, " world")
	fd, err := Detach(far)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	do(t, l, func() {
		_, err = l.Add(fd, nil, nil, &hooks{data: func(b []byte) int {
			if len(b) < len("hello world") {
				return 0
			}
			got <- string(b)
			return len(b)
		}}, []byte("hello"))
	})
	if s := wait(t, got); err != nil || s != "hello world" {
		t.Errorf("%q, %v", s, err)
	}
}

func TestDetachNeedsADescriptor(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := Detach(a); err == nil {
		t.Error("a pipe in memory has no descriptor")
	}
	if _, err := Detach(tls.Client(a, &tls.Config{ServerName: "x"})); err == nil {
		t.Error("a TLS connection has none either")
	}
}
