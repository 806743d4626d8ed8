package proxy

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/claimpool/claimpool"
)

// seat is one client's place in a count that is limited.
type seat struct {
	of   seatOf
	name string
}

type seatOf uint8

const (
	ofAddress seatOf = iota
	ofDatabase
	ofRole
	ofIdentity
	ofReplication // replication connections, by database
	ofConsole     // clients of the console
)

// census counts clients by what limits are for. What has no limit is not counted.
type census struct {
	mu    sync.Mutex
	seats map[seat]int // never 0
}

// take gives a seat unless limit have one already.
func (c *census) take(s seat, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seats[s] >= limit {
		return false
	}
	if c.seats == nil {
		c.seats = map[seat]int{}
	}
	c.seats[s]++
	return true
}

func (c *census) free(seats []seat) {
	if len(seats) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seats {
		if c.seats[s]--; c.seats[s] == 0 {
			delete(c.seats, s)
		}
	}
}

// unseat gives the client's seats back.
func (c *client) unseat() {
	c.pool.hub.proxy.census.free(c.seats)
	c.seats = nil
}

// finished is the end of the work for a client that is gone, whose seats have been taken until now: to say goodbye behind a long request
// is no way to get more of them.
func (s *backend) finished() {
	if c := s.former; c != nil {
		s.former = nil
		c.unseat()
	}
}

// sit takes a seat for the visitor. It says what is full otherwise.
func (v *visitor) sit(of seatOf, name string, limit int, full *claimpool.Error) error {
	if limit == 0 {
		return nil
	}
	s := seat{of, name}
	if !v.proxy.census.take(s, limit) {
		return full
	}
	v.seats = append(v.seats, s)
	return nil
}

// sitByAddress counts a client by where it comes from, before anything is known about it. Whoever has one address of IPv6
// has 2^64 of them.
func (v *visitor) sitByAddress(l *Limits) error {
	if v.request.Unix {
		return nil
	}
	addr := v.request.Addr.Addr()
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	return v.sit(ofAddress, addr.String(), l.ClientsPerAddress, &claimpool.Error{
		Code: claimpool.CodeTooManyConnections, Message: "too many connections from this address",
		Hint: "Raise limits.clients_per_address, or close connections that are not in use.",
	})
}

// sitAs counts a client that has handed in a fresh token by its new identity, where identities are limited. back counts it by the old one
// again.
func (c *client) sitAs(next *claimpool.Identity) (back func(), err error) {
	i := slices.IndexFunc(c.seats, func(s seat) bool { return s.of == ofIdentity })
	key := next.Key()
	if i < 0 || c.seats[i].name == string(key[:]) {
		return func() {}, nil
	}
	limit := c.limits().ClientsPerIdentity
	if limit == 0 {
		limit = math.MaxInt
	}
	census, before := &c.pool.hub.proxy.census, c.seats[i]
	after := seat{ofIdentity, string(key[:])}
	if !census.take(after, limit) {
		return nil, tooMany("this identity", "clients_per_identity")
	}
	census.free(c.seats[i : i+1])
	c.seats[i] = after
	return func() {
		census.take(before, math.MaxInt)
		census.free(c.seats[i : i+1])
		c.seats[i] = before
	}, nil
}

func tooMany(what, limit string) *claimpool.Error {
	return &claimpool.Error{
		Code: claimpool.CodeTooManyConnections, Message: "too many connections for " + what,
		Hint: "Raise limits." + limit + ", or close connections that are not in use.",
	}
}

// sitByIdentity counts a client by what it has proved.
func (v *visitor) sitByIdentity(l *Limits) error {
	key := v.identity.Key()
	for _, s := range []struct {
		of    seatOf
		name  string
		limit int
		what  string
		hint  string
	}{
		{ofDatabase, v.request.Database, l.ClientsPerDatabase, fmt.Sprintf("database %q", v.request.Database), "clients_per_database"},
		{ofRole, v.identity.Role, l.ClientsPerRole, fmt.Sprintf("role %q", v.identity.Role), "clients_per_role"},
		{ofIdentity, string(key[:]), l.ClientsPerIdentity, "this identity", "clients_per_identity"},
	} {
		if err := v.sit(s.of, s.name, s.limit, tooMany(s.what, s.hint)); err != nil {
			return err
		}
	}
	return nil
}
