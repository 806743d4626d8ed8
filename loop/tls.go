package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// A TLS connection speaks crypto/tls in both of its lives. During login it reads and writes a socket and blocks; in the
// loop it reads from memory, and a Read that finds none answers with a temporary error, after which crypto/tls goes on
// where it stopped. The Carrier stands between the two.

// corkSize is the size of a write that may make more than one TLS record (crypto/tls begins a connection with records of
// about 1,100 bytes): those are collected and sent together.
const corkSize = 1 << 10

// maxOwed is how many bytes of its own crypto/tls may have left to say to a peer that takes none, since it last took all: a peer may ask
// for new keys as often as it likes, each time for an answer (RFC 8446, section 4.6.3).
const maxOwed = 16 << 10

var errOwed = errors.New("the peer does not take the answers of TLS that it asks for")

// recordOverhead is more than what TLS adds to a write of n bytes.
func recordOverhead(n int) int { return 512 + n/8 }

// Carrier is the connection below crypto/tls: first a socket, then, once the loop has it, memory.
type Carrier struct {
	net.Conn        // the socket, during login
	c        *Conn  // the loop's connection, after it
	in       []byte // records read, not yet taken by crypto/tls
	held     []byte // the buffer behind in, when it belongs to this carrier
	owed     int    // see maxOwed
	cork     bool
	reading  bool // what is written now is the answer of TLS to what it reads
}

// NewCarrier wraps a socket, before its TLS handshake.
func NewCarrier(c net.Conn) *Carrier { return &Carrier{Conn: c} }

func (k *Carrier) moveInto(c *Conn) {
	k.c = c
	k.Conn = nil
}

// Read is for crypto/tls.
func (k *Carrier) Read(b []byte) (int, error) {
	if k.c == nil {
		return k.Conn.Read(b)
	}
	if len(k.in) == 0 {
		return 0, wouldBlock{}
	}
	n := copy(b, k.in)
	k.in = k.in[n:]
	return n, nil
}

// Write is for crypto/tls.
func (k *Carrier) Write(b []byte) (int, error) {
	if k.c == nil {
		return k.Conn.Write(b)
	}
	c := k.c
	if c.closed {
		return 0, errClosed
	}
	if k.reading {
		if k.owed += len(b); len(c.out) == 0 {
			k.owed = 0
		}
		if k.owed > maxOwed {
			return 0, errOwed
		}
	}
	if k.cork {
		c.out = append(c.loop.buffers.grow(c.out, len(b)), b...)
	} else {
		c.writeRaw(b)
	}
	return len(b), nil
}

// Close is for crypto/tls: in the loop, the descriptor is the loop's to close.
func (k *Carrier) Close() error {
	if k.c == nil {
		return k.Conn.Close()
	}
	return nil
}

// SetDeadline has a meaning only during login; in the loop nothing blocks.
func (k *Carrier) SetDeadline(t time.Time) error {
	if k.c == nil {
		return k.Conn.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is SetDeadline for reading.
func (k *Carrier) SetReadDeadline(t time.Time) error {
	if k.c == nil {
		return k.Conn.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is SetDeadline for writing.
func (k *Carrier) SetWriteDeadline(t time.Time) error {
	if k.c == nil {
		return k.Conn.SetWriteDeadline(t)
	}
	return nil
}

// wouldBlock is the answer of a carrier without bytes. crypto/tls keeps no error that calls itself temporary.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no bytes yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

type transport struct {
	conn    *tls.Conn
	carrier *Carrier
}

// readTLS fills b from the records that are there, reading more of them while the kernel has some.
func (c *Conn) readTLS(b []byte) (n int) {
	if !c.more && c.flags&readable == 0 {
		return 0 // do not bother crypto/tls for nothing
	}
	k := c.tls.carrier
	if len(k.in) == 0 {
		c.pull()
	}
	c.more = false
	for n < len(b) {
		k.reading = true
		m, err := c.tls.conn.Read(b[n:])
		k.reading = false
		n += m
		if k.owed > maxOwed && c.failed == nil {
			c.failed = errOwed
		}
		if err == nil {
			continue
		}
		if _, ok := err.(wouldBlock); !ok {
			if c.failed == nil || err == io.EOF { // close_notify stood in what the kernel gave before its own end
				c.failed = err
			}
			break
		}
		if !c.pull() {
			break
		}
	}
	if n == len(b) {
		c.more = true // crypto/tls may hold decrypted bytes
	}
	c.hold()
	return n
}

// pull reads records from the kernel.
func (c *Conn) pull() bool {
	k := c.tls.carrier
	n := c.readRaw(c.loop.cipher)
	if n == 0 {
		if c.failed == io.EOF {
			c.failed = io.ErrUnexpectedEOF // a peer that says goodbye sends close_notify first (RFC 8446, section 6.1)
		}
		return false
	}
	if k.held != nil { // all of it has been taken
		c.loop.buffers.put(k.held)
		k.held = nil
	}
	k.in = c.loop.cipher[:n]
	return true
}

// hold saves records that crypto/tls has not taken yet: the loop's buffer is the next connection's.
func (c *Conn) hold() {
	k := c.tls.carrier
	if len(k.in) == 0 {
		c.loop.buffers.put(k.held)
		k.in, k.held = nil, nil
		return
	}
	c.more = true
	if k.held != nil {
		return // in is a part of held already
	}
	k.held = append(c.loop.buffers.get(len(k.in)), k.in...)
	k.in = k.held
}

func (c *Conn) writeTLS(b []byte) {
	if len(b) < corkSize {
		c.tls.conn.Write(b)
		return
	}
	c.out = c.loop.buffers.grow(c.out, len(b)+recordOverhead(len(b)))
	c.tls.carrier.cork = true
	c.tls.conn.Write(b)
	c.tls.carrier.cork = false
	c.flush()
}
