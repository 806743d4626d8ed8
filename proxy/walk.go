package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
	"golang.org/x/sys/unix"
)

// visitor is a client on its walk, in a goroutine of its own. When the walk ends well, a *client in a loop goes on.
type visitor struct {
	proxy    *Proxy
	raw      net.Conn
	conn     *loop.Direct // raw, for reading and writing
	slot     *slot
	listener *Listener
	number   uint64
	tls      *tls.Config
	carrier  *loop.Carrier // below TLS; nil on a plain connection
	hello    *startup.Hello
	origin   netip.AddrPort // what a load balancer has said; not valid otherwise
	relayed  bool           // a load balancer has passed it on, whether it has said for whom or not
	request  auth.Request
	identity *claimpool.Identity
	target   string // the name of another choice among the database's servers; empty: none
	pool     *sharedPool
	seats    []seat
	began    time.Time        // the login: who is signed out from then on is meant
	method   claimpool.Method // that its rule asks for; empty before one was chosen
}

// errDone says that a connection had no client in it (a cancel request): there is nobody to tell anything.
var errDone = errors.New("done")

// handshake is the walk from step 0 to step 6 (see the package comment of claimpool).
func (v *visitor) handshake(ctx context.Context, cfg *Config) (err error) {
	if err := v.greet(ctx); err != nil { // step 1
		return err
	}
	v.findTarget(cfg)
	if err := v.findTenant(&cfg.Tenants); err != nil {
		return err
	}
	if err := v.admit(cfg); err != nil { // step 0's limit, told in the client's own words
		return err
	}
	settings, token, bad := clientSettings(v.hello.Startup)
	defer token.Clear()
	v.request.Context, v.began = token, time.Now()
	settings = v.askedForJIT(cfg.Auth, settings)
	v.identity, err = cfg.Auth.Authenticate(ctx, v.request, v) // steps 2 to 5
	if err != nil {
		return err
	}
	if err := v.ownTenant(cfg); err != nil {
		return err
	}
	replication, wrong := replicationOf(v.hello.Startup)
	if bad = cmp.Or(bad, wrong); bad != nil { // told to those who may log in
		return bad
	}
	if cfg.isConsole(v.request.Database) {
		return v.steer(cfg, replication)
	}
	if err := v.sitByIdentity(&cfg.Limits); err != nil {
		return err
	}
	if v.pool, err = v.proxy.enter(v.request.Database, v.target, v.identity); err != nil {
		return err
	}
	err = v.recordLogin()
	switch {
	case err != nil:
	case replication != "":
		err = v.replicate(ctx, cfg, replication, settings)
	default:
		err = v.moveIn(ctx, settings) // step 6
	}
	if err != nil {
		v.proxy.leave(v.pool, v.identity)
		return err
	}
	return nil
}

// greet reads the first bytes: TLS, start-up or a cancel request.
func (v *visitor) greet(ctx context.Context) error {
	if err := v.readOrigin(); err != nil {
		return err
	}
	opts := startup.Options{Wrap: func(c net.Conn) net.Conn {
		v.carrier = loop.NewCarrier(c)
		return v.carrier
	}}
	if v.listener.TLS != nil {
		opts.TLS = v.listener.TLS()
	}
	v.tls = opts.TLS
	hello, err := startup.Read(v.conn, &opts)
	v.hello = hello
	if err != nil {
		return err
	}
	if hello.Cancel != nil {
		defer v.slot.waiting()()
		v.proxy.cancel(ctx, hello.Cancel)
		return errDone
	}
	v.request = auth.Request{Database: hello.Startup.Get("database"), User: hello.Startup.Get("user")}
	switch addr := v.raw.RemoteAddr().(type) {
	case *net.TCPAddr:
		v.request.Addr, v.request.Relayed = v.origin, v.relayed
		if !v.origin.IsValid() {
			v.request.Addr = unmapped(addr.AddrPort())
		}
	case *net.UnixAddr:
		v.request.Unix, v.request.Peer = true, peerOf(v.raw)
	default:
		return errors.New("unknown kind of connection")
	}
	if hello.TLS != nil {
		state := hello.TLS.ConnectionState()
		v.request.TLS = &state
		v.request.Certificate = ownCertificate(opts.TLS)
	}
	return nil
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// readOrigin lets a load balancer say whose connection it passes on. Nobody else is asked, or believed.
func (v *visitor) readOrigin() error {
	addr, ok := v.raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil
	}
	ip := addr.AddrPort().Addr().Unmap().WithZone("")
	if !slices.ContainsFunc(v.listener.Balancers, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return nil
	}
	origin, itself, err := startup.ReadOrigin(v.conn)
	if err != nil {
		return &claimpool.Error{
			Code: claimpool.CodeProtocolViolation, Message: "no header of the PROXY protocol from a load balancer", Cause: err,
			Hint: "Turn the PROXY protocol on in the balancer, or take its address out of listen.proxy_protocol.",
		}
	}
	v.relayed = !itself
	if origin.IsValid() {
		v.origin = unmapped(origin)
	}
	return nil
}

// ownCertificate is the certificate that the client has seen, for channel binding. With several certificates nobody can
// tell which one it was, and channel binding is not offered.
func ownCertificate(cfg *tls.Config) []byte {
	if cfg == nil || len(cfg.Certificates) != 1 || len(cfg.Certificates[0].Certificate) == 0 {
		return nil
	}
	return cfg.Certificates[0].Certificate[0]
}

// admit refuses clients over the limit. count includes this one. Who steers is let in even then.
func (v *visitor) admit(cfg *Config) error {
	if v.proxy.count.Load() > int64(cfg.Limits.MaxClients) && !cfg.isConsole(v.request.Database) {
		return &claimpool.Error{
			Code: claimpool.CodeTooManyConnections, Message: "sorry, too many clients already",
			Hint: "Raise limits.max_clients, or close connections that are not in use.",
		}
	}
	return v.sitByAddress(&cfg.Limits)
}

// Send is part of auth.Wire.
func (v *visitor) Send(b []byte) error {
	if v.hello.Negotiate {
		b = append(v.hello.AppendNegotiation(nil), b...)
		v.hello.Negotiate = false
	}
	_, err := v.hello.Conn.Write(b)
	return err
}

// Receive is part of auth.Wire.
func (v *visitor) Receive(limit int) (byte, []byte, error) {
	return wire.ReadMessage(v.hello.Conn, limit)
}

// Chosen is part of auth.Wire.
func (v *visitor) Chosen(m claimpool.Method) { v.method = m }

// authenticated notes that the login is over, and well.
func (v *visitor) authenticated() {
	v.proxy.log.Info("connection authenticated", v.attrs()...)
	v.proxy.counts.accepted(v.identity.Method, time.Since(v.began))
}

// Waiting is part of auth.Wire.
func (v *visitor) Waiting() (over func()) { return v.slot.waiting() }

// moveIn waits until the pool knows what its servers report, greets the client and gives its connection to the loop.
func (v *visitor) moveIn(ctx context.Context, settings [][2]string) error {
	c := &client{
		number: v.number, identity: v.identity, pool: v.pool, seats: v.seats, since: v.began.Sub(v.pool.hub.born), trail: v.trail(),
		long: v.hello.Startup.Version != wire.Version30,
	}
	welcome := wire.AppendAuthOK(nil)
	if v.proxy.sessions(v.request.Database) {
		c.greeting = introduction
	} else {
		over := v.slot.waiting()
		reported, err := v.pool.parameters(ctx)
		over()
		if err != nil {
			return err
		}
		v.proxy.keys.add(c)
		welcome = v.appendWelcome(welcome, c, reported, settings)
	}
	if err := v.Send(welcome); err != nil {
		v.proxy.keys.remove(c)
		return err
	}
	v.forgetDeadline()
	fd, err := loop.Detach(v.raw)
	if err != nil {
		v.proxy.keys.remove(c)
		return err
	}
	v.authenticated()
	if !v.pool.hub.loop.Post(func() { v.pool.hub.adopt(c, fd, v.hello.TLS, v.carrier, settings) }) {
		unix.Close(fd)
		v.proxy.keys.remove(c)
		return errors.New("the proxy has ended")
	}
	return nil
}

func (v *visitor) forgetDeadline() { v.raw.SetDeadline(noDeadline) }

// appendWelcome is what follows AuthenticationOk (protocol-flow, Start-up). A session hears it from the loop.
func (v *visitor) appendWelcome(b []byte, c *client, reported, settings [][2]string) []byte {
	for _, kv := range reported {
		b = wire.AppendParameterStatus(b, kv[0], ownValue(kv[0], kv[1], settings))
	}
	id, secret := v.proxy.keys.key(c)
	b = wire.AppendBackendKeyData(b, id, secret)
	return wire.AppendReadyForQuery(b, wire.StatusIdle)
}

// attrs are the log attributes of the client.
func (v *visitor) attrs() []any {
	attrs := []any{claimpool.LogClient, v.number, claimpool.LogAddr, v.addr()}
	if v.request.User != "" {
		attrs = append(attrs, claimpool.LogDB, v.request.Database, claimpool.LogRole, v.request.User)
	}
	if v.identity != nil {
		attrs = append(attrs, claimpool.LogMethod, string(v.identity.Method), claimpool.LogIdentity, v.identity)
	}
	return attrs
}

// closeSoftly lets the peer read the last words: closing at once would answer bytes still on their way with a reset, and
// the message would be lost.
func (v *visitor) closeSoftly() {
	if v.hello.TLS != nil {
		v.hello.TLS.CloseWrite()
	}
	if half, ok := v.raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.CopyN(io.Discard, v.conn, maxDiscard)
}

// maxDiscard is how much a refused client may still send before it is cut off.
const maxDiscard = 64 << 10
