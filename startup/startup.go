// Package startup reads the first bytes of a stranger: SSLRequest, GSSENCRequest, direct TLS, StartupMessage and
// CancelRequest, and does the TLS handshake on the way. It does not know who the stranger is, nor what it may do.
package startup

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/claimpool/claimpool/wire"
)

// ALPN is the protocol name that PostgreSQL's clients offer in TLS (registered with IANA). Options.TLS should have it in
// NextProtos; direct TLS is refused without it, so that no other protocol's client can be tricked into talking to us
// (the ALPACA attack).
const ALPN = "postgresql"

// newestVersion is the newest protocol version that we speak.
const newestVersion = wire.Version32

// Options say how to greet a stranger.
type Options struct {
	// TLS is offered to the client. nil: SSLRequest is answered with 'N', and direct TLS is refused. PostgreSQL offers no
	// TLS on unix sockets; for these it should be nil.
	TLS *tls.Config

	// Wrap is put around the raw connection before a TLS handshake, and TLS then runs over what it gives; it may be nil.
	Wrap func(net.Conn) net.Conn
}

// Hello is what a stranger said.
type Hello struct {
	// Conn is the connection to go on with: the raw one, or TLS. It is set even when Read failed, because the refusal must
	// go the same way.
	Conn net.Conn
	TLS  *tls.Conn // nil on a plain connection

	// Startup has the version that both sides speak, and the client's parameters without the protocol options (_pq_.…).
	// User and database are set: an absent database means the one with the user's name.
	Startup wire.Startup

	// Negotiate says that NegotiateProtocolVersion must be sent before any other answer; Unknown are the protocol options
	// that it lists.
	Negotiate bool
	Unknown   []string

	Cancel *Cancel // nil unless this was a CancelRequest, and then there is no Startup; it is never answered
}

// Cancel is a CancelRequest: the key of the session whose query is to be cancelled. Nothing is known about its sender.
type Cancel struct {
	PID    uint32
	Secret []byte // 4 to 256 bytes
}

// AppendNegotiation appends NegotiateProtocolVersion to dst when it must be sent, and else nothing.
func (h *Hello) AppendNegotiation(dst []byte) []byte {
	if !h.Negotiate {
		return dst
	}
	return wire.AppendNegotiateProtocolVersion(dst, h.Startup.Version, h.Unknown)
}

// Read greets the stranger on c (protocol, Start-up and SSL Session Encryption). The caller has set a deadline. Read takes
// not a byte more than the start-up packets.
//
// The Hello is never nil. An error that is a *claimpool.Error is to be sent to the client as FATAL on Hello.Conn, behind
// AppendNegotiation. On every other error the connection is closed without a word: the other side went away, was too
// slow, failed in TLS, or does not speak this protocol at all. io.EOF means that it went away without having asked for
// anything, as clients do that only wanted to know whether we have TLS, and port scanners.
func Read(c net.Conn, opts *Options) (*Hello, error) {
	h := &Hello{Conn: c}
	if c == nil || opts == nil {
		return h, errors.New("start-up without a connection or options")
	}
	g := greeter{Hello: h, opts: opts}
	for {
		body, err := g.readPacket()
		if errors.Is(err, errDirectTLS) {
			err = g.directTLS()
			if err != nil {
				return h, err
			}
			continue
		}
		if err != nil {
			return h, err
		}
		more, err := g.packet(body)
		if err != nil || !more {
			return h, err
		}
	}
}

// greeter is the state of one greeting.
type greeter struct {
	*Hello
	opts *Options
	head []byte // the first bytes of the packet at hand, or of TLS

	// Each request may come once. CVE-2026-6479: a client that asked in turn for ever kept its server busy for ever.
	packets         int
	sslDone, gsDone bool
}

// packet handles one packet. more says that another one follows.
func (g *greeter) packet(body []byte) (more bool, err error) {
	code := versionOf(body)
	if !g.sslDone && code == wire.SSLRequestCode || !g.gsDone && code == wire.GSSENCRequestCode {
		if len(body) != 4 {
			return false, invalidLength()
		}
		return true, g.encrypt(code)
	}
	if code == wire.CancelRequestCode {
		return false, g.cancel(body)
	}
	return false, g.startup(body)
}

// encrypt answers a request for encryption. GSSAPI is never offered.
func (g *greeter) encrypt(code uint32) error {
	if code == wire.GSSENCRequestCode {
		g.gsDone = true
		return g.answer('N')
	}
	g.sslDone = true
	if g.opts.TLS == nil {
		return g.answer('N')
	}
	if err := g.answer('S'); err != nil {
		return err
	}
	return g.handshake(nil)
}

func (g *greeter) answer(b byte) error {
	if _, err := g.Conn.Write([]byte{b}); err != nil {
		return fmt.Errorf("answer request for encryption: %w", err)
	}
	return nil
}

// cancel reads a CancelRequest. It is never answered, so its errors are not for the client either.
func (g *greeter) cancel(body []byte) error {
	pid, secret, err := wire.ParseCancel(body)
	if err != nil {
		return fmt.Errorf("cancel request: %v", err)
	}
	g.Cancel = &Cancel{PID: pid, Secret: secret}
	return nil
}
