package keyset

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/token"
)

// RemoteSpec says where the keys of an issuer are fetched from, and how often.
type RemoteSpec struct {
	// Exactly one of these: the issuer whose description names the address of the keys (OpenID Connect Discovery 1.0), or
	// that address itself.
	Discovery, JWKS string

	Algorithms []string // narrows what the keys may verify; never those of secrets

	Interval   time.Duration // the longest time between two fetches
	AskAgain   time.Duration // the least time between two fetches for kids that nobody knows
	StaleAfter time.Duration // how long keys are used after the last fetch that worked
	Timeout    time.Duration // of one fetch, with its discovery

	Roots       *x509.CertPool // sign the server's certificate; nil means those of the system
	Authorities *x509.CertPool // sign the keys' own certificates (x5c); nil means that none are needed
}

// Check says what is wrong with a spec.
func (s *RemoteSpec) Check() error {
	address := s.JWKS
	switch {
	case (s.Discovery == "") == (s.JWKS == ""):
		return errors.New("either the issuer to discover or the address of its keys is needed")
	case s.Discovery != "":
		address = DiscoveryURL(s.Discovery)
	}
	if err := CheckURL(address); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if secret, err := wantsSecret(s.Algorithms); err != nil {
		return err
	} else if secret {
		return errors.New("a secret cannot be fetched: everybody else could, too")
	}
	switch {
	case s.Interval <= 0 || s.AskAgain <= 0 || s.Timeout <= 0:
		return errors.New("every time must be more than zero")
	case s.StaleAfter < s.Interval:
		return errors.New("keys would be too old before they are fetched again")
	}
	return nil
}

// Bounds on what clients can make us do.
const (
	maxWait      = 3 * time.Second // of one login for a fetch
	maxWaiting   = 32              // logins that wait for one fetch; more are told at once that their key is unknown
	minFresh     = 30 * time.Second
	firstRetry   = time.Second
	slowestRetry = 5 * time.Minute
)

// errNotYet is the reason before the first fetch has ended.
var errNotYet = errors.New("they have not been fetched yet")

// Remote is a token.KeySource of keys that an issuer publishes. They are fetched again and again in the background; a login
// waits for a fetch only when it brings a kid that nobody knows, and then for a bounded time. It is safe for concurrent use.
//
// What a fetch gives replaces all keys, so that a key that the issuer has removed is gone. When a fetch fails, the last keys
// stay in use, up to StaleAfter.
type Remote struct {
	spec    RemoteSpec
	current atomic.Pointer[fetched]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	report func(Report)

	mu      sync.Mutex
	flight  chan struct{} // closed when the running fetch ends; nil when none is running
	waiting int           // logins that wait for it
	asked   time.Time     // when the last fetch for an unknown kid began
	fails   int           // fetches that have failed in a row
	stats   RemoteStats
	err     error     // of the last fetch
	due     time.Time // of the next fetch
}

// fetched is what one fetch gave; it never changes.
type fetched struct {
	keys    token.Keys
	named   bool // some key has a kid
	skipped []Skip
	at      time.Time
}

// Report is what a fetch has led to.
type Report struct {
	Err     error     // why it failed; nil when it worked
	Until   time.Time // after a failure: how long the last keys stay in use; zero when there are none
	KIDs    []string  // after a success
	Skipped []Skip    // after a success: keys that were left out, and why
	Changed bool      // this is news: other keys, the first failure, another reason, or the end of failures
}

// RemoteStats counts fetches, and says what they have given.
type RemoteStats struct {
	Fetches, Failures uint64    // the latter among the former
	Keys              int       // that may be used now
	Fetched           time.Time // when the last fetch that worked began; zero: none has
}

// Stats gives the counts so far.
func (r *Remote) Stats() RemoteStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	if now := r.current.Load(); now != nil {
		s.Fetched = now.at
	}
	if now := r.usable(); now != nil {
		s.Keys = len(now.keys)
	}
	return s
}

// NewRemote makes a source. Nothing is fetched before Start, or before the first question.
func NewRemote(spec RemoteSpec) (*Remote, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	r := &Remote{spec: spec, err: errNotYet}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Start fetches in the background from now on, until Close. report is called after each fetch.
func (r *Remote) Start(report func(Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	r.report = report
	r.wg.Go(r.run)
}

// Close ends the background work, and waits for it. The keys stay.
func (r *Remote) Close() {
	r.mu.Lock() // so that launch does not begin behind the Wait
	r.cancel()
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *Remote) run() {
	for r.ctx.Err() == nil {
		r.mu.Lock()
		wait, flight := time.Until(r.due), r.flight
		if flight == nil && wait <= 0 {
			flight = r.launch()
		}
		r.mu.Unlock()
		if flight != nil {
			<-flight
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
		}
	}
}

// Fetched waits until the first fetch has ended, well or not, or ctx has.
func (r *Remote) Fetched(ctx context.Context) {
	r.mu.Lock()
	flight := r.flight
	if flight == nil && r.err == errNotYet {
		flight = r.launch()
	}
	r.mu.Unlock()
	if flight == nil {
		return
	}
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

// Keys returns the keys with the given ID and those without an ID; all keys when kid is empty (token.KeySource). When no key
// has the ID, or there are no keys at all, it may fetch first.
func (r *Remote) Keys(kid string) ([]token.Key, error) {
	if r.Waits(kid) {
		r.ask()
	}
	now := r.usable()
	if now == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			return nil, errNotYet // the machine has slept: they are too old, and the next fetch is about to begin
		}
		return nil, r.err
	}
	return now.keys.Keys(kid)
}

// Waits reports whether Keys may fetch first.
func (r *Remote) Waits(kid string) bool {
	now := r.usable()
	return now == nil || now.misses(kid)
}

// usable gives the keys that may be used: none before the first fetch that worked, and none that are too old.
func (r *Remote) usable() *fetched {
	now := r.current.Load()
	if now == nil || time.Since(now.at) > r.spec.StaleAfter {
		return nil
	}
	return now
}

// misses reports whether a kid is one that the issuer may have begun to use since.
func (f *fetched) misses(kid string) bool {
	return kid != "" && (f.named || len(f.keys) == 0) && !slices.ContainsFunc(f.keys, func(k token.Key) bool { return k.ID == kid })
}

// ask waits for the running fetch, or for a new one where the last one that was asked for is long enough ago. Anybody can
// send tokens with made-up kids: they cost the issuer one fetch in AskAgain, and us maxWaiting logins that wait for maxWait.
func (r *Remote) ask() {
	r.mu.Lock()
	flight := r.flight
	if flight == nil && time.Since(r.asked) >= r.spec.AskAgain {
		r.asked = time.Now()
		flight = r.launch()
	}
	if flight == nil || r.waiting >= maxWaiting {
		r.mu.Unlock()
		return
	}
	r.waiting++
	r.mu.Unlock()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-flight:
	case <-timer.C:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	r.waiting--
	r.mu.Unlock()
}

// launch begins a fetch, unless the source is closed. r.mu is held, and no other fetch is running.
func (r *Remote) launch() chan struct{} {
	if r.ctx.Err() != nil {
		return nil
	}
	flight := make(chan struct{})
	r.flight = flight
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, r.spec.Timeout)
		defer cancel()
		now, age, err := r.fetch(ctx)
		rep, report := r.land(now, age, err)
		if report != nil && r.ctx.Err() == nil {
			report(rep)
		}
		close(flight)
	})
	return flight
}

// land takes over what a fetch gave.
func (r *Remote) land(now *fetched, age time.Duration, err error) (Report, func(Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, last := r.current.Load(), r.err
	r.flight, r.err = nil, err
	rep := Report{Err: err}
	r.stats.Fetches++
	if err != nil {
		r.stats.Failures++
		r.due = time.Now().Add(min(firstRetry<<min(r.fails, 20), slowestRetry, r.spec.Interval))
		r.fails++
		if before != nil {
			rep.Until = before.at.Add(r.spec.StaleAfter)
		}
		rep.Changed = last == nil || last.Error() != err.Error()
		return rep, r.report
	}
	r.due, r.fails = time.Now().Add(nextFetch(r.spec.Interval, age)), 0
	r.current.Store(now)
	rep.KIDs, rep.Skipped = now.kids(), now.skipped
	rep.Changed = last != nil || before == nil || !reflect.DeepEqual(before.keys, now.keys)
	return rep, r.report
}

// nextFetch says when to come again: when the server says, but at the interval at the latest, and not all the time.
func nextFetch(interval, maxAge time.Duration) time.Duration {
	if maxAge < 0 {
		return interval
	}
	return min(interval, max(maxAge, minFresh))
}

func (f *fetched) kids() []string {
	list := make([]string, len(f.keys))
	for i, k := range f.keys {
		list[i] = k.ID
	}
	return list
}

// fetch gets the keys, and says for how long the server thinks that they may be kept. The time that counts for StaleAfter is
// when it began.
func (r *Remote) fetch(ctx context.Context) (*fetched, time.Duration, error) {
	began := time.Now()
	address := r.spec.JWKS
	if r.spec.Discovery != "" {
		var err error
		if address, err = discover(ctx, r.spec.Discovery, r.spec.Roots); err != nil {
			return nil, 0, err
		}
	}
	doc, err := fetch(ctx, address, r.spec.Roots)
	if err != nil {
		return nil, 0, err
	}
	keys, skipped, err := parseJWKS(doc.body, r.spec.Algorithms, r.condition(began))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", address, err)
	}
	for i := range skipped {
		skipped[i].File = address
	}
	named := slices.ContainsFunc(keys, func(k token.Key) bool { return k.ID != "" })
	return &fetched{keys: keys, named: named, skipped: skipped, at: began}, doc.maxAge, nil
}

// condition is what each key must fulfil besides its form.
func (r *Remote) condition(now time.Time) func(*token.Key, *jose.JSONWebKey) error {
	if r.spec.Authorities == nil {
		return nil
	}
	return func(key *token.Key, jwk *jose.JSONWebKey) error { return certified(key, jwk, r.spec.Authorities, now) }
}
