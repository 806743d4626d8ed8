package pool

import (
	"iter"
	"maps"
	"time"
)

// list is a doubly linked list through its elements themselves, so that nothing on the way of a transaction allocates or
// searches. An element has a node for each list that it can be in.
type list[T any] struct {
	first, last *node[T]
	n           int
}

type node[T any] struct {
	prev, next *node[T]
	of         *T
}

func (l *list[T]) push(at *node[T], of *T) {
	*at = node[T]{prev: l.last, of: of}
	if l.last != nil {
		l.last.next = at
	} else {
		l.first = at
	}
	l.last = at
	l.n++
}

func (l *list[T]) remove(at *node[T]) {
	if at.prev != nil {
		at.prev.next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.prev = at.prev
	} else {
		l.last = at.prev
	}
	*at = node[T]{}
	l.n--
}

// oldest is the first element; nil when there is none.
func (l *list[T]) oldest() *T {
	if l.first == nil {
		return nil
	}
	return l.first.of
}

// newest is the last element; nil when there is none.
func (l *list[T]) newest() *T {
	if l.last == nil {
		return nil
	}
	return l.last.of
}

// Server is the pool's half of a server connection. Value is the owner's.
type Server struct {
	Value any

	inIdle    node[Server] // in Pool.idle
	inLike    node[Server] // in Pool.unused, or Entry.idle
	entry     *Entry       // the identity whose state the connection carries; nil: none yet
	born      time.Time
	freed     time.Time
	expires   time.Time // zero: never
	idle      bool
	leased    bool
	pinned    bool
	condemned Reason // close it when it comes back
}

// Fresh reports whether the connection has served nobody yet.
func (s *Server) Fresh() bool { return s.entry == nil }

// Idle reports whether no client has the connection.
func (s *Server) Idle() bool { return s.idle }

// IdleFor is how long the connection had been idle when it was given out.
func (s *Server) IdleFor(now time.Time) time.Duration { return now.Sub(s.freed) }

// Born is when the connection was opened.
func (s *Server) Born() time.Time { return s.born }

// Servers gives all servers of the pool, in no order.
func (p *Pool) Servers() iter.Seq[*Server] { return maps.Keys(p.all) }

// Ticket is a client's place in the queue. Each client has one. Value is the owner's.
type Ticket struct {
	Value any
	Entry *Entry

	inQueue node[Ticket] // in Pool.queue
	inEntry node[Ticket] // in Entry.queue
	inShare node[Ticket] // in share.queue
	since   time.Time
	passed  int
	waiting bool
}

// LongestWait is how long the client that has waited longest has waited; 0 when nobody waits.
func (p *Pool) LongestWait(now time.Time) time.Duration {
	if t := p.queue.oldest(); t != nil {
		return t.WaitedFor(now)
	}
	return 0
}

// WaitedFor is how long the client has waited.
func (t *Ticket) WaitedFor(now time.Time) time.Duration { return now.Sub(t.since) }
