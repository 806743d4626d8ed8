package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handler decides over the bytes of one connection. All of its methods are called in the loop's goroutine.
type Handler interface {
	// Data is shown what was read and says how much of it was used. The rest is kept and shown again, in front of what
	// comes next or after Resume. b is valid during the call only.
	Data(b []byte) (used int)
	// Drained says that all that Write had to leave behind has gone out.
	Drained()
	// Hangup says that the peer has closed the connection, or its half of it, and that the connection is paused: whoever
	// waits for something on the peer's behalf may stop. What the peer has sent before still comes after Resume.
	Hangup()
	// Closed is the end, called once: io.EOF when the peer has closed, another error otherwise. The connection is
	// already closed; it is not called after Close.
	Closed(err error)
}

// happening is what a connection is known to be ready for.
type happening uint8

const (
	readable happening = 1 << iota
	writable
	hangup
)

// gatherSize is how much output is collected before it is written, when the caller allows waiting for more.
const gatherSize = 32 << 10

// maxGatherRounds is how many rounds of a busy loop collected output may wait; in a loop that runs out of events it
// does not wait at all.
const maxGatherRounds = 2

// finishTimeout is how long Finish waits for the peer to take the last bytes and close.
const finishTimeout = 2 * time.Second

var (
	errTooMuch = errors.New("handler left a full buffer unused")
	errClosed  = errors.New("connection is closed")
)

// Conn is one connection of a loop. An idle Conn holds no buffer.
type Conn struct {
	loop    *Loop
	handler Handler
	tls     *transport // nil: plain
	in      []byte     // read, not yet used by the handler
	out     []byte     // written, not yet taken by the kernel
	sent    int        // how much of out the kernel has taken
	arrival            // what the poller reads by itself
	failed  error      // the reading side is over
	fd      int
	gen     uint32 // tells this connection from an earlier one with the same descriptor
	waited  uint8  // rounds that gathered output has waited
	flags   happening
	paused  bool
	queued  bool // in loop.ready
	serving bool // in serve: who resumes it need not queue it
	closed  bool
	broken  bool // the writing side failed: output is thrown away, what the peer said last is still read
	again   bool // the handler wants to see what it has left once more
	more    bool // crypto/tls may hold bytes: there need not be an event before the next read
	blocked bool // the kernel took less than all; Drained is due
	gather  bool // out may wait for more
	isDue   bool // in loop.due
	short   bool // the kernel took less than all that was due
	waiting bool // the poller will say when it takes more
	watched bool // the poller will say when the peer of a paused connection has closed
}

// Add gives a connected socket to the loop. fd must belong to the caller (see Detach); from now on it is the loop's to
// close, also when Add fails. t and carrier are nil for a plain connection. early are bytes, at most a read buffer full,
// that were already read (decrypted) and come first.
func (l *Loop) Add(fd int, t *tls.Conn, carrier *Carrier, h Handler, early []byte) (*Conn, error) {
	if len(early) > readSize {
		unix.Close(fd)
		return nil, errTooMuch
	}
	l.gen++
	c := &Conn{loop: l, fd: fd, gen: l.gen, handler: h}
	if t != nil {
		c.tls = &transport{conn: t, carrier: carrier}
		c.more = true // the handshake may have read more than it needed
		carrier.moveInto(c)
	}
	if len(early) > 0 {
		c.in = append(l.buffers.get(len(early)), early...)
		c.again = true
	}
	if err := l.poller.add(c); err != nil {
		unix.Close(fd)
		c.closed = true
		return nil, err
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	l.count++
	c.flags = readable // bytes may have come before the registration
	l.enqueue(c)
	return c, nil
}

// Loop is the loop that owns the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// Open reports whether the connection is still open.
func (c *Conn) Open() bool { return !c.closed }

// Pause stops reading: what the peer sends stays in the kernel, and the peer is slowed down.
func (c *Conn) Pause() { c.paused = true }

// Resume reads again, beginning with what the handler had left. In Data it means that what is left then is to be shown
// once more.
func (c *Conn) Resume() {
	if c.closed || !c.paused && !c.serving && len(c.in) == 0 {
		return
	}
	c.paused, c.again = false, true
	if !c.serving {
		c.loop.enqueue(c)
	}
}

// Kept is what has been read and not been used yet. It must not be changed, and is valid until the next call of the loop.
func (c *Conn) Kept() []byte { return c.in }

// Discard takes n bytes from the front of what is kept, as if the handler had used them.
func (c *Conn) Discard(n int) {
	if n == 0 {
		return
	}
	c.in = c.in[:copy(c.in, c.in[n:])]
	if len(c.in) == 0 {
		c.loop.buffers.put(c.in)
		c.in = nil
	}
}

// event takes what the kernel said.
func (c *Conn) event(what happening) {
	c.flags |= what
	if what&writable != 0 && c.blocked {
		c.flush()
		if len(c.out) == 0 {
			c.blocked = false
			c.handler.Drained()
		}
	}
	switch {
	case c.closed:
	case c.paused:
		c.loop.poller.paused(c)
		if what&hangup != 0 {
			c.handler.Hangup()
		}
	case what&readable != 0:
		c.serve()
	}
}

// serve reads for a few turns.
func (c *Conn) serve() {
	if c.broken {
		c.paused = false // learn what the peer said before it stopped listening, and end
	}
	if c.paused {
		c.loop.poller.paused(c)
		return
	}
	c.serving = true
	more := true
	for turns := 0; more && turns < maxTurns; turns++ {
		more = c.turn()
	}
	c.serving = false
	if more {
		c.loop.enqueue(c)
	}
}

// turn shows the handler what there is, once; it reports whether there is more to do at once.
func (c *Conn) turn() (more bool) {
	buf := c.loop.buf
	kept := 0
	if len(c.in) > 0 {
		kept = copy(buf, c.in)
		c.loop.buffers.put(c.in)
		c.in = nil
	}
	fresh := c.again && kept > 0
	c.again = false
	n, used := kept, 0
	if kept < len(buf) {
		n += c.read(buf[kept:])
	}
	if n > kept || fresh {
		used = c.handler.Data(buf[:n])
		if c.closed {
			return false
		}
		if used == 0 && n == len(buf) && !c.paused {
			c.failed = errTooMuch
		} else if used < n {
			c.in = append(c.loop.buffers.get(n-used), buf[used:n]...)
		}
	} else if kept > 0 {
		c.in = append(c.loop.buffers.get(kept), buf[:kept]...)
	}
	switch {
	case c.paused:
		c.loop.poller.paused(c)
		if c.flags&hangup != 0 {
			c.handler.Hangup() // the event came before the pause, and there will be no other
		}
		return false
	case c.failed != nil && (used == 0 || !c.more && !(c.again && len(c.in) > 0)): // the handler gets no further
		c.end(c.failed)
		return false
	}
	c.again = c.again && len(c.in) > 0 // there is nothing to show again
	return c.again || c.more || c.flags&readable != 0
}

// read fills b with plain bytes, from the kernel or through TLS.
func (c *Conn) read(b []byte) int {
	switch {
	case c.failed != nil && !c.more:
		return 0
	case c.tls != nil:
		return c.readTLS(b)
	}
	return c.readRaw(b)
}

// readRaw reads once. A short read means that the kernel has no more for now (epoll(7), on edge-triggered streams);
// only a peer that has hung up is read until the end.
func (c *Conn) readRaw(b []byte) int {
	if c.flags&readable == 0 || c.failed != nil {
		return 0
	}
	if n, ok := c.takeArrived(b); ok {
		return n
	}
	for {
		n, errno := read(c.fd, b)
		switch errno {
		case 0:
			if n == 0 {
				c.failed = io.EOF
				c.flags &^= readable
				return 0
			}
			c.bulk = n >= muchSize
			if n < len(b) && c.flags&hangup == 0 {
				c.flags &^= readable
				c.loop.poller.quiet(c)
			}
			return n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			c.flags &^= readable
			if c.broken {
				c.failed = errClosed
			} else {
				c.loop.poller.quiet(c)
			}
			return 0
		default:
			c.failed = errno
			c.flags &^= readable
			return 0
		}
	}
}

// end closes the connection and tells its handler.
func (c *Conn) end(err error) {
	h := c.handler
	c.Close()
	h.Closed(err)
}

// Close closes the connection at once; output that waits is lost and the handler is not called any more.
func (c *Conn) Close() {
	if c.closed {
		return
	}
	c.settle()
	if c.tls != nil && !c.broken && len(c.out) == 0 {
		c.tls.conn.CloseWrite() // close_notify, if the kernel takes it
		c.settle()
	}
	l := c.loop
	c.closed = true
	l.poller.remove(c)
	l.conns[c.fd] = nil
	l.count--
	c.dropArrived()
	l.buffers.put(c.in)
	l.buffers.put(c.out)
	c.in, c.out = nil, nil
	if c.tls != nil {
		l.buffers.put(c.tls.carrier.held)
		c.tls.carrier.in, c.tls.carrier.held = nil, nil
	}
}

// Finish sends what is left and closes in an orderly way: the last words (an error message) reach a peer that is still
// sending, which a plain close would answer with a reset. The handler is not called any more.
func (c *Conn) Finish() {
	if c.closed {
		return
	}
	f := &finisher{c: c}
	f.timer = c.loop.After(finishTimeout, c.Close)
	c.handler = f
	c.gather = false
	if len(c.out) > 0 {
		c.flush()
	}
	if c.closed {
		return
	}
	if len(c.out) == 0 {
		f.Drained()
	}
	c.Resume()
}

// finisher throws away what still comes in, until the peer closes.
type finisher struct {
	c     *Conn
	timer *Timer
}

func (f *finisher) Data(b []byte) int { return len(b) }

func (f *finisher) Drained() {
	if f.c.tls != nil {
		f.c.tls.conn.CloseWrite()
		f.c.settle()
	}
	unix.Shutdown(f.c.fd, unix.SHUT_WR)
}

func (f *finisher) Hangup() {}

func (f *finisher) Closed(error) { f.timer.Stop() }
