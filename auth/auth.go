// Package auth picks the rule for a client, runs the exchange that the rule asks for, and turns a credential into an
// Identity or a refusal; it slows down whoever keeps failing. It does not know pools, servers or sockets.
//
// Three rules hold everywhere. The first rule that matches decides alone: nobody who failed its proof gets a second try
// with another one (CVE-2021-21378). All failed proofs look alike to the client: one text, one SQLSTATE, and as nearly as
// we can the same work. And nothing is spent on a client that its rule refuses unseen.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// Wire is the connection to the client. Receive gives the next message; it refuses a body longer than max bytes before it
// reads it. The body belongs to the caller. Deadlines are the business of whoever made the Wire. A Wire may also have a method
// Waiting() (over func()): it is told when the login waits for somebody else than the client; and a method Chosen(claimpool.Method): it is
// told what the client's rule asks for.
type Wire interface {
	Send(b []byte) error
	Receive(max int) (typ byte, body []byte, err error)
}

// Request is what is known of a client before it has proved anything.
type Request struct {
	Database string
	User     string
	Addr     netip.AddrPort       // not looked at when Unix is set
	Unix     bool                 // the client came through a unix socket
	Relayed  bool                 // a load balancer passes the client on, who is not on this machine; Addr may be the balancer's
	TLS      *tls.ConnectionState // nil when there is no TLS

	// Peer is the number of the user whose process the client is, as the operating system says; nil without a unix socket.
	Peer *uint32

	// Context is the token that the client has brought in its startup packet (jwt.context), on top of what its rule asks
	// for; nil when there is none.
	Context claimpool.Secret

	// JIT says that the client has asked for just-in-time access.
	JIT bool

	// Certificate is the proxy's own certificate on this TLS connection (DER), for channel binding.
	Certificate []byte
}

// Config is what an Authenticator needs.
type Config struct {
	Rules    []Rule
	Throttle Throttle

	// JIT is just-in-time access, by database. The others have none.
	JIT map[string]*JIT

	// Seed keeps the salts of decoys, which unknown users are shown, the same over restarts and between proxies behind one
	// name; else they would give unknown users away. Nil makes a new one for each Authenticator.
	Seed claimpool.Secret

	// Revocations are asked about everybody whose proof holds. Nil: nobody is signed out before the end of his token.
	Revocations Revocations

	Clock func() time.Time // nil means time.Now
	Rand  io.Reader        // nil means crypto/rand
}

// Authenticator knows the rules. It is safe for use by many goroutines.
type Authenticator struct {
	rules    []Rule
	seed     claimpool.Secret
	rand     io.Reader
	clock    func() time.Time
	jit      map[string]*JIT
	throttle *throttle
	revoked  Revocations // nil when there are none
}

// New makes an Authenticator. Rules that could never work, or that would let in more people than they seem to, are errors.
func New(cfg Config) (*Authenticator, error) {
	if len(cfg.Rules) == 0 {
		return nil, errors.New("there are no rules, so nobody could log in")
	}
	for i := range cfg.Rules {
		if err := cfg.Rules[i].check(); err != nil {
			return nil, fmt.Errorf("rule %q: %w", cfg.Rules[i].Name, err)
		}
	}
	a := &Authenticator{rules: cfg.Rules, seed: cfg.Seed, rand: cfg.Rand, revoked: cfg.Revocations}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	if a.seed == nil {
		a.seed = make(claimpool.Secret, seedSize)
		if _, err := io.ReadFull(a.rand, a.seed); err != nil {
			return nil, fmt.Errorf("make seed: %w", err)
		}
	}
	clock := cfg.Clock
	if clock == nil {
		clock = time.Now
	}
	a.clock, a.jit = clock, cfg.JIT
	a.throttle = newThrottle(cfg.Throttle, clock)
	return a, nil
}

// failedProof reports whether the client has shown a credential that is wrong. A token that nobody can judge, because its
// issuer is down, is not one: the client must not be locked out for that.
func failedProof(err error) bool {
	var r *token.Refusal
	if errors.As(err, &r) && r.Reason == token.KeysUnavailable {
		return false
	}
	var e *claimpool.Error
	if errors.As(err, &e) {
		return e.Code == claimpool.CodeInvalidPassword
	}
	return !errors.Is(err, errNoToken)
}

// seedSize is the length of a seed that we make ourselves.
const seedSize = 32

// Authenticate says who the client is. It sends the authentication requests, up to and with AuthenticationSASLFinal, but
// not AuthenticationOk. Every error is a *claimpool.Error for the client, with the reason for the log as its cause.
func (a *Authenticator) Authenticate(ctx context.Context, req Request, w Wire) (*claimpool.Identity, error) {
	rule, err := a.choose(&req)
	if err != nil {
		return nil, err
	}
	if w, ok := w.(interface{ Chosen(claimpool.Method) }); ok {
		w.Chosen(rule.Method)
	}
	if !a.throttle.allow(&req) {
		return nil, errThrottled
	}
	x := exchange{auth: a, rule: rule, req: &req, wire: w, turn: func() (over func()) { return a.throttle.ask(ctx, &req) }}
	id, err := x.run(ctx)
	failed := err != nil && failedProof(err)
	// Whoever judges may have taken his time, and meanwhile others have failed: then a good guess looks like a bad one.
	throttled := (err == nil || failed) && !a.throttle.allow(&req)
	if failed {
		a.throttle.failed(&req)
	}
	switch {
	case throttled:
		return nil, errThrottled
	case err != nil:
		return nil, x.refuse(err)
	case x.proved == nil:
		return id, nil
	}
	if err := x.proved(); err != nil {
		return nil, err
	}
	return id, nil
}

var errThrottled = &claimpool.Error{
	Code: claimpool.CodeConnectionRejected, Message: "too many failed logins", Hint: "Try again later.",
}
