package pool

import "time"

// A server or ticket is in two lists at once: that of the whole pool, and that of its identity. Both are doubly linked
// through the elements themselves, so that nothing on the way of a transaction allocates or searches.
const (
	global = iota
	own
)

type links[T any] struct{ prev, next *T }

// Server is the pool's half of a server connection. Value is the owner's.
type Server struct {
	Value any

	at        [2]links[Server]
	entry     *Entry // the identity whose state the connection carries; nil: none yet
	born      time.Time
	freed     time.Time
	expires   time.Time // zero: never
	idle      bool
	leased    bool
	condemned Reason // close it when it comes back
}

// Fresh reports whether the connection has served nobody yet.
func (s *Server) Fresh() bool { return s.entry == nil }

// Idle reports whether no client has the connection.
func (s *Server) Idle() bool { return s.idle }

// IdleFor is how long the connection had been idle when it was given out.
func (s *Server) IdleFor(now time.Time) time.Duration { return now.Sub(s.freed) }

// Ticket is a client's place in the queue. Each client has one. Value is the owner's.
type Ticket struct {
	Value any
	Entry *Entry

	at      [2]links[Ticket]
	since   time.Time
	passed  int
	waiting bool
}

type serverList struct {
	first, last *Server
	n, kind     int
}

func (l *serverList) push(s *Server) {
	at := &s.at[l.kind]
	at.prev, at.next = l.last, nil
	if l.last != nil {
		l.last.at[l.kind].next = s
	} else {
		l.first = s
	}
	l.last = s
	l.n++
}

func (l *serverList) remove(s *Server) {
	at := &s.at[l.kind]
	if at.prev != nil {
		at.prev.at[l.kind].next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.at[l.kind].prev = at.prev
	} else {
		l.last = at.prev
	}
	*at = links[Server]{}
	l.n--
}

type ticketList struct {
	first, last *Ticket
	n, kind     int
}

func (l *ticketList) push(t *Ticket) {
	at := &t.at[l.kind]
	at.prev, at.next = l.last, nil
	if l.last != nil {
		l.last.at[l.kind].next = t
	} else {
		l.first = t
	}
	l.last = t
	l.n++
}

func (l *ticketList) remove(t *Ticket) {
	at := &t.at[l.kind]
	if at.prev != nil {
		at.prev.at[l.kind].next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.at[l.kind].prev = at.prev
	} else {
		l.last = at.prev
	}
	*at = links[Ticket]{}
	l.n--
}
