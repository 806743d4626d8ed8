// Package pool decides which client gets which server connection: limits, a fair queue, affinity by identity, idle and
// life time, and the list of reasons for not using a server again. It does not know sockets or the protocol, and it
// starts nothing: it answers, and its owner acts.
//
// A pool belongs to one event loop, so it has no locks. Time comes in as a parameter.
package pool

import (
	"time"

	"github.com/claimpool/claimpool"
)

// Mode says for how long a client keeps a server.
type Mode string

// The pool modes.
const (
	Session     Mode = "session"     // until the client leaves
	Transaction Mode = "transaction" // until the transaction is over
	Statement   Mode = "statement"   // until the statement is over; transactions of several statements are refused
)

// Isolation says whether a server may serve a second identity.
type Isolation string

// The isolation levels.
const (
	Shared Isolation = "shared" // after a verified hand-over
	Strict Isolation = "strict" // never: another identity gets a new server connection
	Off    Isolation = "off"    // as it is: where no trusted context depends on it
)

// maxPassed is how often the client at the head of the queue may be passed over by a client whose identity the freed
// server already carries. It bounds what affinity may cost in fairness.
const maxPassed = 8

// Config holds the limits of one pool. All of them are set: the zero value of a limit means "none of it".
type Config struct {
	Mode         Mode
	Isolation    Isolation
	Size         int           // server connections
	Min          int           // server connections kept open while the pool is in use
	Reserve      int           // server connections beyond Size for clients that waited ReserveAfter
	ReserveAfter time.Duration // how long a client waits before the reserve is used
	QueueLength  int           // clients that may wait
	QueueWait    time.Duration // how long a client may wait
	ShareSize    int           // server connections that one share may use at the same time; 0 means no such limit
	IdleTimeout  time.Duration // an idle server is closed after this; 0 means never
	Lifetime     time.Duration // a server is closed at this age, once idle; 0 means never
	Pins         int           // leased servers that may stay with their clients between transactions; see Pin
	CheckAfter   time.Duration // a server idle for longer is asked for a sign of life before use; 0 means never
}

// Pool shares the servers of one {database, role} among its clients.
type Pool struct {
	cfg       Config
	entries   map[claimpool.Key]*Entry
	shares    map[claimpool.Key]*share
	idle      list[Server] // all idle servers, the longest idle first
	unused    list[Server] // those of them that have served nobody yet
	queue     list[Ticket] // all waiting tickets, the oldest first
	turns     list[share]  // the shares with a demand, in the order of their turns
	demand    int          // waiting tickets that may be served
	paused    bool         // nobody gets a server; who asks for one waits
	unmatched bool         // some of them may have become so while servers were idle
	clients   int
	leased    int
	pinned    int // of them
	opening   int
	spread    bool // a server carries one identity too many: one more connection is worth its price
	backoff   time.Time
	failed    int // openings that failed in a row
	stats     Stats
	all       map[*Server]struct{}
}

// Stats counts what a pool did since it was made, and what it holds now.
type Stats struct {
	Leases    uint64 // servers given to clients
	Handovers uint64 // of them, to another identity than before
	Waited    uint64 // clients that had to wait
	Refused   uint64 // clients that were refused: the queue was full
	TimedOut  uint64 // clients that waited too long
	Opened    uint64
	Closed    [reasonCount]uint64 // by Reason

	Pins uint64 // servers that have stayed with their clients

	Idle, Leased, Pinned, Opening, Waiting, Identities, Clients int
}

// Entry is one identity as this pool knows it.
type Entry struct {
	Value any // the owner's

	key     claimpool.Key
	share   *share
	clients int
	idle    list[Server] // idle servers that carry this identity, the longest idle first
	queue   list[Ticket]
	servers int // servers that carry this identity, idle or leased
}

// New makes a pool.
func New(cfg Config) *Pool {
	return &Pool{
		cfg: cfg, entries: map[claimpool.Key]*Entry{}, shares: map[claimpool.Key]*share{}, all: map[*Server]struct{}{},
	}
}

// Config gives the pool's limits.
func (p *Pool) Config() Config { return p.cfg }

// SetConfig changes the limits. Servers beyond a smaller size are closed when they come back.
func (p *Pool) SetConfig(cfg Config) {
	p.cfg, p.unmatched = cfg, true
	for at := p.queue.first; at != nil; at = at.next {
		p.settle(at.of.Entry.share)
	}
}

// Waiting is how many clients wait.
func (p *Pool) Waiting() int { return p.queue.n }

// Stats gives the counts.
func (p *Pool) Stats() Stats {
	s := p.stats
	s.Pinned, s.Clients = p.pinned, p.clients
	s.Idle, s.Leased, s.Opening, s.Waiting, s.Identities = p.idle.n, p.leased, p.opening, p.queue.n, len(p.entries)
	return s
}

// Enter makes an identity known; each client calls it once, and Leave when it goes. share says with whom the identity
// shares its part of the pool; its own key: with nobody.
func (p *Pool) Enter(key, share claimpool.Key) *Entry {
	e := p.entries[key]
	if e == nil {
		e = &Entry{key: key, share: p.share(share)}
		p.entries[key] = e
	}
	e.clients++
	p.clients++
	return e
}

// Leave is the end of a client.
func (p *Pool) Leave(e *Entry) {
	e.clients--
	p.clients--
	p.forget(e)
}

// forget drops an identity that has neither clients nor servers: a stream of ever new identities costs no memory.
func (p *Pool) forget(e *Entry) {
	if e != nil && e.clients == 0 && e.servers == 0 {
		delete(p.entries, e.key)
		if e.share.entries--; e.share.entries == 0 {
			delete(p.shares, e.share.key)
		}
	}
}

// total is what counts against Size.
func (p *Pool) total() int { return p.idle.n + p.leased + p.opening }
