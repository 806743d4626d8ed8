package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// meeting joins a Direct and its peer, over TCP or a unix socket, and counts the pauses.
func meeting(t *testing.T, network string) (d *Direct, peer net.Conn, pauses, resumes *atomic.Int32) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	pauses, resumes = new(atomic.Int32), new(atomic.Int32)
	d, err = NewDirect(c, func() { pauses.Add(1) }, func() { resumes.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return d, peer, pauses, resumes
}

// What can be had at once is had without a pause; who waits has one pause, however often it looks.
func TestDirect(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			d, peer, pauses, resumes := meeting(t, network)
			if n, err := d.Read(nil); n != 0 || err != nil {
				t.Errorf("an empty read: %d, %v", n, err)
			}
			got := make(chan string)
			go func() { got <- string(readFull(t, d, 3)) }()
			for pauses.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			if resumes.Load() != 0 {
				t.Error("resumed before there was anything")
			}
			peer.Write([]byte("abcdef"))
			if s := <-got; s != "abc" || pauses.Load() != resumes.Load() {
				t.Errorf("%q, %d pauses, %d resumes", s, pauses.Load(), resumes.Load())
			}
			before := pauses.Load()
			if s := string(readFull(t, d, 3)); s != "def" || pauses.Load() != before {
				t.Errorf("%q, %d pauses, want %d", s, pauses.Load(), before)
			}
			large := bytes.Repeat([]byte("0123456789"), 1<<20)
			sent := make(chan error)
			go func() {
				_, err := d.Write(large)
				sent <- err
			}()
			for pauses.Load() == before {
				time.Sleep(time.Millisecond)
			}
			if b := readFull(t, peer, len(large)); !bytes.Equal(b, large) {
				t.Error("other bytes came out")
			}
			if err := <-sent; err != nil || pauses.Load() != resumes.Load() {
				t.Errorf("%v, %d pauses, %d resumes", err, pauses.Load(), resumes.Load())
			}
			peer.Close()
			if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
		})
	}
}

// Its errors are those of the standard library's connections.
func TestDirectErrors(t *testing.T) {
	d, peer, pauses, resumes := meeting(t, "tcp")
	d.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if pauses.Load() != 1 || resumes.Load() != 1 {
		t.Errorf("%d pauses, %d resumes", pauses.Load(), resumes.Load())
	}
	if _, err := d.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write after the deadline: %v", err)
	}
	sameErrors(t, d)
	d.SetDeadline(time.Time{})
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	sameErrors(t, d)
	d.Close()
	sameErrors(t, d)
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read after the end: %v", err)
	}
	if _, err := d.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := NewDirect(a, nil, nil); err == nil {
		t.Error("a connection without a descriptor was taken")
	}
}

// sameErrors compares what the connection itself says, which must be an error that stays. Reading has used up a reset.
func sameErrors(t *testing.T, d *Direct) {
	t.Helper()
	_, err := d.Write([]byte("x"))
	_, want := d.Conn.Write([]byte("x"))
	if err == nil || want == nil || err.Error() != want.Error() {
		t.Errorf("writing: %v, want %v", err, want)
	}
	if _, err = d.Read(make([]byte, 1)); err == io.EOF {
		return
	}
	if _, want = d.Conn.Read(make([]byte, 1)); err.Error() != want.Error() {
		t.Errorf("reading: %v, want %v", err, want)
	}
}

// What was written before a Write is seen behind the Read that it ends, in both directions; only the race detector can tell.
func TestDirectOrder(t *testing.T) {
	d, peer, _, _ := meeting(t, "tcp")
	var said, heard int
	began := make(chan bool)
	go func() {
		close(began)
		peer.Read(make([]byte, 1))
		heard = said
		peer.Write([]byte("2"))
	}()
	<-began
	said = 7
	d.Write([]byte("1"))
	d.Read(make([]byte, 1))
	if heard != 7 {
		t.Errorf("heard %d", heard)
	}
}
