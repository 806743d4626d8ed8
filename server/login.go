package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/claimpool/claimpool/wire"
)

const (
	// maxMessage bounds one message of a login. The longest honest one is an ErrorResponse; a hostile server's 64 kB
	// nonce or 1 GB parameter must not be read at all (CVE-2026-6665).
	maxMessage = 32 << 10
	// maxLogin bounds all messages of a login together: a server that reports parameters for ever must not fill memory.
	maxLogin = 256 << 10
	// maxKey is the longest secret of BackendKeyData (protocol-message-formats: 256 bytes in protocol 3.2).
	maxKey = 256
)

// login is one walk from StartupMessage to the first ReadyForQuery (protocol-flow, "Start-up").
type login struct {
	cfg     *Config
	address address
	conn    net.Conn
	tls     *tls.Conn
	left    int // what is left of maxLogin

	result Conn
}

func (l *login) run(ctx context.Context) error {
	if err := l.startup(); err != nil {
		return err
	}
	if err := l.authenticate(ctx); err != nil {
		return err
	}
	return l.settle()
}

func (l *login) startup() error {
	params := slices.Concat([][2]string{{"user", l.cfg.Role}, {"database", l.cfg.Database}}, l.cfg.Startup, l.cfg.Asked)
	return l.send(wire.AppendStartup(nil, l.cfg.version(), params))
}

// settle reads what the server says after AuthenticationOk, up to ReadyForQuery.
func (l *login) settle() error {
	for {
		typ, body, err := l.receive()
		if err != nil {
			return err
		}
		switch typ {
		case wire.MsgParameterStatus:
			name, value, err := wire.ParseParameterStatus(body)
			if err != nil {
				return err
			}
			l.result.set(name, value)
		case wire.MsgBackendKeyData:
			if err := l.key(body); err != nil {
				return err
			}
		case wire.MsgReadyForQuery:
			status, err := wire.ParseReadyForQuery(body)
			if err == nil && status != wire.StatusIdle {
				err = errors.New("the server is inside a transaction after the login")
			}
			return err
		default:
			return fmt.Errorf("unexpected message %q after the authentication", typ)
		}
	}
}

func (l *login) key(body []byte) error {
	pid, secret, err := wire.ParseBackendKeyData(body)
	switch {
	case err != nil:
		return err
	case l.result.Target.Secret != nil:
		return errors.New("the server sent its cancel key twice")
	case len(secret) > maxKey, l.result.Version == wire.Version30 && len(secret) != 4:
		return fmt.Errorf("the server sent a cancel key of %d bytes", len(secret))
	}
	l.result.Target.PID, l.result.Target.Secret = pid, secret
	return nil
}

// negotiate handles NegotiateProtocolVersion: the server may ask for less than we did, never for more, and we sent no
// option that it could refuse.
func (l *login) negotiate(body []byte) error {
	newest, unknown, err := wire.ParseNegotiateProtocolVersion(body)
	if err != nil {
		return err
	}
	if newest != wire.Version30 || l.result.Version == wire.Version30 || len(unknown) > 0 {
		return fmt.Errorf("the server wants another protocol than the one asked for (%d.%d)", newest>>16, newest&0xffff)
	}
	l.result.Version = newest
	return nil
}

// set keeps a reported parameter, in the order of the first report.
func (c *Conn) set(name, value string) {
	for i := range c.Params {
		if c.Params[i][0] == name {
			c.Params[i][1] = value
			return
		}
	}
	c.Params = append(c.Params, [2]string{name, value})
}

func (l *login) send(b []byte) error {
	if _, err := l.conn.Write(b); err != nil {
		return fmt.Errorf("send to server: %w", err)
	}
	return nil
}

// receive gives the next message that counts: notices are dropped, and the server's error becomes our error.
func (l *login) receive() (typ byte, body []byte, err error) {
	for {
		typ, body, err = wire.ReadMessage(l.conn, min(maxMessage, l.left))
		if err != nil {
			return 0, nil, fmt.Errorf("read from server: %w", err)
		}
		l.left -= wire.HeaderLen + len(body)
		switch {
		case l.left <= 0:
			return 0, nil, fmt.Errorf("the server sent more than %d bytes before it was ready", maxLogin)
		case typ == wire.MsgErrorResponse:
			fields, err := wire.ParseError(body)
			if err != nil {
				return 0, nil, err
			}
			return 0, nil, &refusal{fields.ClaimpoolError()}
		case typ != wire.MsgNoticeResponse:
			return typ, body, nil
		}
	}
}
