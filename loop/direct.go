package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Direct is a connection of the standard library, read and written with the loop's own system calls. The runtime takes its
// processor from a goroutine whose system call lasts longer than some 20 µs, and on a busy machine sending to a socket does: that is
// two switches of threads for a call that never blocks.
type Direct struct {
	net.Conn
	in, out way
}

// way is one direction.
type way struct {
	raw    syscall.RawConn
	pause  func()
	resume func()

	mu     sync.Mutex // guards what follows
	b      []byte
	n      int
	errno  syscall.Errno
	paused bool
	try    func(fd uintptr) bool
}

// NewDirect makes one. pause is called before it waits, and resume after that: not for what can be had at once.
func NewDirect(c net.Conn, pause, resume func()) (*Direct, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := &Direct{Conn: c, in: way{raw: raw, pause: pause, resume: resume}, out: way{raw: raw, pause: pause, resume: resume}}
	d.in.try = func(fd uintptr) bool { return d.in.once(read, fd) }
	d.out.try = func(fd uintptr) bool { return d.out.once(write, fd) }
	return d, nil
}

// once calls the kernel once, and says whether that was all.
func (w *way) once(call func(int, []byte) (int, syscall.Errno), fd uintptr) bool {
	w.n, w.errno = call(int(fd), w.b)
	for w.errno == syscall.EINTR {
		w.n, w.errno = call(int(fd), w.b)
	}
	if w.errno == syscall.EAGAIN && !w.paused {
		w.paused = true
		w.pause()
	}
	return w.errno != syscall.EAGAIN
}

// transfer reads or writes once.
func (w *way) transfer(b []byte, name string, wait func(func(uintptr) bool) error) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b, w.paused = b, false
	err := wait(w.try)
	if w.paused {
		w.resume()
	}
	w.b = nil
	switch {
	case err != nil:
		return 0, err
	case w.errno != 0:
		return 0, os.NewSyscallError(name, w.errno)
	}
	return w.n, nil
}

// Read is part of net.Conn.
func (d *Direct) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := d.in.transfer(b, "read", d.in.raw.Read)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, d.opError("read", err)
}

// Write is part of net.Conn.
func (d *Direct) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := d.out.transfer(b[sent:], "write", d.out.raw.Write)
		sent += n
		if err != nil {
			return sent, d.opError("write", err)
		}
	}
	return sent, nil
}

// opError makes an error what the standard library's connection would have given.
func (d *Direct) opError(name string, err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &op): // of the raw connection
		err = op.Err
	}
	local, remote := d.LocalAddr(), d.RemoteAddr()
	return &net.OpError{Op: name, Net: local.Network(), Source: local, Addr: remote, Err: err}
}
