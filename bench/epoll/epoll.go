//go:build linux

// Package epoll is the thinnest possible layer over epoll and non-blocking sockets, so that the tools around the proxy
// cost less than the proxy.
//
// It does not know what the bytes mean.
package epoll

import (
	"syscall"
	"unsafe"
)

// Poll is one epoll instance; it belongs to one goroutine.
type Poll struct {
	fd     int
	events [256]syscall.EpollEvent
}

// New makes an epoll instance.
func New() (*Poll, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Poll{fd: fd}, nil
}

// Close releases the instance.
func (p *Poll) Close() error { return syscall.Close(p.fd) }

// Add watches a descriptor for input, level-triggered.
func (p *Poll) Add(fd int) error {
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// WatchOutput waits for room to write instead of for input (on), or for input again (off).
func (p *Poll) WatchOutput(fd int, on bool) error {
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if on {
		e.Events = syscall.EPOLLOUT
	}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd, &e)
}

// rawWait is how long, in milliseconds, Wait does not tell the scheduler that it waits. Its attention would cost the load
// and the fake server a tenth of their core, which the proxy between them could not use.
const rawWait = 2

// Wait returns the descriptors that have something to do; timeout is in milliseconds, -1 means for ever.
func (p *Poll) Wait(timeout int) ([]syscall.EpollEvent, error) {
	short := rawWait
	if timeout >= 0 {
		short = min(timeout, rawWait)
	}
	r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(short), 0, 0)
	if errno == 0 && (r > 0 || short == timeout) {
		return p.events[:r], nil
	}
	n, err := syscall.EpollWait(p.fd, p.events[:], timeout)
	if err == syscall.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p.events[:n], nil
}

// Read reads from a non-blocking descriptor without telling the scheduler: it cannot block.
// n is 0 at the end of the stream.
func Read(fd int, b []byte) (n int, errno syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(r), e
}

// Write writes to a non-blocking descriptor as much as it takes now.
func Write(fd int, b []byte) (n int, errno syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e == syscall.EAGAIN {
		return 0, 0
	}
	return int(r), e
}
