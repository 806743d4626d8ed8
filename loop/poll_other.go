//go:build unix && (!linux || loop_poll)

package loop

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poll2 is a poller by poll(2): slower with many connections, but the same small interface, so that people can work on systems
// other than Linux. Only Resume shows that the peer of a paused connection has closed its half. The build tag loop_poll
// chooses this poller on Linux too, for tests.
type poll2 struct {
	loop  *Loop
	fds   []unix.PollFd
	gens  []uint32
	fired []int
	wakeR int
	wakeW int
}

func newPoller(l *Loop, kind Kind) (poller, error) {
	if kind != Auto {
		return nil, fmt.Errorf("%s is for Linux only: use poller auto", kind)
	}
	l.kind = "poll"

	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return nil, err
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
	}
	return &poll2{loop: l, wakeR: p[0], wakeW: p[1]}, nil
}

func (p *poll2) enable() error { return nil }

func (p *poll2) add(*Conn) error { return nil }

func (p *poll2) remove(c *Conn) { unix.Close(c.fd) }

func (p *poll2) quiet(*Conn)   {}
func (p *poll2) paused(*Conn)  {}
func (p *poll2) blocked(*Conn) {}
func (p *poll2) broken(*Conn)  {}

func (p *poll2) poll(d time.Duration) int {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	p.fds = append(p.fds[:0], unix.PollFd{Fd: int32(p.wakeR), Events: unix.POLLIN})
	p.gens = append(p.gens[:0], 0)
	for _, c := range p.loop.conns {
		if c == nil || (c.paused && !c.blocked && c.flags&hangup != 0) {
			continue // the last: poll would say "hung up" without end, and the handler has heard it
		}
		var events int16
		if !c.paused {
			events |= unix.POLLIN
		}
		if c.blocked {
			events |= unix.POLLOUT
		}
		p.fds = append(p.fds, unix.PollFd{Fd: int32(c.fd), Events: events})
		p.gens = append(p.gens, c.gen)
	}
	p.fired = p.fired[:0]
	if _, err := unix.Poll(p.fds, ms); err != nil {
		return 0
	}
	for i := range p.fds {
		if p.fds[i].Revents != 0 {
			p.fired = append(p.fired, i)
		}
	}
	return len(p.fired)
}

func (p *poll2) event(i int) (fd int, gen uint32, what happening) {
	k := p.fired[i]
	if k == 0 {
		var drain [64]byte
		unix.Read(p.wakeR, drain[:])
		return -1, 0, 0
	}
	re := p.fds[k].Revents
	if re&(unix.POLLIN|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
		what |= readable
	}
	if re&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
		what |= hangup
	}
	if re&(unix.POLLOUT|unix.POLLHUP|unix.POLLERR) != 0 {
		what |= writable
	}
	return int(p.fds[k].Fd), p.gens[k], what
}

func (p *poll2) wake() { unix.Write(p.wakeW, []byte{1}) }

func (p *poll2) close() {
	unix.Close(p.wakeR)
	unix.Close(p.wakeW)
}

func read(fd int, b []byte) (int, syscall.Errno) { return result(unix.Read(fd, b)) }

func write(fd int, b []byte) (int, syscall.Errno) { return result(unix.Write(fd, b)) }

func result(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return 0, errno
	}
	return 0, syscall.EIO
}
