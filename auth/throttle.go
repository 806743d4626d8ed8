package auth

import (
	"context"
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
	// throttleRows and the columns are the size of a table of counters, 8 bytes each, whatever an attacker does: 2 MiB for
	// addresses, 512 KiB for users. A map with an entry for each address or user name would be his to fill.
	//
	// The more strangers have failed lately, the more often somebody else shares all of his counters with them, and is taken for
	// one of them. With 500 new addresses a second and the default settings, 1,500 counters of a row are not empty: that is one address
	// in 60 billions; with 5,000 a second, one in 3,000. (Four rows would make it one in 250,000, and one in 55.)
	throttleRows   = 8
	addressColumns = 1 << 15
	userColumns    = 1 << 13
)

// throttle counts failures by address and by user. An address with too many failures is refused. A user with too many is
// refused only to addresses that failed themselves lately: so an attacker with many machines has one guess from each, and
// cannot lock a user out who comes from somewhere else.
type throttle struct {
	full  time.Duration // a counter that would take longer than this to empty is refused
	cost  time.Duration // how long it takes until one failure is forgiven
	clock func() time.Time
	start time.Time

	mu        sync.Mutex
	addresses leaky // under mu
	users     leaky // under mu

	gates gates // for those whose proofs others judge
}

// leaky is a table of leaky buckets, in the manner of a count-min sketch: a key has one bucket in each row, and the
// emptiest of them counts. A stranger who shares some of a key's buckets does no harm; he would have to share all of them,
// and the hash is keyed. A bucket is the moment, since throttle.start, at which it is empty.
type leaky struct {
	seed maphash.Seed
	rows [throttleRows][]time.Duration
}

// newLeaky makes an empty table. The number of columns is a power of two.
func newLeaky(columns int) leaky {
	l := leaky{seed: maphash.MakeSeed()}
	for i := range l.rows {
		l.rows[i] = make([]time.Duration, columns)
	}
	return l
}

// newThrottle gives nil, which throttles nobody, when there is no limit.
func newThrottle(t Throttle, clock func() time.Time) *throttle {
	if t.Failures <= 0 || t.Window <= 0 {
		return nil
	}
	cost := t.Window / time.Duration(t.Failures)
	return &throttle{
		full: time.Duration(t.Failures-1) * cost, cost: cost, clock: clock, start: clock(),
		addresses: newLeaky(addressColumns), users: newLeaky(userColumns),
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
	address := t.addresses.level(hashAddress(t.addresses.seed, req.Addr), now)
	if address > t.full {
		return false
	}
	return address <= 0 || t.users.level(hashUser(t.users.seed, req.User), now) <= t.full
}

// ask waits until the client's address may have somebody else asked.
func (t *throttle) ask(ctx context.Context, req *Request) (leave func()) {
	if t == nil || req.Unix {
		return func() {}
	}
	return t.gates.enter(ctx, network(req.Addr))
}

// failed counts a failed proof.
func (t *throttle) failed(req *Request) {
	if t == nil || req.Unix {
		return
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addresses.add(hashAddress(t.addresses.seed, req.Addr), now, t.cost)
	t.users.add(hashUser(t.users.seed, req.User), now, t.cost)
}

func (t *throttle) now() time.Duration { return t.clock().Sub(t.start) }

// network takes an IPv6 network of 64 bits as one address: that is what one customer gets.
func network(addr netip.AddrPort) netip.Addr {
	ip := addr.Addr().Unmap()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			ip = p.Addr()
		}
	}
	return ip
}

func hashAddress(seed maphash.Seed, addr netip.AddrPort) uint64 {
	return maphash.Comparable(seed, network(addr))
}

func hashUser(seed maphash.Seed, user string) uint64 { return maphash.String(seed, user) }

// bucket gives the key's place in a row. Each row mixes all 64 bits of the hash anew (the finalizer of SplitMix64, see Steele, Lea and
// Flood, "Fast Splittable Pseudorandom Number Generators", 2014). Rows made of two columns of the hash (double hashing) would be
// cheaper, but two keys that agree in two of them would agree in all: one in 360,000 strangers while 500 addresses fail each second.
func (l *leaky) bucket(hash uint64, row int) *time.Duration {
	x := hash + uint64(row)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return &l.rows[row][x&uint64(len(l.rows[row])-1)]
}

// level is how long it takes until the key's failures are forgiven. A clock that went back forgives nothing.
func (l *leaky) level(hash uint64, now time.Duration) time.Duration {
	least := time.Duration(math.MaxInt64)
	for row := range l.rows {
		least = min(least, max(0, *l.bucket(hash, row)-now))
	}
	return least
}

// add adds a failure to the key's buckets. Only the emptiest ones rise ("conservative update"), so that others who share
// the fuller ones are spared.
func (l *leaky) add(hash uint64, now, cost time.Duration) {
	empty := now + l.level(hash, now) + cost
	for row := range l.rows {
		b := l.bucket(hash, row)
		*b = max(*b, empty)
	}
}
