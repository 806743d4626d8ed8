// Package proxy is the order of things: it listens, walks each client through startup, login and identity, and then moves
// the connection into an event loop where leases, hand-overs and relaying go on. It does not know the command line or the
// configuration file.
package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
)

// Config is what the proxy needs that can change while it runs (see Reload).
type Config struct {
	Auth      *auth.Authenticator
	Databases map[string]*Database // by name; Other stands for all that are not there
	Tenants   Tenants
	Limits    Limits
	Console   *Console // nil: there is none
}

// Database is one database that clients may ask for. It is never changed but for what is learned of its servers: a reload brings
// another object, and only where something differs.
type Database struct {
	Name    string
	Role    string // the one permanent role; empty: the role of the client's identity
	Pool    pool.Config
	ShareBy string // the claim whose value says who shares a part of the pool; empty: each identity has its own
	Dialect trusted.Dialect

	// Statements bound what clients may prepare, in transaction and statement mode.
	Statements prepared.Limits

	// Features say what becomes of what outlives a transaction, in transaction and statement mode. PinTimeout is how long a client
	// may keep a server that it does not use because of it; 0: for ever.
	Features   feature.Choices
	PinTimeout time.Duration

	// Channels are those that clients may listen to. nil: all where there is no trusted context; in one, none on shared server
	// connections, and all in session mode.
	Channels []feature.Channel

	// SendChannels are those that clients may send on, as far as the texts of statements show it, in transaction and statement mode. nil: all.
	SendChannels []feature.Channel

	// Parameters are configured for every server connection; they win over the pinned ones (see trusted.Startup).
	Parameters [][2]string

	// Targets are other choices among the servers, by name: databases that differ in the way to the servers alone. See findTarget.
	Targets map[string]*Database

	// Server gives the way to a server for a role. Its Wrap and Startup are set by the proxy.
	Server func(role string) (*server.Config, error)

	Replication    Replication
	MaxReplication int // replication connections; 0 counts as 1

	// FailoverWait is how long clients wait for a server while none can be reached. 0: they are refused at once.
	FailoverWait time.Duration

	// QueueNotice is how long a client waits in the queue before it is told so. 0: it is not.
	QueueNotice time.Duration

	version int32     // atomic: of its servers, as server_version_num; 0: not known yet
	origin  *Database // of one that stands for others, see Other
}

// Limits keep one client, or many, from taking everything.
type Limits struct {
	MaxClients             int
	ClientsPerDatabase     int // 0: no limit, as for the next three
	ClientsPerRole         int
	ClientsPerIdentity     int
	ClientsPerAddress      int // of IPv6: per /64
	MaxLogins              int
	LoginTimeout           time.Duration
	IdleTimeout            time.Duration // 0: none
	TransactionIdleTimeout time.Duration // 0: none
	QueryTimeout           time.Duration // 0: none
	TransactionTimeout     time.Duration // 0: none
	CancelTimeout          time.Duration // 0: defaultCancelTimeout
	TokenGrace             time.Duration // how long a client stays, without a transaction, when its token has ended
	TokenWarning           time.Duration // how long before the end of its token a client is told so; 0: never
	Overrun                time.Duration // how long a transaction may outlive its client's token; 0: as long as it takes
}

// Options are what cannot change while the proxy runs.
type Options struct {
	Loops  int    // 0: chosen by the number of cores
	Poller string // a loop.Kind; empty: loop.Auto
	Log    *slog.Logger
	Rand   io.Reader // nil: crypto/rand

	// Revocations say who has been signed out. Nil: nobody is.
	Revocations Revocations

	// Audit keeps logins, refusals, fresh tokens and ends, and one in every so many hand-overs and transactions (0: none). Nil: nothing is
	// kept.
	Audit             claimpool.Auditor
	AuditHandovers    int
	AuditTransactions int
}

// Listener is one place where clients come in.
type Listener struct {
	net.Listener

	// TLS gives the certificate to use for the next client; nil, or a nil result, means that no TLS is offered.
	TLS func() *tls.Config

	// Balancers are the addresses of load balancers, whose connections begin with a header of the PROXY protocol.
	Balancers []netip.Prefix
}

// Proxy serves clients. Make it with New, start it with Serve.
type Proxy struct {
	log       *slog.Logger
	rand      io.Reader
	revoked   Revocations       // nil when there are none
	audit     claimpool.Auditor // nil when there is none
	handovers uint64            // one in so many is recorded; 0: none
	config    atomic.Pointer[Config]
	hubs      []*hub
	keys      keyring
	census    census
	counts    loginCounts
	places    *places       // of logins
	count     atomic.Int64  // clients alive
	number    atomic.Uint64 // of the last client
	loops     sync.WaitGroup
	wg        tasks // what works for the loops: openings and cancels
	logins    sync.WaitGroup

	looking sync.Mutex // one at a time asks for the states of the pools

	transactions       uint64 // like handovers
	tidySeen, tidyDone uint64 // by the first hub alone: logins at the last sweep, and at the last tidy

	mu        sync.Mutex
	pools     map[poolKey]*sharedPool  // guarded by mu
	listeners []*Listener              // guarded by mu
	draining  bool                     // guarded by mu
	pending   map[net.Conn]struct{}    // clients that are logging in; guarded by mu
	nextHub   int                      // guarded by mu
	streams   map[*stream]struct{}     // replication connections; guarded by mu
	guests    map[*guest]struct{}      // clients of the console; guarded by mu
	paused    map[string]chan struct{} // databases whose pools give nobody a server, until it is closed; guarded by mu
	reaching  map[string]int           // connections outside of the pools that are being opened, by database; guarded by mu

	ctx  context.Context // ends what blocks (openings, cancels) when the proxy stops
	stop context.CancelFunc
}

type poolKey struct{ database, target, role string }

// defaultLoops is one loop for every two cores beyond the first two: with one or two cores a second loop only takes turns
// with the first, and the runtime wants some room of its own.
func defaultLoops() int { return max(1, runtime.NumCPU()/2) }

// New makes a proxy and starts its event loops.
func New(cfg *Config, opts Options) (*Proxy, error) {
	if cfg == nil || cfg.Auth == nil {
		return nil, errors.New("proxy without rules")
	}
	p := &Proxy{
		log: opts.Log, rand: opts.Rand, revoked: opts.Revocations, audit: opts.Audit, handovers: uint64(max(0, opts.AuditHandovers)),
		transactions: uint64(max(0, opts.AuditTransactions)),
		pools:        map[poolKey]*sharedPool{}, pending: map[net.Conn]struct{}{}, streams: map[*stream]struct{}{}, guests: map[*guest]struct{}{}, paused: map[string]chan struct{}{}, reaching: map[string]int{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.rand == nil {
		p.rand = rand.Reader
	}
	if err := p.keys.init(p.rand); err != nil {
		return nil, err
	}
	p.config.Store(cfg)
	p.ctx, p.stop = context.WithCancel(context.Background())
	n := opts.Loops
	if n <= 0 {
		n = defaultLoops()
	}
	// The runtime's own work must not preempt a loop, and a loop that comes back from a long wait must not queue for the place of a login: it
	// is bound to its thread, and so it would wait for two of them.
	if runtime.GOMAXPROCS(0) < n+2 {
		runtime.GOMAXPROCS(n + 2)
	}
	p.places = newPlaces(cfg.Limits.MaxLogins, runtime.GOMAXPROCS(0)-n-1)
	for i := range n {
		l, err := loop.New(loop.Kind(cmp.Or(opts.Poller, string(loop.Auto))))
		if err != nil {
			p.Close()
			return nil, err
		}
		if i == 0 || l.Kind() != p.hubs[i-1].loop.Kind() {
			p.tellKind(l)
		}
		h := newHub(p, l, i == 0)
		p.hubs = append(p.hubs, h)
		p.loops.Go(l.Run)
	}
	return p, nil
}

// tellKind logs what the event loops use.
func (p *Proxy) tellKind(l *loop.Loop) {
	var why []any
	if l.Why() != "" {
		why = []any{claimpool.LogReason, l.Why()}
	}
	p.log.Info("event loops use "+string(l.Kind()), why...)
}

// Serve accepts clients on the listener until it is closed by Shutdown or Close.
func (p *Proxy) Serve(l *Listener) error {
	p.mu.Lock()
	if p.draining {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.listeners = append(p.listeners, l)
	p.mu.Unlock()
	return p.accept(l)
}

// Reload makes new logins follow the new configuration. Running clients keep their identity; pools take their new limits,
// and servers of a database whose way has changed are closed when they come back.
func (p *Proxy) Reload(cfg *Config) {
	p.config.Store(cfg)
	p.endStrayStreams(cfg)
	p.endGuests((*guest).check)
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, sp := range p.pools {
		db := cfg.database(key.database).at(key.target)
		sp.hub.loop.Post(func() { sp.reconfigure(db) })
	}
}

// Clients is the number of clients that are connected, those that are logging in included.
func (p *Proxy) Clients() int { return int(p.count.Load()) }

// Shutdown ends the service in an orderly way: no new clients, idle ones are told to go, transactions may finish. It
// returns when all clients have left, or with ctx's error after which Close is due.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.closeListeners()
	p.endStreams(errStopping.Message, func(*stream) bool { return true })
	p.endGuests(func(*guest) error { return errStopping })
	for _, h := range p.hubs {
		h.loop.Post(h.drain)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p.Clients() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Close ends everything at once.
func (p *Proxy) Close() {
	p.closeListeners()
	p.stop()
	p.mu.Lock()
	for c := range p.pending {
		c.Close()
	}
	p.mu.Unlock()
	p.logins.Wait()
	for _, h := range p.hubs {
		ended := make(chan struct{})
		if h.loop.Post(func() { h.end(); close(ended) }) {
			<-ended
		}
	}
	p.wg.Wait() // what was still being opened is closed by the loops
	for _, h := range p.hubs {
		h.loop.Post(h.loop.Stop)
	}
	p.loops.Wait()
	p.wg.Wait() // the last cancels
}

func (p *Proxy) closeListeners() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	for _, l := range p.listeners {
		l.Close()
	}
	p.listeners = nil
}

func (p *Proxy) isDraining() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.draining
}
