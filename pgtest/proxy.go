package pgtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/token"
	"github.com/claimpool/claimpool/trusted"
)

// Proxy is a proxy under test.
type Proxy struct {
	*proxy.Proxy
	Host string
	Port int
	Log  *LogBuffer
	CA   *CA // signed its certificate
}

// ProxyOptions say what stands behind the proxy and who may come in. The zero value of a field has a sensible default.
type ProxyOptions struct {
	Cluster      *Cluster
	Database     string          // "postgres" when empty; clients use the same name
	Role         string          // the permanent role; empty: the client's
	Password     string          // of the role at the server
	Dialect      trusted.Dialect // trusted.None when nil
	Pool         pool.Config     // zero fields are filled in
	Rules        []auth.Rule     // trust for everybody on loopback when empty
	JIT          map[string]*auth.JIT
	Tenants      proxy.Tenants
	Limits       proxy.Limits
	Statements   prepared.Limits
	Features     feature.Choices
	PinTimeout   time.Duration
	Channels     []string       // templates; nil: see proxy.Database
	SendChannels []string       // the same
	Server       *server.Config // replaces the way to Cluster
	Loops        int
	Keys         *auth.Keys // servers are logged in to with what clients have proved; see server.Config.Keys

	ShareBy      string // see proxy.Database, like the next
	FailoverWait time.Duration
	QueueNotice  time.Duration
	Replication  proxy.Replication

	Balancers []netip.Prefix // see proxy.Listener

	Revocations *revocation.Set   // nil: nobody is signed out
	Audit       claimpool.Auditor // nil: nothing is recorded

	AuditTransactions int // see proxy.Options

	Kernel int // bytes that the kernel keeps for the proxy, of each client and for it, about; 0: as it likes

	Console *proxy.Console // nil: there is none
}

// LogBuffer collects a log.
type LogBuffer struct {
	mu  sync.Mutex
	buf []byte
}

// Write is part of io.Writer.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// String gives all that was logged.
func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}

// DefaultPool is the pool of tests: small, quick to give up.
func DefaultPool() pool.Config {
	return pool.Config{
		Mode: pool.Transaction, Isolation: pool.Shared, Size: 5, QueueLength: 1000, QueueWait: 20 * time.Second,
		IdleTimeout: time.Minute, Lifetime: time.Hour, CheckAfter: time.Minute,
	}
}

// Config makes the configuration that the options describe.
func (o ProxyOptions) Config(t testing.TB) *proxy.Config {
	t.Helper()
	if o.Database == "" {
		o.Database = "postgres"
	}
	if o.Dialect == nil {
		o.Dialect = trusted.None{}
	}
	if o.Pool == (pool.Config{}) {
		o.Pool = DefaultPool()
	}
	if o.Rules == nil {
		o.Rules = []auth.Rule{{Name: "trust", TLS: auth.TLSAny, Method: claimpool.MethodTrust}}
	}
	if o.Limits == (proxy.Limits{}) {
		o.Limits = proxy.Limits{MaxClients: 10_000, MaxLogins: 64, LoginTimeout: 20 * time.Second}
	}
	if o.Statements == (prepared.Limits{}) {
		o.Statements = prepared.Limits{Server: 100, Client: 1000, Bytes: 1 << 20}
	}
	way := o.Server
	if way == nil {
		way = &server.Config{
			Hosts: []string{o.Cluster.Address()}, Database: o.Database, ConnectTimeout: 10 * time.Second,
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(o.Password), nil },
		}
	}
	rules := auth.Config{Rules: o.Rules, JIT: o.JIT}
	if o.Revocations != nil {
		rules.Revocations = o.Revocations
	}
	a, err := auth.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return &proxy.Config{
		Auth:   a,
		Limits: o.Limits, Tenants: o.Tenants, Console: o.Console,
		Databases: map[string]*proxy.Database{o.Database: {
			Name: o.Database, Role: o.Role, Pool: o.Pool, Dialect: o.Dialect, Statements: o.Statements, FailoverWait: o.FailoverWait, QueueNotice: o.QueueNotice, Replication: o.Replication, MaxReplication: 3,
			ShareBy: o.ShareBy, Features: o.Features, PinTimeout: o.PinTimeout, Channels: channels(t, o.Channels), SendChannels: channels(t, o.SendChannels),
			Server: func(role string) (*server.Config, error) {
				own := *way
				own.Role = role
				if o.Keys != nil {
					own.Keys = func() (scram.Credential, bool) { return o.Keys.Get(o.Database, role) }
				}
				return &own, nil
			},
		}},
	}
}

// poller lets about half of the tests run on epoll, always the same, and the others on what is best here; PGTEST_POLLER is for all.
func poller(test string) string {
	if chosen := os.Getenv("PGTEST_POLLER"); chosen != "" {
		return chosen
	}
	h := fnv.New32a()
	io.WriteString(h, test)
	if h.Sum32()%2 == 0 {
		return string(loop.Epoll)
	}
	return string(loop.Auto)
}

// StartProxy runs a proxy on a loopback port, with TLS, until the test ends.
func StartProxy(t testing.TB, o ProxyOptions) *Proxy {
	t.Helper()
	p := &Proxy{Log: &LogBuffer{}, CA: NewCA(t)}
	var err error
	opts := proxy.Options{
		Loops:  o.Loops,
		Poller: poller(t.Name()),
		Log:    slog.New(slog.NewTextHandler(p.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	opts.Audit, opts.AuditTransactions = o.Audit, o.AuditTransactions
	if o.Revocations != nil {
		opts.Revocations = o.Revocations
	}
	p.Proxy, err = proxy.New(o.Config(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := o.listen(t)
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	p.Host, p.Port = addr.IP.String(), addr.Port
	cert := p.CA.Server(t, "localhost", "127.0.0.1")
	pair, err := tls.X509KeyPair(cert.CertPEM, cert.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"postgresql"}, DynamicRecordSizingDisabled: true}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := p.Serve(&proxy.Listener{Listener: l, TLS: func() *tls.Config { return secure }, Balancers: o.Balancers})
		if err != nil && !errors.Is(err, net.ErrClosed) { // a short test may be over before this begins
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		p.Close()
		<-done
		if t.Failed() {
			log := p.Log.String()
			t.Logf("the proxy's log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return p
}

// listen opens the proxy's port. Connections inherit the sizes of its buffers (tcp(7)).
func (o ProxyOptions) listen(t testing.TB) (net.Listener, error) {
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if o.Kernel == 0 {
			return nil
		}
		controlled := c.Control(func(fd uintptr) {
			for _, which := range []int{syscall.SO_SNDBUF, syscall.SO_RCVBUF} {
				err = errors.Join(err, syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, which, o.Kernel))
			}
		})
		return errors.Join(err, controlled)
	}}
	return small.Listen(t.Context(), "tcp", "127.0.0.1:0")
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// DSN is a connection string for a client of the proxy. mode is libpq's sslmode.
func (p *Proxy) DSN(database, user, password, mode string) string {
	return fmt.Sprintf("host=%s port=%d dbname='%s' user='%s' password='%s' sslmode=%s", p.Host, p.Port, database, user, password, mode)
}

// JWTRule lets in the holders of the issuers' tokens: the requested user is the claim "sub", or the fixed role.
func JWTRule(t testing.TB, role string, issuers ...*Issuer) auth.Rule {
	t.Helper()
	var list []*token.Verifier
	for _, i := range issuers {
		rules := token.Rules{Issuer: i.Name, Audience: []string{i.Audience}, Role: token.RoleRule{From: token.RoleFromSubject}}
		if role != "" {
			rules.Role = token.RoleRule{From: token.RoleFixed, Value: role}
		}
		keys, err := keyset.Load([]keyset.Spec{{File: i.KeyFile, KID: i.KeyID}})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &token.Verifier{Rules: rules, Keys: keys, Clock: time.Now})
	}
	set, err := token.NewSet(list...)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Rule{Name: "jwt", TLS: auth.TLSRequired, Method: claimpool.MethodJWT, Issuers: set}
}

// DefaultFeatures are the choices of the configuration's defaults.
func DefaultFeatures() feature.Choices {
	return feature.Choices{
		Listen: feature.Shared, AdvisoryLocks: feature.Pin, TemporaryTables: feature.Pin, WithHold: feature.Pin, Set: feature.Follow,
		Prepare: feature.Pin,
	}
}

// channels reads templates; nil when there are none.
func channels(t testing.TB, templates []string) (list []feature.Channel) {
	t.Helper()
	for _, template := range templates {
		channel, err := feature.ParseChannel(template)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, channel)
	}
	return list
}
