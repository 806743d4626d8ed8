//go:build !loop_poll

package loop

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uring is a poller that leaves the reading to the kernel: what has arrived is in memory when a round begins, and what a round has
// written leaves at its end, all in one system call.
//
// A connection is in one of two states. Armed, the kernel reads armSize bytes at most, and then disarms; so a connection
// that is paused keeps that much, and the rest stays in the kernel. Disarmed, the loop reads as with epoll, until there is no more.
type uring struct {
	*ring
	loop    *Loop
	wakefd  int
	events  []uringEvent
	used    []uint16 // buffers that came with events
	closing []int    // descriptors to close when the kernel has let go of them
	flight  []*Conn  // whose output the kernel is being given
}

type uringEvent struct {
	fd   int
	gen  uint32
	what happening
}

// armSize is how many bytes the kernel may read for a connection.
const armSize = 32 << 10

// What a completion is about, in its user data: the generation of the connection (32 bits), this (4), its descriptor (28).
const (
	aboutWake   = iota << 28
	aboutRecv   // armed: bytes
	aboutBytes  // armed: there are bytes
	aboutSend   // output was not taken, or not all of it
	aboutSpace  // output would be taken again
	aboutHangup // the peer of a paused connection has closed
	aboutCancel
	aboutMask = 15 << 28
	fdMask    = 1<<28 - 1
)

func about(c *Conn, what uint64) uint64 { return uint64(c.gen)<<32 | what | uint64(c.fd) }

func newUring(l *Loop) (*uring, error) {
	r, err := newRing()
	if err != nil {
		return nil, err
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		r.close()
		return nil, err
	}
	u := &uring{ring: r, loop: l, wakefd: wakefd}
	l.push = u.push
	u.watchWake()
	return u, nil
}

// enable binds the loop to its thread, to which the ring belongs from then on; letGo ends that.
func (u *uring) enable() error {
	runtime.LockOSThread()
	return u.ring.enable()
}

func (u *uring) watchWake() {
	e := u.prepare(opPollAdd, u.wakefd, aboutWake)
	e.opFlags, e.len = unix.POLLIN, pollMultishot
}

// prepare gives an entry for the next enter.
func (u *uring) prepare(opcode uint8, fd int, userData uint64) *sqe {
	if u.full() {
		u.submit()
	}
	e := u.entry()
	e.opcode, e.fd, e.userData = opcode, int32(fd), userData
	return e
}

func (u *uring) add(c *Conn) error {
	u.quiet(c)
	return nil
}

// quiet arms. Who reads much does that better itself: it is only told when to.
func (u *uring) quiet(c *Conn) {
	c.armed = true
	if c.bulk {
		u.prepare(opPollAdd, c.fd, about(c, aboutBytes)).opFlags = unix.POLLIN | unix.POLLRDHUP
		return
	}
	e := u.prepare(opRecv, c.fd, about(c, aboutRecv))
	e.flags, e.ioprio, e.optLen = sqeBufferSelect, recvMultishot, armSize
}

// broken disarms; that makes the connection readable.
func (u *uring) broken(c *Conn) {
	if c.disarming {
		return
	}
	c.disarming = true
	what := uint64(aboutRecv)
	if c.bulk {
		what = aboutBytes
	}
	u.prepare(opCancel, -1, aboutCancel).addr = about(c, what)
}

func (u *uring) paused(c *Conn) {
	if !c.armed && !c.watched && c.flags&hangup == 0 {
		c.watched = true
		u.prepare(opPollAdd, c.fd, about(c, aboutHangup)).opFlags = unix.POLLRDHUP
	}
}

func (u *uring) blocked(c *Conn) {
	if !c.waiting {
		c.waiting = true
		u.prepare(opPollAdd, c.fd, about(c, aboutSpace)).opFlags = unix.POLLOUT
	}
}

// remove closes, at once or when the kernel does nothing for the connection any more: it would hold the socket open.
func (u *uring) remove(c *Conn) {
	if !c.armed && !c.waiting && !c.watched {
		unix.Close(c.fd)
		return
	}
	u.prepare(opCancel, c.fd, aboutCancel).opFlags = cancelAll | cancelFD
	u.closing = append(u.closing, c.fd)
}

// poll ends a round and begins the next.
func (u *uring) poll(d time.Duration) int {
	u.endRound()
	if len(u.closing) > 0 || len(u.events) > 0 {
		d = 0
	}
	first := d
	if d < 0 || d > rawWait {
		first = rawWait // see epoll.poll
	}
	u.send()
	u.enter(first)
	u.collect()
	u.sent()
	u.release()
	if first != d && len(u.events) == 0 && len(u.loop.ready) == 0 {
		u.enter(d)
		u.collect()
	}
	return len(u.events)
}

// push sends what is due in the middle of a round.
func (u *uring) push() {
	u.send()
	u.submit()
	u.collect()
	u.sent()
	u.loop.events = len(u.events)
}

// release closes what the kernel has let go of.
func (u *uring) release() {
	for _, fd := range u.closing {
		unix.Close(fd)
	}
	u.closing = u.closing[:0]
}

// endRound saves what connections have not taken out of the kernel's buffers, and gives these back. Events that push has brought when the
// loop had taken the others are the first ones of the next round.
func (u *uring) endRound() {
	if len(u.used) > 0 {
		for _, ev := range u.events {
			if ev.fd < 0 {
				continue
			}
			if c := u.loop.lookup(ev.fd, ev.gen); c != nil {
				c.keepArrived()
			}
		}
		for _, id := range u.used {
			u.giveBack(id)
		}
		u.used = u.used[:0]
		u.publish()
	}
	u.events = u.events[:copy(u.events, u.events[u.loop.seen:])]
	u.loop.seen = 0
}

// send prepares what connections have to say. The kernel does it at once or not at all, and answers only when it took less than all.
func (u *uring) send() {
	l := u.loop
	for i, c := range l.due {
		l.due[i] = nil
		c.isDue = false
		if c.closed || c.blocked || c.broken || len(c.out) == 0 {
			continue
		}
		e := u.prepare(opSend, c.fd, about(c, aboutSend))
		e.flags = sqeSkipSuccess
		e.addr, e.len = uint64(uintptr(unsafe.Pointer(&c.out[c.sent]))), uint32(len(c.out)-c.sent)
		e.opFlags = unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT | unix.MSG_WAITALL
		u.flight = append(u.flight, c)
	}
	l.due = l.due[:0]
}

// sent is for those of whom the kernel has said nothing.
func (u *uring) sent() {
	for i, c := range u.flight {
		u.flight[i] = nil
		if c.short {
			c.short = false
		} else {
			c.sentSome(len(c.out) - c.sent)
		}
	}
	u.flight = u.flight[:0]
}

// collect takes all completions.
func (u *uring) collect() {
	for {
		q, ok := u.next()
		if !ok {
			return
		}
		switch what := q.userData & aboutMask; what {
		case aboutCancel:
		case aboutWake:
			var drain [8]byte
			unix.Read(u.wakefd, drain[:])
			if q.flags&cqeMore == 0 {
				u.watchWake()
			}
			u.events = append(u.events, uringEvent{fd: -1})
		default:
			fd, gen := int(q.userData&fdMask), uint32(q.userData>>32)
			c := u.loop.lookup(fd, gen)
			if happened := u.complete(c, what, q); c != nil && happened != 0 {
				u.events = append(u.events, uringEvent{fd, gen, happened})
			}
		}
	}
}

// complete tells a connection, or one that has been closed (nil), what the kernel has done for it.
func (u *uring) complete(c *Conn, what uint64, q cqe) happening {
	var b []byte
	if q.flags&cqeBuffer != 0 {
		var id uint16
		id, b = u.chunk(q)
		u.used = append(u.used, id)
	}
	if c == nil {
		return 0
	}
	switch what {
	case aboutRecv:
		return u.received(c, b, q)
	case aboutBytes:
		c.armed, c.disarming = false, false
		return happened(q)
	case aboutSend:
		c.short = true
		c.sentSome(int(q.res))
		return 0
	case aboutSpace:
		return u.room(c, q)
	default: // aboutHangup
		c.watched = false
		if c.armed {
			return 0 // that comes to the end by itself, behind the last bytes
		}
		return happened(q)
	}
}

// happened is what a poll of readability has found.
func happened(q cqe) happening {
	if q.res > 0 && q.res&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
		return readable | hangup
	}
	return readable
}

// room is what a poll of writability has found. A poll is over when the peer has closed its half, though there is no room: one more would be
// over at once. Then a multishot poll tells what becomes of it, as edge-triggered epoll does.
func (u *uring) room(c *Conn, q cqe) happening {
	if q.flags&cqeMore == 0 {
		c.waiting = false
	}
	if q.res <= 0 || q.res&(unix.POLLOUT|unix.POLLHUP|unix.POLLERR) != 0 {
		return writable
	}
	if !c.waiting {
		c.waiting = true
		e := u.prepare(opPollAdd, c.fd, about(c, aboutSpace))
		e.opFlags, e.len = unix.POLLOUT, pollMultishot
	}
	return 0
}

// received is a read of the kernel's.
func (u *uring) received(c *Conn, b []byte, q cqe) happening {
	if len(b) > 0 {
		c.arrive(b)
	}
	if q.flags&cqeMore == 0 {
		c.armed, c.disarming = false, false
	}
	switch {
	case q.res > 0:
		return readable
	case q.res == 0:
		return readable | hangup
	}
	switch errno := syscall.Errno(-q.res); errno {
	case unix.ENOBUFS, unix.ECANCELED, unix.EINTR, unix.EAGAIN:
		return readable
	default:
		c.lost = errno
		return readable | hangup
	}
}

func (u *uring) event(i int) (fd int, gen uint32, what happening) {
	ev := &u.events[i]
	return ev.fd, ev.gen, ev.what
}

func (u *uring) wake() {
	one := [8]byte{1}
	unix.Write(u.wakefd, one[:])
}

func (u *uring) close() {
	u.enter(0)
	u.release()
	u.letGo()
}

// letGo closes what the poller has opened.
func (u *uring) letGo() {
	runtime.UnlockOSThread()
	u.ring.close()
	unix.Close(u.wakefd)
}
