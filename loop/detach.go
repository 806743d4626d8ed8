package loop

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Detach takes the descriptor out of a connection that the standard library has served so far and closes the
// connection object: from now on only the caller reads and writes, without blocking.
func Detach(c net.Conn) (fd int, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1, errors.New("connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	var dupErr error
	if err := raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, dupErr
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	// Closing takes the old descriptor out of the runtime's own poller; the socket lives on in fd.
	if err := c.Close(); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
