//go:build linux

package load

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// loginTimeout ends the wait for a proxy that does not answer.
const loginTimeout = 60 * time.Second

// client is one connection that has logged in.
type client struct {
	raw net.Conn
	tls *tls.Conn // nil when plain
	via *pipe     // beneath tls
}

// sources is how many loopback addresses the connections come from: each gives 28,000 ports.
const sources = 16

// connect opens connection number i and logs in.
func connect(o *Options, i int) (*client, error) {
	raw, err := dial(o.Addr, i)
	if err != nil {
		return nil, err
	}
	c := &client{raw: raw}
	_ = raw.SetDeadline(time.Now().Add(loginTimeout))
	if err := c.login(o, i); err != nil {
		raw.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	_ = raw.SetDeadline(time.Time{})
	return c, nil
}

func dial(addr string, i int) (net.Conn, error) {
	if strings.HasPrefix(addr, "/") {
		return net.Dial("unix", addr)
	}
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%sources))},
		// IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect, which knows the other end, and not by bind.
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, 24, 1) })
		},
	}
	return d.Dial("tcp4", addr)
}

func (c *client) login(o *Options, i int) error {
	var conn net.Conn = c.raw
	if o.TLS {
		if err := c.startTLS(o); err != nil {
			return err
		}
		conn = c.tls
	}
	user := strings.ReplaceAll(o.User, "%d", fmt.Sprint(i))
	if _, err := conn.Write(pgmsg.AppendStartup(nil, "user", user, "database", o.Database)); err != nil {
		return err
	}
	password := o.Password
	if len(o.Tokens) > 0 {
		password = o.Tokens[i%len(o.Tokens)]
	}
	r := bufio.NewReaderSize(conn, 4096)
	var proof *proof
	for {
		typ, body, err := receive(r)
		if err != nil {
			return err
		}
		switch typ {
		case 'R':
			answer, err := authenticate(&proof, user, password, body)
			if err != nil {
				return err
			}
			if _, err := conn.Write(answer); err != nil {
				return err
			}
		case 'E':
			return errors.New(pgmsg.ErrorText(body))
		case 'Z':
			if r.Buffered() > 0 {
				return errors.New("more bytes behind ReadyForQuery")
			}
			return nil
		}
	}
}

// authenticate answers an Authentication request; the answer is empty when none is due.
func authenticate(p **proof, user, password string, body []byte) ([]byte, error) {
	if len(body) < 4 {
		return nil, errors.New("short authentication request")
	}
	switch code := binary.BigEndian.Uint32(body); code {
	case 0, 12: // Ok, SASLFinal: the server's own proof is not this tool's concern
		return nil, nil
	case 3: // CleartextPassword
		return pgmsg.Append(nil, 'p', pgmsg.String(password)), nil
	case 10: // SASL
		*p = newProof(password)
		first := (*p).first()
		return pgmsg.Append(nil, 'p', pgmsg.String("SCRAM-SHA-256"), pgmsg.Int32(len(first)), first), nil
	case 11: // SASLContinue
		if *p == nil {
			return nil, errors.New("SASLContinue before SASL")
		}
		final, err := (*p).final(string(body[4:]))
		return pgmsg.Append(nil, 'p', final), err
	default:
		return nil, fmt.Errorf("authentication request %d is not supported", code)
	}
}

func receive(r *bufio.Reader) (typ byte, body []byte, err error) {
	var header [pgmsg.HeaderLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(header[1:])) - 4
	if n < 0 || n > 1<<20 {
		return 0, nil, fmt.Errorf("message of %d bytes during login", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return header[0], body, err
}

// leave says goodbye and closes.
func (c *client) leave() {
	terminate := pgmsg.Append(nil, 'X')
	if c.tls != nil {
		_, _ = c.tls.Write(terminate)
	} else {
		_, _ = c.raw.Write(terminate)
	}
	_ = c.raw.Close()
}

// maxLogins is how many logins run at the same time when many clients are made.
const maxLogins = 64

// connectAll makes n clients; either all of them log in, or there is an error.
func connectAll(o *Options, n int) ([]*client, error) { return connectMore(o, 0, n) }

// connectMore makes the clients with the numbers from first to last-1.
func connectMore(o *Options, first, last int) ([]*client, error) {
	clients := make([]*client, last-first)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range min(maxLogins, len(clients)) {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(clients) {
					return
				}
				c, err := connect(o, first+i)
				if err != nil {
					err = fmt.Errorf("client %d: %w", first+i, err)
					failed.Store(&err)
					return
				}
				clients[i] = c
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		for _, c := range clients {
			if c != nil {
				c.leave()
			}
		}
		return nil, *err
	}
	return clients, nil
}
