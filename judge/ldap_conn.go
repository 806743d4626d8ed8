package judge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// maxDirectory bounds what a directory may say to one question, TLS included: two entries and three results are some kilobytes.
const maxDirectory = 1 << 20

// directoryConn is a connection to a directory. All that is read and written on it ends with its context, the handshake of STARTTLS
// too, for which the library has no timeout.
type directoryConn struct {
	*ldap.Conn
	stop func() bool
}

// Close ends the connection.
func (c *directoryConn) Close() {
	c.stop()
	_ = c.Conn.Close()
}

// connect reaches the first server that answers. One that is silent leaves time for those behind it.
func (l *LDAP) connect(ctx context.Context) (*directoryConn, error) {
	var errs []error
	for i, address := range l.URLs {
		c, err := l.dial(ctx, address, len(l.URLs)-i)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	if len(errs) == 0 {
		return nil, errors.New("no directory is configured")
	}
	return nil, errors.Join(errs...)
}

// dial reaches one server, in its share of the time that is left.
func (l *LDAP) dial(ctx context.Context, address string, shares int) (*directoryConn, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" {
		return nil, errors.New("not an address of a directory")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldap": ldap.DefaultLdapPort, "ldaps": ldap.DefaultLdapsPort}[u.Scheme]
	}
	deadline, _ := ctx.Deadline()
	connecting, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
	defer cancel()
	raw, err := new(net.Dialer).DialContext(connecting, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	soon, _ := connecting.Deadline()
	_ = raw.SetDeadline(soon)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	c, err := l.secure(ctx, &brief{raw, maxDirectory}, u)
	if err != nil {
		stop()
		raw.Close()
		return nil, err
	}
	c.SetTimeout(time.Until(deadline))
	_ = raw.SetDeadline(deadline)
	if ctx.Err() != nil { // the end of ctx may have come before that
		_ = raw.SetDeadline(time.Unix(1, 0))
	}
	return &directoryConn{c, stop}, nil
}

// secure goes over to TLS where that is to be: never a password in the clear.
func (l *LDAP) secure(ctx context.Context, raw net.Conn, u *url.URL) (*ldap.Conn, error) {
	over := &tls.Config{ServerName: u.Hostname(), RootCAs: l.Roots, MinVersion: tls.VersionTLS12}
	if u.Scheme == "ldaps" {
		t := tls.Client(raw, over)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c := ldap.NewConn(t, true)
		c.Start()
		return c, nil
	}
	c := ldap.NewConn(raw, false)
	c.Start()
	ip := net.ParseIP(u.Hostname())
	near := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if near && l.Roots == nil {
		return c, nil
	}
	if err := c.StartTLS(over); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	return c, nil
}

// brief is a connection that ends when the peer says too much.
type brief struct {
	net.Conn
	left int
}

// Read is part of net.Conn.
func (b *brief) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the directory says too much")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
