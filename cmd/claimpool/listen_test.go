package main

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// hasIPv6 reports whether this machine has the loopback address of IPv6. Containers often have not.
func hasIPv6(t *testing.T) bool {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == netip.IPv6Loopback()
	})
}

// TestListenOnIPv6: clients come in by IPv6, at an address of it and at all interfaces, and their addresses are known as such; and by
// IPv4 at all interfaces, too. A machine without IPv6 says so for an address, and has IPv4 at all interfaces.
func TestListenOnIPv6(t *testing.T) {
	six := hasIPv6(t)
	for _, test := range []struct {
		listen, from string
		works        bool
	}{
		{"[::1]:0", "::1", six}, {":0", "::1", six}, {":0", "127.0.0.1", true}, {"127.0.0.1:0", "127.0.0.1", true},
	} {
		l, err := listenOn(test.listen)
		if err != nil {
			if test.works || test.listen != "[::1]:0" {
				t.Errorf("listen on %s: %v", test.listen, err)
			}
			continue
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c, err := net.Dial("tcp", net.JoinHostPort(test.from, port))
		if (err == nil) != test.works {
			t.Errorf("to %s by %s: %v", test.listen, test.from, err)
		}
		if err == nil {
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got := s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); got.String() != test.from {
				t.Errorf("to %s by %s: the client is %s", test.listen, test.from, got)
			}
			s.Close()
			c.Close()
		}
		l.Close()
	}
}
