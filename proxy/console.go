package proxy

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Console is a database that is none: its clients see and steer the proxy itself, and never get a server.
type Console struct {
	Database string // the name that clients ask for, exactly
	Version  string // what drivers are told as server_version

	// Admits says whether somebody who has logged in may come in, and stay.
	Admits func(*claimpool.Identity) bool

	// Serve talks to a client until it leaves, or ctx ends with a *claimpool.Error as its cause, and says why it has ended. It runs in a
	// goroutine of its own.
	Serve func(ctx context.Context, g ConsoleGuest) (reason string)
}

// ConsoleGuest is a client of the console after its login.
type ConsoleGuest struct {
	Conn net.Conn
	Who  claimpool.Event // what every event of the client says

	// Check says why the client has to go before its next command; nil: it need not.
	Check func() error
}

// maxGuests is how many clients the console has at most: each costs a goroutine and a buffer.
const maxGuests = 32

// maxOwnGuests is how many of them are one person's at most: who reads must not keep out who steers.
const maxOwnGuests = maxGuests / 2

// guest is a client of the console. It is not in a loop: what it asks for may take time, and nobody else waits for it.
type guest struct {
	visitor *visitor
	since   time.Time
	end     context.CancelCauseFunc
}

// isConsole reports whether a database is the console.
func (cfg *Config) isConsole(database string) bool {
	return cfg.Console != nil && cfg.Console.Database == database
}

// maySteer says why somebody may not be a client of the console, as it is configured at this moment.
func (p *Proxy) maySteer(v *visitor) error {
	cfg := p.config.Load()
	if !cfg.isConsole(v.request.Database) {
		return errRemoved
	}
	if v.identity.Method == claimpool.MethodTrust || !cfg.Console.Admits(v.identity) { // trust is no proof
		return &claimpool.Error{
			Code: claimpool.CodeInsufficientPrivileges, Message: fmt.Sprintf("permission denied for database %q", v.request.Database),
			Hint: "It is the console. The settings console.admins and console.readers say who may use it.",
		}
	}
	return nil
}

// check says why the guest has to go.
func (g *guest) check() error {
	v := g.visitor
	switch {
	case v.identity.Expired(time.Now()):
		return errExpired
	case g.signedOut():
		return errSignedOut
	}
	return v.proxy.maySteer(v)
}

func (g *guest) signedOut() bool {
	v := g.visitor
	return v.proxy.revoked != nil && v.proxy.revoked.SignedOut(&v.identity.Proof, g.since)
}

// steer is step 6 for a client of the console, and all that follows. It returns an error until the client has been let in, and then
// when everything is over.
func (v *visitor) steer(cfg *Config, replication string) error {
	if v.request.Context != nil {
		return &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: "the console takes no claims on top of a login",
			Hint: "Leave jwt.context out, and log in as an administrator.",
		}
	}
	if replication != "" {
		return &claimpool.Error{Code: claimpool.CodeFeatureNotSupported, Message: "the console has nothing to replicate"}
	}
	if err := v.proxy.maySteer(v); err != nil {
		return err
	}
	full := &claimpool.Error{
		Code: claimpool.CodeTooManyConnections, Message: "too many clients of the console", Hint: "Close one of them.",
	}
	if err := v.sit(ofConsole, "of "+v.identity.String(), maxOwnGuests, full); err != nil {
		return err
	}
	if err := v.sit(ofConsole, "", maxGuests, full); err != nil {
		return err
	}
	if err := v.sitByIdentity(&cfg.Limits); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	g := &guest{visitor: v, since: v.began, end: end}
	if !v.proxy.addGuest(g) {
		return errStopping
	}
	defer v.proxy.removeGuest(g)
	if err := g.check(); err != nil { // a reload or a sign-out may have come between
		return err
	}
	if err := v.recordLogin(); err != nil {
		return err
	}
	if err := v.Send(v.appendConsoleWelcome(cfg.Console.Version)); err != nil {
		v.recordEnd("client left", 0)
		return err
	}
	v.forgetDeadline()
	v.slot.quit()
	v.authenticated()
	reason := g.serve(ctx, cfg.Console)
	held := time.Since(g.since)
	v.proxy.log.Info("connection closed", claimpool.LogClient, v.number, claimpool.LogDB, v.request.Database,
		claimpool.LogIdentity, v.identity, claimpool.LogReason, reason, claimpool.LogHeld, held.Round(time.Millisecond))
	v.recordEnd(reason, held)
	v.raw.SetDeadline(time.Now().Add(lastWords))
	v.closeSoftly()
	v.raw.Close()
	v.proxy.uncount(v.seats)
	return nil
}

// serve lets the console talk, until the client's token ends or the proxy does at the latest.
func (g *guest) serve(ctx context.Context, c *Console) string {
	v := g.visitor
	if ends := v.identity.Expires; !ends.IsZero() {
		alarm := time.AfterFunc(time.Until(ends), func() { g.end(errExpired) })
		defer alarm.Stop()
	}
	stop := context.AfterFunc(v.proxy.ctx, func() { g.end(errStopping) })
	defer stop()
	wake := context.AfterFunc(ctx, func() { // whoever waits for the client's next bytes
		v.raw.SetReadDeadline(time.Now())
		v.raw.SetWriteDeadline(time.Now().Add(lastWords))
	})
	defer wake()
	return c.Serve(ctx, ConsoleGuest{Conn: v.hello.Conn, Who: *v.event(claimpool.EventCommand), Check: g.check})
}

// appendConsoleWelcome is what follows the login. What clients of the console do cannot be cancelled: their key is known to nobody.
func (v *visitor) appendConsoleWelcome(version string) []byte {
	b := wire.AppendParameterStatus(wire.AppendAuthOK(nil), "server_version", version)
	for _, kv := range consoleParameters {
		b = wire.AppendParameterStatus(b, kv[0], kv[1])
	}
	b = wire.AppendParameterStatus(b, "session_authorization", v.request.User)
	id, secret := v.proxy.keys.key(&client{id: uint32(v.number) & 0x7fffffff, number: v.number, long: v.hello.Startup.Version != wire.Version30})
	b = wire.AppendBackendKeyData(b, id, secret)
	return wire.AppendReadyForQuery(b, wire.StatusIdle)
}

// consoleParameters are what drivers want to know. There is no version of PostgreSQL: nothing of it is here.
var consoleParameters = [][2]string{
	{"server_encoding", "UTF8"}, {"client_encoding", "UTF8"}, {"DateStyle", "ISO, YMD"}, {"TimeZone", "UTC"},
	{"integer_datetimes", "on"}, {"standard_conforming_strings", "on"}, {"is_superuser", "off"}, {"application_name", ""},
}

// addGuest registers a client of the console, unless the proxy stops.
func (p *Proxy) addGuest(g *guest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	p.guests[g] = struct{}{}
	return true
}

func (p *Proxy) removeGuest(g *guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.guests, g)
}

// endGuests ends the clients of the console that bad gives a reason for.
func (p *Proxy) endGuests(bad func(*guest) error) {
	p.mu.Lock()
	var list []*guest
	for g := range p.guests {
		list = append(list, g)
	}
	p.mu.Unlock()
	for _, g := range list {
		if err := bad(g); err != nil {
			g.end(err)
		}
	}
}
