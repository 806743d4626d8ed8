package admin

import (
	"context"
	"time"

	"github.com/claimpool/claimpool"
)

// Meter reads what GET /metrics shows.
type Meter interface {
	Measure(ctx context.Context) (*Measures, error)
}

// Measures are what the proxy does at a moment, and has counted since its start: numbers, and no word about any person.
type Measures struct {
	Pools   []PoolMeasures
	Clients int // those that are logging in included
	Streams int // of them, replication connections
	Ready   bool

	Logins  []LoginMeasures
	Dropped uint64            // connections over all limits
	Refused map[string]uint64 // requests, by class of SQLSTATE
	CutOff  map[string]uint64 // connections, by class of SQLSTATE

	Issuers     []IssuerMeasures // of those whose keys are fetched
	Signatures  SignatureMeasures
	Revocations *RevocationMeasures // nil: there is no table
	Audit       *AuditMeasures      // nil: there is no stream
}

// PoolMeasures are those of one pool. The counts begin when the pool is made.
type PoolMeasures struct {
	Database, Target, Role, Mode string
	Unlisted                     bool // the configuration does not name the database: clients do

	Active, Idle, Opening, Pinned, Unsure int // server connections; the last two are among the active
	Clients, Working, Waiting             int // clients; the last two are among the first
	LongestWait, OldestPin                time.Duration

	Size, Reserve, PinSize, QueueLength int
	QueueWait                           time.Duration

	Handovers           map[string]uint64 // by kind
	Transactions        uint64
	Held, Waits         claimpool.Durations // for a transaction; in the queue
	QueueFull, TimedOut uint64              // clients that were refused
	Opened, OpenFailed  uint64
	Closed              map[string]uint64 // by reason
	Pins, PinsTimedOut  uint64
	ToServers           uint64 // bytes
	ToClients           uint64 // bytes
}

// plus adds another pool's, where both are shown as one.
func (p *PoolMeasures) plus(o *PoolMeasures) {
	for _, n := range []struct {
		sum *int
		add int
	}{
		{&p.Active, o.Active}, {&p.Idle, o.Idle}, {&p.Opening, o.Opening}, {&p.Pinned, o.Pinned}, {&p.Unsure, o.Unsure},
		{&p.Clients, o.Clients}, {&p.Working, o.Working}, {&p.Waiting, o.Waiting},
		{&p.Size, o.Size}, {&p.Reserve, o.Reserve}, {&p.PinSize, o.PinSize}, {&p.QueueLength, o.QueueLength},
	} {
		*n.sum += n.add
	}
	for _, n := range []struct {
		sum *uint64
		add uint64
	}{
		{&p.Transactions, o.Transactions}, {&p.QueueFull, o.QueueFull}, {&p.TimedOut, o.TimedOut}, {&p.Opened, o.Opened}, {&p.OpenFailed, o.OpenFailed},
		{&p.Pins, o.Pins}, {&p.PinsTimedOut, o.PinsTimedOut}, {&p.ToServers, o.ToServers}, {&p.ToClients, o.ToClients},
	} {
		*n.sum += n.add
	}
	p.LongestWait, p.OldestPin, p.QueueWait = max(p.LongestWait, o.LongestWait), max(p.OldestPin, o.OldestPin), max(p.QueueWait, o.QueueWait)
	p.Held.Plus(&o.Held)
	p.Waits.Plus(&o.Waits)
	p.Handovers, p.Closed = together(p.Handovers, o.Handovers), together(p.Closed, o.Closed)
}

func together(a, b map[string]uint64) map[string]uint64 {
	sum := make(map[string]uint64, len(a))
	for _, m := range []map[string]uint64{a, b} {
		for k, n := range m {
			sum[k] += n
		}
	}
	return sum
}

// LoginMeasures are those of the logins by one method; "" is those who were sent away before one was chosen.
type LoginMeasures struct {
	Method         string
	Accepted, Left uint64
	Refused        map[string]uint64   // by class of SQLSTATE
	Took           claimpool.Durations // of the accepted ones
}

// IssuerMeasures are those of the keys of one issuer.
type IssuerMeasures struct {
	Name              string // in the configuration
	Fetches, Failures uint64 // the latter among the former
	Keys              int
	Age               time.Duration // since the last fetch that worked began; negative: none has
}

// SignatureMeasures are those of the signatures that are remembered.
type SignatureMeasures struct {
	Hits, Misses uint64
	Known        int
}

// RevocationMeasures are those of what is known of the table of revocations.
type RevocationMeasures struct {
	Entries int
	Age     time.Duration // of that knowledge; negative: there is none yet
}

// AuditMeasures are those of the audit stream.
type AuditMeasures struct {
	Written, Lost  uint64
	Waiting, Queue int
	Failing        bool
}
