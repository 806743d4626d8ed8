package proxy_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/claimpool/claimpool/wire"
)

// TestIdleClients: thousands of clients that do nothing cost no goroutine, and little memory. (bench measures it for 20,000,
// with the kernel's share.)
func TestIdleClients(t *testing.T) {
	const clients = 2000
	f := startPlain(t, nil)
	f.login(t).leave()
	soon(t, "rest", func() bool { return f.Clients() == 0 })
	tests := []struct {
		name   string
		max    int64 // bytes for each
		secure bool
	}{
		{"plain", 1 << 10, false},
		{"TLS", 16 << 10, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			goroutines, before := runtime.NumGoroutine(), heap()
			var fds []int
			defer func() {
				for _, fd := range fds {
					unix.Close(fd)
				}
			}()
			for range clients {
				fds = append(fds, f.idle(t, tt.secure))
			}
			soon(t, "the logins are over", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
			each := (heap() - before) / clients
			t.Logf("%d bytes for each idle client, %d goroutines for all", each, runtime.NumGoroutine()-goroutines)
			if each > tt.max {
				t.Errorf("an idle client costs %d bytes", each)
			}
			if got := f.Clients(); got != clients {
				t.Errorf("%d clients", got)
			}
			one := f.login(t) // among all of them
			one.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			one.leave()
			if !tt.secure { // they are all alive
				for _, fd := range fds {
					ask(t, fd)
				}
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
			fds = nil
			soon(t, "all have left", func() bool { return f.Clients() == 0 })
		})
	}
}

// idle logs in and keeps only the descriptor, so that the client's half costs the test no memory.
func (f *plain) idle(t *testing.T, secure bool) int {
	t.Helper()
	p := f.open(t)
	tcp := p.Conn.(*net.TCPConn)
	defer tcp.Close()
	if secure {
		p.secure(f)
	}
	p.start(wire.Version30, f.role).ready()
	file, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func ask(t *testing.T, fd int) {
	t.Helper()
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())})
	if _, err := unix.Write(fd, wire.AppendQuery(nil, "SELECT 1")); err != nil {
		t.Fatal(err)
	}
	for {
		typ, _, err := wire.ReadMessage(reader(fd), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if typ == wire.MsgReadyForQuery {
			return
		}
	}
}

// reader reads a descriptor that blocks.
type reader int

func (r reader) Read(b []byte) (int, error) {
	n, err := unix.Read(int(r), b)
	switch {
	case err == syscall.EINTR:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
