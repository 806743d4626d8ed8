//go:build linux

package load

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// pipe is the connection beneath a tls.Conn. During the handshake it is the socket; afterwards it is memory, so that
// the epoll loop reads and writes the socket itself.
type pipe struct {
	net.Conn
	memory bool
	in     []byte // ciphertext that was read and not yet taken
	out    []byte // ciphertext to be written
}

func (p *pipe) Read(b []byte) (int, error) {
	if !p.memory {
		return p.Conn.Read(b)
	}
	if len(p.in) == 0 {
		return 0, errWait
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	if !p.memory {
		return p.Conn.Write(b)
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

// wait is a net.Error that is temporary: crypto/tls goes on behind it at the next Read.
type wait struct{}

var errWait net.Error = wait{}

func (wait) Error() string   { return "no more ciphertext yet" }
func (wait) Timeout() bool   { return false }
func (wait) Temporary() bool { return true }

// tlsConfig accepts every certificate: the proxy under test has one that was made a moment ago. There is no session
// cache, so that every handshake is a full one.
var tlsConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}

// classicTLS is the same without ML-KEM.
var classicTLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}}

func (c *client) startTLS(o *Options) error {
	if _, err := c.raw.Write(pgmsg.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c.raw, answer[:]); err != nil {
		return err
	}
	if !bytes.Equal(answer[:], []byte("S")) {
		return fmt.Errorf("the answer to SSLRequest is %q", answer)
	}
	c.via = &pipe{Conn: c.raw}
	cfg := tlsConfig
	if o.X25519 {
		cfg = classicTLS
	}
	c.tls = tls.Client(c.via, cfg)
	return c.tls.Handshake()
}

// decrypt hands ciphertext to TLS and every piece of plaintext to use; both may be scratch memory.
func (c *client) decrypt(ciphertext, scratch []byte, use func([]byte) error) error {
	c.via.in = ciphertext
	for {
		n, err := c.tls.Read(scratch)
		if errors.Is(err, errWait) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(scratch[:n]); err != nil {
			return err
		}
	}
}
