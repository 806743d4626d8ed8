// Package server opens one connection to PostgreSQL: it dials, speaks TLS, logs in as the permanent role and reads the
// parameters; it also sends cancel requests. It does not know clients or identities.
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/wire"
)

// Config says where a server is and how to log in. Open does not change it, so many calls may share one.
type Config struct {
	// Hosts are tried in order: "host:port", "host" (port 5432), "[::1]:5432", or the folder of a unix socket as libpq
	// writes it, "/run/postgresql" or "/run/postgresql:5433".
	Hosts []string

	// Group says which of the hosts will do, and remembers what is known of them. Nil means that any will, in their order, and
	// that nothing is remembered.
	Group *Group

	Database string
	Role     string // the permanent database role

	TLS TLS

	// Password is asked only when the server wants one, and again for each login, so that a rotated password is used at
	// once. The result is cleared after use. Nil means that there is none.
	Password func(ctx context.Context) (claimpool.Secret, error)

	// Login gives what to log in to a host with, in place of Password, where that comes from a service that changes it: the user (empty:
	// Role) and its password. It is asked before each login at a host. Nil means that there is none.
	Login func(ctx context.Context, host string) (user string, password claimpool.Secret, err error)

	// Refused is told that a server has refused what Login gave. It reports whether Login may give something else now: then the
	// login is tried once more.
	Refused func() bool

	// Keys gives what a client has proved itself with for the same role (SCRAM pass-through), when there is such a client: then
	// Password is not asked. Nil means that there is none.
	Keys func() (scram.Credential, bool)

	// Cleartext is asked first where a server wants the password itself. Nil, and an empty answer, mean that it has none.
	Cleartext func() claimpool.Secret

	// Methods are the authentication methods that the server may ask for, like libpq's require_auth. Empty means any
	// of them, except a cleartext password where somebody may listen.
	Methods []Method

	// Startup are the parameters of the startup packet behind user and database.
	Startup [][2]string

	// Asked are more of them, which somebody else has chosen: that a server does not take them says nothing of the server, nor of
	// the next host.
	Asked [][2]string

	// Version is the protocol version to ask for: wire.Version30 (the default) or wire.Version32.
	Version uint32

	// ConnectTimeout bounds one try of one host, from dialling to ReadyForQuery. Zero means defaultConnectTimeout.
	ConnectTimeout time.Duration

	// Wrap is applied to the raw connection before TLS starts on it. Nil means that nothing is wrapped.
	Wrap func(net.Conn) net.Conn

	// Rand gives the nonces. Nil means crypto/rand.
	Rand io.Reader
}

// Method is a way to log in to a server, in libpq's words (require_auth).
type Method string

// The methods that a server may ask for.
const (
	MethodNone      Method = "none" // the server asks for nothing: trust, a client certificate, or peer
	MethodPassword  Method = "password"
	MethodMD5       Method = "md5"
	MethodSCRAM     Method = "scram-sha-256"
	MethodSCRAMPlus Method = "scram-sha-256-plus"
)

// defaultConnectTimeout is what a host gets when the configuration names no time.
const defaultConnectTimeout = 5 * time.Second

// Conn is a server connection that is logged in and idle: its ReadyForQuery has been read, and nothing behind it.
type Conn struct {
	Conn    net.Conn    // the (wrapped) raw connection, or the TLS connection on it
	TLS     *tls.Conn   // nil when there is no TLS
	Host    string      // the entry of Config.Hosts that answered
	Address string      // the one of its addresses, for Group.Keeps
	Version uint32      // the protocol version agreed on
	Params  [][2]string // what ParameterStatus reported, in the order of the first report
	Target  Target      // where a cancel request goes
}

// PID is the process id of the server, for logs.
func (c *Conn) PID() uint32 { return c.Target.PID }

// Close ends the connection: with a Terminate message where it can be sent at once, so that the server's log stays quiet.
func (c *Conn) Close() error {
	// A deadline in the past would also stop the Terminate; a second is plenty for five bytes.
	_ = c.Conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Conn.Write(wire.AppendTerminate(nil))
	return c.Conn.Close()
}

// allows reports whether the configuration lets the server ask for m.
func (cfg *Config) allows(m Method) bool {
	return len(cfg.Methods) == 0 || slices.Contains(cfg.Methods, m)
}

func (cfg *Config) timeout() time.Duration {
	if cfg.ConnectTimeout > 0 {
		return cfg.ConnectTimeout
	}
	return defaultConnectTimeout
}

func (cfg *Config) version() uint32 {
	if cfg.Version != 0 {
		return cfg.Version
	}
	return wire.Version30
}

func (cfg *Config) rand() io.Reader {
	if cfg.Rand != nil {
		return cfg.Rand
	}
	return rand.Reader
}
