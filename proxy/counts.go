package proxy

import (
	"sync"
	"time"

	"github.com/claimpool/claimpool"
)

// Handover is what it took to make a server a client's at the beginning of a transaction.
type Handover uint8

// The kinds of hand-overs.
const (
	NoHandover     Handover = iota // the server carried the client's identity and settings already
	FirstHandover                  // it had served nobody yet
	RenewHandover                  // the same identity: its settings or its context were put on again
	ResetHandover                  // the same identity, but something was left on the server that not even that may find
	SwitchHandover                 // another identity's
	ReopenHandover                 // session mode: its connection was replaced by one that is opened as the client has asked for
	handoverKinds
)

var handoverNames = [handoverKinds]string{"none", "first", "renew", "reset", "switch", "reopen"}

// String is the kind's name in metrics.
func (h Handover) String() string {
	if h < handoverKinds {
		return handoverNames[h]
	}
	return "unknown"
}

// PoolCounts is what a pool has counted since it was made. They are plain numbers of its loop, and none of them asks a clock that was
// not asked before: a transaction pays a few nanoseconds for all of them.
type PoolCounts struct {
	Handovers    [handoverKinds]uint64 // transactions that have begun, by what it took; each attempt counts
	Transactions uint64                // answers that left a server outside of a transaction
	ToServers    uint64                // bytes of clients' messages
	ToClients    uint64                // bytes of servers' messages
	Held         claimpool.Durations   // how long clients had a server, hand-over included, for a transaction or a pipeline of them
	Waits        claimpool.Durations   // of those who waited for a server and got one
	OpenFailed   uint64                // server connections that could not be opened
	PinsTimedOut uint64                // pins that were ended with their clients, at PinTimeout
}

// handover tells what it will take to make the server the client's.
func (s *backend) handover(c *client) Handover {
	switch before := s.session.Carries(); {
	case before == nil:
		return FirstHandover
	case !s.session.Wipes(c.identity):
		return RenewHandover
	case before.Key() == c.identity.Key():
		return ResetHandover
	}
	return SwitchHandover
}

// Classes counts errors by the class of their SQLSTATE, its first two characters (PostgreSQL, Appendix A).
type Classes map[string]uint64

// maxClasses bounds what foreign errors, which may be a server's, can make us count apart: PostgreSQL has 43 classes.
const maxClasses = 64

// otherClass is that of internal errors, and of what is no SQLSTATE.
const otherClass = "XX"

func (m Classes) add(code claimpool.Code) {
	m[m.class(code)]++
}

func (m Classes) class(code claimpool.Code) string {
	if len(code) != 5 || !sqlstate(code[0]) || !sqlstate(code[1]) {
		return otherClass
	}
	class := string(code[:2])
	if _, ok := m[class]; !ok && len(m) >= maxClasses {
		return otherClass
	}
	return class
}

func sqlstate(b byte) bool { return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' }

func (m Classes) plus(other Classes) {
	for class, n := range other {
		m[class] += n
	}
}

// LoginCounts is what became of those who have come in by one method; "" is those who were sent away before one was chosen.
type LoginCounts struct {
	Accepted uint64
	Left     uint64              // they went by themselves
	Refused  Classes             // by the error that they were told
	Took     claimpool.Durations // of the accepted ones, from their startup message on
}

// loginCounts counts logins, which run beside the loops.
type loginCounts struct {
	mu      sync.Mutex
	methods map[claimpool.Method]*LoginCounts // guarded by mu
	dropped uint64                            // guarded by mu: closed without a word, over all limits
}

// of gives the counts of a method. The methods are few: they come from rules. n.mu is held.
func (n *loginCounts) of(m claimpool.Method) *LoginCounts {
	l := n.methods[m]
	if l == nil {
		if n.methods == nil {
			n.methods = map[claimpool.Method]*LoginCounts{}
		}
		l = &LoginCounts{Refused: Classes{}}
		n.methods[m] = l
	}
	return l
}

func (n *loginCounts) accepted(m claimpool.Method, took time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.of(m)
	l.Accepted++
	l.Took.Add(took)
}

func (n *loginCounts) refused(m claimpool.Method, code claimpool.Code) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(m).Refused.add(code)
}

func (n *loginCounts) left(m claimpool.Method) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(m).Left++
}

func (n *loginCounts) drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropped++
}

// copy gives the counts so far.
func (n *loginCounts) copy() (methods map[claimpool.Method]LoginCounts, dropped uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	methods = make(map[claimpool.Method]LoginCounts, len(n.methods))
	for m, l := range n.methods {
		own := *l
		own.Refused = Classes{}
		own.Refused.plus(l.Refused)
		methods[m] = own
	}
	return methods, n.dropped
}
