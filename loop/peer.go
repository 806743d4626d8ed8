package loop

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Peer is where the other end is: address and port, or "@" for a unix socket; empty when the connection is closed. It asks the kernel, and so costs
// nothing but when it is asked for.
func (c *Conn) Peer() string {
	if c.closed {
		return ""
	}
	sa, err := unix.Getpeername(c.fd)
	if err != nil {
		return ""
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)).String()
	}
	return "@"
}
