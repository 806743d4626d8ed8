package loop

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd gives a loop n connections at once, on which early has been said, and the test their other ends.
func crowd(t *testing.T, l *Loop, n int, early string, handler func(i int, c *Conn) Handler) (ends []int, conns []*Conn) {
	t.Helper()
	ends, conns = make([]int, n), make([]*Conn, n)
	theirs := make([]int, n)
	for i := range n {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ends[i], theirs[i] = pair[0], pair[1]
		t.Cleanup(func() { unix.Close(pair[0]) })
		limit := unix.NsecToTimeval(int64(patience))
		unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
		unix.SetNonblock(pair[1], true)
		unix.Write(pair[0], []byte(early))
	}
	do(t, l, func() {
		for i, fd := range theirs {
			h := &late{}
			var err error
			if conns[i], err = l.Add(fd, nil, nil, h, nil); err != nil {
				t.Error(err)
				return
			}
			h.Handler = handler(i, conns[i])
		}
	})
	return ends, conns
}

// More connections than a poller has buffers, or room for orders, speak in one and the same moment, again and again.
func TestACrowdSpeaksAtOnce(t *testing.T) {
	l := start(t)
	ends, _ := crowd(t, l, 1500, "hello", func(_ int, c *Conn) Handler { return echo(c) })
	for i, fd := range ends {
		if got := readFull(t, file(fd), 5); string(got) != "hello" {
			t.Fatalf("connection %d heard %q", i, got)
		}
	}
	for turn := range 3 {
		size := []int{8, 5000, 1}[turn]
		held, goOn := make(chan bool), make(chan bool)
		l.Post(func() { close(held); <-goOn })
		<-held
		for i, fd := range ends {
			words := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size)
			if _, err := unix.Write(fd, words); err != nil {
				t.Fatal(err)
			}
		}
		close(goOn)
		for i, fd := range ends {
			want := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size)
			if got := readFull(t, file(fd), len(want)); !bytes.Equal(got, want) {
				t.Fatalf("turn %d: connection %d heard something else", turn, i)
			}
		}
	}
}

// file reads a descriptor that blocks.
type file int

func (f file) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Connections that end while the loop has nothing else to do are closed for their peers at once, however many they are; also those that
// wait for their peers to take something, and those that are paused.
func TestACrowdIsClosed(t *testing.T) {
	l := start(t)
	ends, conns := crowd(t, l, 300, "", func(i int, c *Conn) Handler {
		switch i % 3 {
		case 0:
			c.Pause()
		case 1:
			c.Write(make([]byte, 1<<20))
		}
		return &hooks{}
	})
	for i := range ends {
		if i%3 == 0 {
			unix.Write(ends[i], make([]byte, 100_000)) // it is not read: that ends the poller's own reading
		}
	}
	do(t, l, func() {
		for _, c := range conns {
			c.Write([]byte("the last words"))
			c.Close()
		}
	})
	for i, fd := range ends {
		got, err := io.ReadAll(file(fd))
		if i%3 == 0 {
			if err != nil && err != unix.ECONNRESET {
				t.Fatalf("connection %d: %v", i, err)
			}
			continue // what it did not read makes the end a reset
		}
		if err != nil || i%3 == 2 && string(got) != "the last words" {
			t.Fatalf("connection %d: %q, %v", i, got, err)
		}
	}
}

// A paused connection keeps a bounded part of what its peer sends; all of it comes after Resume, in order.
func TestPausedConnectionKeepsLittle(t *testing.T) {
	l := start(t)
	var got []byte
	paused := true
	done := make(chan bool)
	const size = 3 << 20
	p := connect(t, l, kinds[0], func(c *Conn) Handler {
		c.Pause()
		return &hooks{data: func(b []byte) int {
			if paused {
				t.Error("was shown something while it was paused")
			}
			if got = append(got, b...); len(got) == size {
				close(done)
			}
			return len(b)
		}}
	})
	sent := make([]byte, size)
	for i := range size / 4 {
		binary.BigEndian.PutUint32(sent[4*i:], uint32(i))
	}
	go p.Write(sent)
	most := 0
	for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); {
		do(t, l, func() { most = max(most, len(p.conn.Kept())+len(p.conn.arrived)) })
	}
	if most > readSize {
		t.Errorf("%d bytes were kept", most)
	}
	do(t, l, func() { paused = false; p.conn.Resume() })
	wait(t, done)
	if !bytes.Equal(got, sent) {
		t.Error("what came is not what was sent")
	}
}

// A client that must wait sends a few bytes; a thousand messages of another one follow.
//
// Must: the first is served what it has sent, and not what another one has.
func TestAttackBytesOfAnother(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		own := bytes.Repeat([]byte("mine "), 30)
		came := make(chan []byte, 1)
		waits := connect(t, l, k, func(c *Conn) Handler {
			c.Pause()
			var got []byte
			return &hooks{data: func(b []byte) int {
				if got = append(got, b...); len(got) >= len(own) {
					came <- got
				}
				return len(b)
			}}
		})
		busy := connect(t, l, k, echo)
		waits.Write(own)
		for range 2 * 1024 {
			busy.Write([]byte("another's "))
			readFull(t, busy, 10)
		}
		do(t, l, waits.conn.Resume)
		if got := wait(t, came); !bytes.Equal(got, own) {
			t.Errorf("was served %q", got)
		}
	})
}

// The peer takes no more, but does not close: the end comes from the writing side alone.
func TestPeerThatStopsListening(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		l := start(t)
		end := make(chan error, 1)
		p := connect(t, l, kinds[1], func(*Conn) Handler {
			return &hooks{closed: func(err error) { end <- err }}
		})
		p.Write([]byte("some words"))
		p.raw.(*net.UnixConn).CloseRead()
		do(t, l, func() { p.conn.Write(make([]byte, size)) })
		if err := wait(t, end); err == nil {
			t.Error("ended without an error")
		}
	}
}

// The kernel takes only a part of what was due at the end of a round.
func TestPartOfWhatWasDue(t *testing.T) {
	l := start(t)
	if l.push == nil {
		return // output leaves at once
	}
	drained := make(chan bool, 1)
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{drained: func() { drained <- true }} })
	do(t, l, func() {
		c := p.conn
		c.Write([]byte("0123456789"))
		if n, errno := write(c.fd, c.out[:4]); n != 4 || errno != 0 {
			t.Errorf("wrote %d, %v", n, errno)
		}
		c.sentSome(4)
		c.Write([]byte("abc"))
	})
	if got := readFull(t, p, 13); string(got) != "0123456789abc" {
		t.Errorf("came: %q", got)
	}
	wait(t, drained)
}

// Small pieces, a round of the loop each, to a peer that takes none for a while: none is lost, doubled, or out of order.
func TestSmallPiecesForAPeerThatDoesNotListen(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		drained := make(chan bool, 1)
		p := connect(t, l, k, func(c *Conn) Handler {
			unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10)
			return &hooks{drained: func() {
				select {
				case drained <- true:
				default:
				}
			}}
		})
		random := rand.New(rand.NewPCG(1, 2))
		var sent []byte
		for range 30 {
			blocked := false
			for !blocked {
				do(t, l, func() {
					if blocked = p.conn.Blocked(); blocked {
						return
					}
					piece := make([]byte, 1+random.IntN(4000))
					for i := range piece {
						piece[i] = byte(random.Uint32())
					}
					sent = append(sent, piece...)
					p.conn.Write(piece)
				})
			}
			if got := readFull(t, p, len(sent)); !bytes.Equal(got, sent) {
				t.Fatal("what came is not what was sent")
			}
			sent = nil
			wait(t, drained)
		}
	})
}

func TestUnknownKind(t *testing.T) {
	if l, err := New("kqueue"); err == nil {
		l.Post(l.Stop)
		l.Run()
		t.Error("there is such a kind")
	}
}
