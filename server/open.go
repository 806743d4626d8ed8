package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Open connects to the first host that takes us and is of the kind that is wanted (see Config.Group), and logs in. The error is a
// *claimpool.Error: the server's own when a server refused us, else 57P03 (no host could be reached, or none is of that kind) or
// 08006 (a connection broke before it was of use).
func Open(ctx context.Context, cfg *Config) (*Conn, error) {
	c, err := openAny(ctx, cfg)
	if err != nil && cfg.another(err) {
		return openAny(ctx, cfg)
	}
	return c, err
}

// openAny is one try of the hosts.
func openAny(ctx context.Context, cfg *Config) (*Conn, error) {
	if err := cfg.Check(); err != nil {
		return nil, &claimpool.Error{Code: claimpool.CodeInternalError, Message: "internal error", Cause: err}
	}
	g := cfg.Group
	if g == nil {
		g = NewGroup(Policy{})
	}
	return g.open(ctx, cfg)
}

// open tries the addresses in the order of what they promise. A primary where a standby is preferred is kept at hand until
// no standby is left to try.
func (g *Group) open(ctx context.Context, cfg *Config) (*Conn, error) {
	all, errs := g.choices(ctx, cfg)
	var spare *Conn
	for _, c := range g.order(all) {
		if spare != nil && c.rank > rankFallback {
			break // it is not worth the wait for one that was down
		}
		conn, err := g.try(ctx, cfg, c)
		switch {
		case err == nil && g.policy.Attrs == AttrsPreferStandby && !natureOf(conn.Params).standby:
			if spare != nil {
				_ = conn.Close()
				continue
			}
			spare = conn
		case err == nil:
			if spare != nil {
				_ = spare.Close()
			}
			return conn, nil
		default:
			errs = append(errs, fmt.Errorf("host %q (%s): %w", c.host, c.address.dial, err))
		}
		if final(err) || cfg.asksTooMuch(err) || ctx.Err() != nil {
			break
		}
	}
	if spare != nil {
		return spare, nil
	}
	if cause := errors.Join(errs...); errMisfit(cause) && !final(errs[len(errs)-1]) {
		return nil, g.noFit(cause)
	}
	return nil, outcome(errs)
}

// try logs in to one address and notes what came of it.
func (g *Group) try(ctx context.Context, cfg *Config, c choice) (*Conn, error) {
	leave, err := g.enter(ctx, c)
	if err != nil {
		return nil, err
	}
	defer leave()
	conn, err := open(ctx, cfg, c)
	if err != nil {
		if ctx.Err() == nil && !errors.As(err, new(*noCredential)) && !cfg.asksTooMuch(err) { // else nobody has waited for its answer, or it was not asked
			g.failed(c.address.dial, err, false)
		}
		return nil, err
	}
	n := natureOf(conn.Params)
	g.learned(c.address.dial, n)
	if g.policy.Attrs != AttrsPreferStandby && !g.policy.Attrs.any() && !g.policy.Attrs.fits(n) {
		_ = conn.Close()
		return nil, &misfit{g.policy.Attrs, n}
	}
	return conn, nil
}

// Check finds what is wrong with a configuration, without a connection.
func (cfg *Config) Check() error {
	if len(cfg.Hosts) == 0 {
		return errors.New("server has no host")
	}
	for _, host := range cfg.Hosts {
		if _, err := parseHost(host); err != nil {
			return err
		}
	}
	if cfg.Role == "" || cfg.Database == "" {
		return errors.New("server has no role or no database")
	}
	for _, m := range cfg.Methods {
		switch m {
		case MethodNone, MethodPassword, MethodMD5, MethodSCRAM, MethodSCRAMPlus:
		default:
			return fmt.Errorf("unknown method %q", m)
		}
	}
	if v := cfg.version(); v != wire.Version30 && v != wire.Version32 {
		return fmt.Errorf("unknown protocol version %d.%d", v>>16, v&0xffff)
	}
	if cfg.Group != nil {
		if err := cfg.Group.policy.check(); err != nil {
			return err
		}
	}
	return cfg.TLS.check()
}

// open tries one address of a host.
func open(ctx context.Context, cfg *Config, at choice) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout())
	defer cancel()
	a := at.address
	cfg, forget, err := cfg.login(ctx, at.host)
	if err != nil {
		return nil, err
	}
	defer forget()
	conn, stop, err := cfg.dial(ctx, a)
	if err != nil {
		return nil, err
	}
	tc, _ := conn.(*tls.Conn)
	l := login{cfg: cfg, address: a, conn: conn, tls: tc, left: maxLogin}
	l.result = Conn{Conn: conn, TLS: tc, Host: at.host, Address: a.dial, Version: cfg.version(), Target: newTarget(cfg, a, conn)}
	err = l.run(ctx)
	if !stop() || err != nil {
		_ = conn.Close()
		return nil, because(ctx, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &l.result, nil
}

// dial connects and, as the mode wants it, starts TLS. When ctx ends, everything that blocks on the connection ends; stop
// undoes that, and reports false when it was too late.
func (cfg *Config) dial(ctx context.Context, a address) (conn net.Conn, stop func() bool, err error) {
	conn, err = new(net.Dialer).DialContext(ctx, a.network, a.dial)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Wrap != nil {
		conn = cfg.Wrap(conn)
	}
	raw := conn
	stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	tc, err := cfg.TLS.startTLS(ctx, conn, a)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, nil, because(ctx, err)
	}
	if tc != nil {
		conn = tc
	}
	return conn, stop, nil
}

// because puts the end of ctx in front of the i/o timeout that it caused.
func because(ctx context.Context, err error) error {
	e := context.Cause(ctx)
	switch {
	case e == nil || errors.As(err, new(*refusal)):
		return err
	case err == nil:
		return e // it ended in the last moment
	}
	return fmt.Errorf("%w (%w)", e, err)
}

// refusal is an error in the server's own words, as opposed to all that we find wrong ourselves.
type refusal struct{ own *claimpool.Error }

func (r *refusal) Error() string { return string(r.own.Code) + " " + r.own.Message }

// final reports whether a server's refusal would be the same on the next host: wrong password, unknown role or database
// (libpq, "Specifying Multiple Hosts": a failed authentication is the end).
func final(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.own.Code[:2] { // the class; wire gives every error a whole code
	case "28", "3D", "42":
		return true
	}
	return false
}

// asksTooMuch reports whether a server may have refused what cfg.Asked says: a value that is none, a setting that it does not know or
// does not let the role make.
func (cfg *Config) asksTooMuch(err error) bool {
	var r *refusal
	if len(cfg.Asked) == 0 || !errors.As(err, &r) {
		return false
	}
	switch r.own.Code[:2] {
	case "0A", "22", "42":
		return true
	}
	return false
}

// outcome makes the one error out of what the hosts gave. A server's own words say more than a dead host's.
func outcome(errs []error) error {
	cause := errors.Join(errs...)
	for i := len(errs) - 1; i >= 0; i-- {
		var r *refusal
		if errors.As(errs[i], &r) {
			own := *r.own
			own.Cause = cause
			return &own
		}
	}
	if errors.As(cause, new(*noCredential)) {
		return &claimpool.Error{Code: claimpool.CodeCannotConnectNow, Message: "could not get the password for the database server", Cause: cause}
	}
	reached := false
	for _, err := range errs {
		var op *net.OpError
		reached = reached || !errors.As(err, &op) || op.Op != "dial"
	}
	if reached {
		return &claimpool.Error{Code: claimpool.CodeConnectionFailure, Message: "could not log in to the database server", Cause: cause}
	}
	return &claimpool.Error{Code: claimpool.CodeCannotConnectNow, Message: "could not connect to the database server", Cause: cause}
}
