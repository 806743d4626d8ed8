package auth

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Throttle says how repeated failures are slowed down.
type Throttle struct {
	// Failures is how many proofs may fail before further logins are refused unseen. Zero means never throttle.
	Failures int

	// Window is the time in which that many failures are forgiven, one after the other.
	Window time.Duration
}

const (
	// throttleRows and throttleColumns are the size of a table of counters: 4 × 4,096 × 16 bytes, whatever an attacker
	// does. A map with an entry for each address or user name would be his to fill.
	throttleRows    = 4
	throttleColumns = 1 << 12
)

// throttle counts failures by address and by user. An address with too many failures is refused. A user with too many is
// refused only to addresses that failed themselves lately: so an attacker with many machines has one guess from each, and
// cannot lock a user out who comes from somewhere else.
type throttle struct {
	limit float64
	leak  float64 // failures forgiven per second
	clock func() time.Time
	start time.Time

	mu        sync.Mutex
	addresses leaky // under mu
	users     leaky // under mu
}

// leaky is a table of leaky buckets, in the manner of a count-min sketch: a key has one bucket in each row, and the
// emptiest of them counts. A stranger who shares some of a key's buckets does no harm; he would have to share all four,
// and the hash is keyed.
type leaky struct {
	seed    maphash.Seed
	buckets [throttleRows][throttleColumns]bucket
}

type bucket struct {
	level float64
	at    float64 // seconds since throttle.start
}

// newThrottle gives nil, which throttles nobody, when there is no limit.
func newThrottle(t Throttle, clock func() time.Time) *throttle {
	if t.Failures <= 0 || t.Window <= 0 {
		return nil
	}
	return &throttle{
		limit: float64(t.Failures), leak: float64(t.Failures) / t.Window.Seconds(), clock: clock, start: clock(),
		addresses: leaky{seed: maphash.MakeSeed()}, users: leaky{seed: maphash.MakeSeed()},
	}
}

// allow reports whether the client may try.
func (t *throttle) allow(req *Request) bool {
	if t == nil || req.Unix {
		return true
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	// A bucket that has leaked below the limit has room for one more try.
	address := t.addresses.level(hashAddress(t.addresses.seed, req.Addr), now, t.leak)
	if address > t.limit-1 {
		return false
	}
	return address <= 0 || t.users.level(hashUser(t.users.seed, req.User), now, t.leak) <= t.limit-1
}

// failed counts a failed proof.
func (t *throttle) failed(req *Request) {
	if t == nil || req.Unix {
		return
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addresses.add(hashAddress(t.addresses.seed, req.Addr), now, t.leak)
	t.users.add(hashUser(t.users.seed, req.User), now, t.leak)
}

func (t *throttle) now() float64 { return t.clock().Sub(t.start).Seconds() }

// hashAddress takes an IPv6 network of 64 bits as one address: that is what one customer gets.
func hashAddress(seed maphash.Seed, addr netip.AddrPort) uint64 {
	ip := addr.Addr().Unmap()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			ip = p.Addr()
		}
	}
	return maphash.Comparable(seed, ip)
}

func hashUser(seed maphash.Seed, user string) uint64 { return maphash.String(seed, user) }

// column gives the key's place in a row: each row uses 12 other bits of the hash.
func column(hash uint64, row int) uint64 { return hash >> (12 * row) % throttleColumns }

func (l *leaky) level(hash uint64, now, leak float64) float64 {
	least := math.Inf(1)
	for row := range l.buckets {
		least = min(least, l.buckets[row][column(hash, row)].now(now, leak))
	}
	return least
}

// add adds a failure to the key's buckets. Only the emptiest ones rise ("conservative update"), so that others who share
// the fuller ones are spared.
func (l *leaky) add(hash uint64, now, leak float64) {
	level := l.level(hash, now, leak) + 1
	for row := range l.buckets {
		b := &l.buckets[row][column(hash, row)]
		*b = bucket{level: max(b.now(now, leak), level), at: now}
	}
}

// now is the level after what has leaked since. A clock that went back forgives nothing.
func (b bucket) now(now, leak float64) float64 {
	return max(0, b.level-max(0, now-b.at)*leak)
}
