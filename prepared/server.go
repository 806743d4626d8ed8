package prepared

import "math"

// Server is the book of one server connection: which statements it has, and which answers are to come. A nil Server
// rewrites nothing.
type Server struct {
	library *Library
	limit   int
	client  *Client // who has the server
	slots   map[*Statement]*slot
	first   *slot // the one used last
	last    *slot // the one unused for longest
	queue   []entry
	head    int   // of queue
	at      Point // of the message that is rewritten
	parts   parts
	hoping  bool   // a statement that may be gone was named in a failed transaction
	hoped   uint32 // the batch of that
	suspect bool   // functions may have been made on it that prepare statements
	user    uint64 // the number of the last client
}

// parts is a Parse that comes in pieces.
type parts struct {
	body      []byte
	size, got int
	open      bool // there is one
	long      bool // it is over the client's bounds, and not kept
}

// slot is one statement on a server.
type slot struct {
	st         *Statement
	prev, next *slot
	epoch      uint32 // of the library, when it was sent
	batch      uint32 // in pending: of the Parse
	state      state  // settled, pending or stale
}

// NewServer makes the book of a new connection, for so many statements.
func NewServer(l *Library, limit int) *Server {
	return &Server{library: l, limit: max(1, limit), slots: map[*Statement]*slot{}}
}

// Begin is the start of a lease. number tells clients apart; c may be nil, and be brought later by Use.
func (s *Server) Begin(number uint64, c *Client) {
	if s == nil {
		return
	}
	if s.suspect && s.user != number {
		s.doubt()
	}
	s.user, s.client, s.hoping = number, c, false
	s.clearQueue()
	s.parts = parts{}
}

// Abort takes back what has been sent and not been answered: the server has not carried it out, and never will.
func (s *Server) Abort() {
	if s == nil {
		return
	}
	s.Ready(math.MaxUint32)
	s.parts = parts{}
}

// Use brings the book of the client that has the server.
func (s *Server) Use(c *Client) { s.client = c }

// Collecting reports whether the bytes at hand are the rest of a Parse.
func (s *Server) Collecting() bool { return s.parts.open }

// Leave says that the client is gone while answers are still to come.
func (s *Server) Leave() {
	if s == nil || s.client == nil {
		return
	}
	c := s.client
	for i := s.head; i < len(s.queue); i++ {
		e := &s.queue[i]
		if e.kind == ownClose && e.h != nil && c.names[e.h.name] != e.h {
			c.drop(e.h) // another has its name
		}
		e.h = nil
	}
	s.client = nil
}

// Clear empties the book: the connection has been wiped.
func (s *Server) Clear() {
	if s == nil {
		return
	}
	if len(s.slots) > 0 {
		clear(s.slots)
	}
	s.first, s.last, s.suspect = nil, nil, false
}

// Len is the number of statements on the server.
func (s *Server) Len() int {
	if s == nil {
		return 0
	}
	return len(s.slots)
}

// Completed takes the tag of a command. It is no boundary: functions can do the same unseen. The boundary between identities
// is the wipe of the connection.
func (s *Server) Completed(tag string) {
	if s == nil {
		return
	}
	switch tag {
	case "DISCARD ALL", "DEALLOCATE ALL":
		for _, sl := range s.slots {
			if sl.state != pending { // what is pending was sent behind it
				s.remove(sl)
			}
		}
		s.client.forget()
	case "PREPARE", "DEALLOCATE":
		s.doubt() // it may have been one of ours
	case "DO", "CREATE FUNCTION", "CREATE PROCEDURE":
		s.suspect = true
		s.doubt()
	default:
		if len(tag) > 5 && (tag[:5] == "ALTER" || tag[:5] == "DROP ") {
			s.library.epoch++
		}
	}
}

// doubt makes every statement be prepared anew before its next use.
func (s *Server) doubt() {
	for _, sl := range s.slots {
		if sl.state == settled {
			sl.state = stale
		}
	}
}

// slot finds or makes the place of a statement and moves it to the front.
func (s *Server) slot(st *Statement) *slot {
	sl := s.slots[st]
	if sl == nil {
		sl = &slot{st: st}
		s.slots[st] = sl
	} else {
		s.unlink(sl)
	}
	s.link(sl)
	return sl
}

// touch moves a slot to the front.
func (s *Server) touch(sl *slot) {
	if s.first != sl {
		s.unlink(sl)
		s.link(sl)
	}
}

func (s *Server) link(sl *slot) {
	sl.prev, sl.next = nil, s.first
	if s.first != nil {
		s.first.prev = sl
	} else {
		s.last = sl
	}
	s.first = sl
}

func (s *Server) unlink(sl *slot) {
	if sl.prev != nil {
		sl.prev.next = sl.next
	} else {
		s.first = sl.next
	}
	if sl.next != nil {
		sl.next.prev = sl.prev
	} else {
		s.last = sl.prev
	}
}

// remove drops a slot.
func (s *Server) remove(sl *slot) {
	if s.slots[sl.st] == sl {
		delete(s.slots, sl.st)
		s.unlink(sl)
	}
}

// restore puts a statement back that was to be closed, and was not.
func (s *Server) restore(st *Statement) {
	sl := s.slots[st]
	if sl == nil {
		sl = &slot{st: st}
		s.slots[st] = sl
		s.link(sl)
	}
	sl.state = stale
}
