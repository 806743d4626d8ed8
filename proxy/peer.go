package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf is the number of the user whose process has connected to a unix socket (unix(7), SO_PEERCRED); nil when it is not known.
func peerOf(c net.Conn) *uint32 {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || failed != nil {
		return nil
	}
	return &cred.Uid
}
