package startup

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// recordTypeHandshake is the first byte of every TLS connection (RFC 8446, section 5.1).
const recordTypeHandshake = 0x16

// directTLS begins TLS without an SSLRequest (protocol, SSL Session Encryption; PostgreSQL 17 and newer).
func (g *greeter) directTLS() error {
	if g.opts.TLS == nil {
		return errors.New("direct TLS, but TLS is off")
	}
	if err := g.handshake(g.head); err != nil {
		return err
	}
	if g.TLS.ConnectionState().NegotiatedProtocol != ALPN {
		return errors.New("received direct SSL connection request without ALPN protocol negotiation extension")
	}
	return nil
}

// handshake does the TLS handshake, and from there on everything runs inside of TLS. head is what was already read of it.
//
// CVE-2021-3935: bytes that came in one segment with SSLRequest were taken for bytes from inside of TLS. Here they cannot
// be: nothing behind SSLRequest has been read, so all of it goes into the handshake, which fails on plain text.
func (g *greeter) handshake(head []byte) error {
	raw := g.Conn
	if g.opts.Wrap != nil {
		raw = g.opts.Wrap(raw)
	}
	if len(head) > 0 {
		raw = &prefixed{Conn: raw, head: head}
	}
	secure := tls.Server(raw, g.opts.TLS)
	if err := secure.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	g.Conn, g.TLS = secure, secure
	g.sslDone, g.gsDone = true, true // no second layer of encryption
	return nil
}

// prefixed is a connection whose first bytes have already been read.
type prefixed struct {
	net.Conn
	head []byte
}

// Read gives the first bytes again, and then those of the connection.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
