//go:build !loop_poll

package loop

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func newPoller(l *Loop, kind Kind) (poller, error) {
	l.kind = kind
	switch kind {
	case Auto, IOUring:
		err := works()
		if err == nil {
			var u *uring
			if u, err = newUring(l); err == nil { // it may be one too many, of what a user may lock in memory
				l.kind = IOUring
				return u, nil
			}
		}
		if kind == IOUring {
			return nil, fmt.Errorf("io_uring does not work here (%w): set \"poller\" to auto or epoll", err)
		}
		l.kind, l.why = Epoll, "io_uring does not work here: "+err.Error()
		return newEpoll()
	case Epoll:
		return newEpoll()
	}
	return nil, fmt.Errorf("unknown kind of poller %q", kind)
}

// works says why io_uring cannot be used here, if so: a byte goes through a loop and back.
var works = sync.OnceValue(func() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fds[1])
	l := newLoop()
	u, err := newUring(l)
	if err != nil {
		unix.Close(fds[0])
		return err
	}
	l.poller = u
	entered := make(chan error)
	go func() {
		err := u.enable()
		if err == nil {
			err = u.mayEnter()
		}
		if err != nil {
			u.letGo()
		}
		if entered <- err; err == nil {
			l.run()
		}
	}()
	if err := <-entered; err != nil {
		unix.Close(fds[0])
		return err
	}
	l.Post(func() {
		m := &mirror{}
		if m.c, err = l.Add(fds[0], nil, nil, m, nil); err != nil {
			l.Stop()
		}
	})
	defer l.Post(l.Stop)
	if _, err := unix.Write(fds[1], []byte{1}); err != nil {
		return err
	}
	ready := []unix.PollFd{{Fd: int32(fds[1]), Events: unix.POLLIN}}
	for deadline := time.Now().Add(time.Second); ; {
		left := time.Until(deadline)
		n, err := unix.Poll(ready, max(0, int(left.Milliseconds())))
		if n > 0 || left <= 0 || err != nil && err != unix.EINTR {
			break
		}
	}
	b := make([]byte, 2)
	if n, _ := unix.Read(fds[1], b); n != 1 || b[0] != 1 {
		return errors.New("a byte did not come back")
	}
	return nil
})

// mirror says what it hears.
type mirror struct{ c *Conn }

func (m *mirror) Data(b []byte) int {
	m.c.Write(b)
	return len(b)
}

func (m *mirror) Drained()     {}
func (m *mirror) Hangup()      { m.c.Close() }
func (m *mirror) Closed(error) {}
