package startup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
)

// The PROXY protocol (HAProxy, "The PROXY protocol", versions 1 and 2): a load balancer says in front of everything else whose
// connection it passes on.
const (
	originV2  = "\r\n\r\n\x00\r\nQUIT\n"
	maxOrigin = 107 // the longest line of version 1, with its end

	// maxOriginBody bounds version 2: 216 bytes of addresses, and what balancers add about themselves. The attack is a balancer
	// that has been taken over, or an address that should not be on the list.
	maxOriginBody = 2 << 10
)

var errOrigin = errors.New("the load balancer's connection does not begin with a header of the PROXY protocol")

// ReadOrigin reads the header of the PROXY protocol, either version, and not a byte more. The result is not valid when the
// balancer speaks for itself (a health check, LOCAL), or does not know whose connection it is (UNKNOWN, UNSPEC): then the connection's own
// address counts. itself says which of the two it is. Who may send such a header is the caller's to decide: it is believed.
func ReadOrigin(c net.Conn) (origin netip.AddrPort, itself bool, err error) {
	head := make([]byte, len(originV2), maxOrigin)
	if _, err := io.ReadFull(c, head); err != nil {
		return netip.AddrPort{}, false, err
	}
	if string(head) == originV2 {
		return readOriginV2(c)
	}
	if !bytes.HasPrefix(head, []byte("PROXY ")) {
		return netip.AddrPort{}, false, errOrigin
	}
	for !bytes.HasSuffix(head, []byte("\r\n")) {
		if len(head) == maxOrigin {
			return netip.AddrPort{}, false, errOrigin
		}
		head = head[:len(head)+1]
		if _, err := io.ReadFull(c, head[len(head)-1:]); err != nil {
			return netip.AddrPort{}, false, err
		}
	}
	origin, err = parseOriginV1(strings.TrimSuffix(string(head), "\r\n"))
	return origin, false, err
}

// parseOriginV1 reads "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443".
func parseOriginV1(line string) (netip.AddrPort, error) {
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 || (f[1] != "TCP4" && f[1] != "TCP6") {
		return netip.AddrPort{}, errOrigin
	}
	from, err := netip.ParseAddrPort(net.JoinHostPort(f[2], f[4]))
	to, err2 := netip.ParseAddrPort(net.JoinHostPort(f[3], f[5]))
	v4 := f[1] == "TCP4"
	if err != nil || err2 != nil || from.Addr().Is4() != v4 || to.Addr().Is4() != v4 || from.Addr().Zone() != "" {
		return netip.AddrPort{}, errOrigin
	}
	return from, nil
}

// readOriginV2 reads what follows the signature.
func readOriginV2(c net.Conn) (origin netip.AddrPort, itself bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return netip.AddrPort{}, false, err
	}
	command, family, n := head[0], head[1], int(binary.BigEndian.Uint16(head[2:]))
	if command>>4 != 2 || command&0xf > 1 || n > maxOriginBody {
		return netip.AddrPort{}, false, errOrigin
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		return netip.AddrPort{}, false, err
	}
	local := command&0xf == 0
	switch {
	case local || family == 0: // LOCAL, or UNSPEC
		return netip.AddrPort{}, local, nil
	case family == 0x11 && n >= 12: // TCP over IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])), false, nil
	case family == 0x21 && n >= 36: // TCP over IPv6
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)), binary.BigEndian.Uint16(body[32:])), false, nil
	}
	return netip.AddrPort{}, false, errOrigin
}
