//go:build !loop_poll

package loop

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll is a poller: edge-triggered, so that a connection is registered once, with all that it will ever wait for, and no event
// costs a second system call.
type epoll struct {
	epfd   int
	wakefd int
	events [maxEvents]unix.EpollEvent
}

const epollInterest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | 1<<31 // EPOLLET

func newEpoll() (*epoll, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &ev); err != nil {
		unix.Close(epfd)
		unix.Close(wakefd)
		return nil, err
	}
	return &epoll{epfd: epfd, wakefd: wakefd}, nil
}

func (p *epoll) add(c *Conn) error {
	// Fd and Pad are the 64 bits that the kernel hands back: the descriptor and which connection it was then.
	ev := unix.EpollEvent{Events: epollInterest, Fd: int32(c.fd), Pad: int32(c.gen)}
	return unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, c.fd, &ev)
}

// remove closes: that takes the socket out of epoll.
func (p *epoll) remove(c *Conn) { unix.Close(c.fd) }

func (p *epoll) enable() error { return nil }

func (p *epoll) quiet(*Conn)   {}
func (p *epoll) paused(*Conn)  {}
func (p *epoll) blocked(*Conn) {}
func (p *epoll) broken(*Conn)  {}

// poll waits. The first moments are a raw system call, which is all that a busy loop needs: a wait that the scheduler
// knows of costs it a look from sysmon, 1,200 times per second and a twentieth of our time. The collector's stop-the-world
// interrupts the raw call by a signal, or waits rawWait for it. After that the wait is one that the scheduler knows of,
// and may last.
func (p *epoll) poll(d time.Duration) int {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	if 0 <= d && d <= rawWait {
		return p.raw(ms)
	}
	if n := p.raw(int(rawWait / time.Millisecond)); n > 0 {
		return n
	}
	n, err := unix.EpollWait(p.epfd, p.events[:], ms)
	if err != nil {
		return 0
	}
	return n
}

const rawWait = 2 * time.Millisecond

func (p *epoll) raw(ms int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.events[0])), maxEvents, uintptr(ms), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (p *epoll) event(i int) (fd int, gen uint32, what happening) {
	ev := &p.events[i]
	if ev.Fd < 0 {
		var drain [8]byte
		unix.Read(p.wakefd, drain[:])
		return -1, 0, 0
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		what |= readable
	}
	if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		what |= hangup
	}
	if ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		what |= writable
	}
	return int(ev.Fd), uint32(ev.Pad), what
}

func (p *epoll) wake() {
	one := [8]byte{1}
	unix.Write(p.wakefd, one[:])
}

func (p *epoll) close() {
	unix.Close(p.epfd)
	unix.Close(p.wakefd)
}

// read and write are raw: the descriptor does not block, so the scheduler need not know. recvfrom and sendto know that they
// have a socket, and skip what read and write do for files.
func read(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	afterRead()
	return int(n), errno
}

func write(fd int, b []byte) (int, syscall.Errno) {
	beforeWrite()
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}
