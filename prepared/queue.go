package prepared

import (
	"bytes"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// kind says which message an answer is to come for.
type kind uint8

const (
	hiddenClose kind = iota // a Close of our own: its answer is dropped
	hiddenParse             // a Parse of our own: its answer is dropped
	ownParse                // the client's Parse
	ownClose                // the client's Close of a statement
	refusal                 // a Parse that cannot succeed: its error is replaced by ours
)

// entry is one answer to come, and how to undo what the books have taken for granted if it does not.
type entry struct {
	kind  kind
	was   bool // in Close: the server had it
	batch uint32
	ack   uint32
	st    *Statement // nil: nothing changes in the server's book
	h     *holding   // nil: nothing changes in the client's
	err   *claimpool.Error
}

// maxQueue is how many answers may be to come: a client that sends without a Sync must not fill the proxy's memory. At
// half of a server's socket buffer PostgreSQL has answered far fewer.
const maxQueue = 1 << 16

func (s *Server) push(e entry) {
	e.batch, e.ack = s.at.Batch, s.at.Ack
	s.at.Ack++
	s.queue = append(s.queue, e)
}

// Due is how many answers in the book are to come.
func (s *Server) Due() int { return len(s.queue) - s.head }

func (s *Server) clearQueue() {
	clear(s.queue)
	s.queue, s.head = s.queue[:0], 0
	if cap(s.queue) > 1024 {
		s.queue = nil
	}
}

// Expects reports whether the ParseComplete or CloseComplete number ack of a batch is one of those in the book.
func (s *Server) Expects(batch, ack uint32) bool {
	if s == nil || s.head == len(s.queue) {
		return false
	}
	e := &s.queue[s.head]
	return e.batch == batch && e.ack == ack
}

// Hides reports whether the client must not see the answer that is expected.
func (s *Server) Hides() bool { return s.queue[s.head].kind <= hiddenParse }

// Acknowledge takes the answer that is expected. It reports whether it is of the right kind.
func (s *Server) Acknowledge(typ byte) bool {
	e := s.queue[s.head]
	s.pop()
	switch e.kind {
	case hiddenClose:
		return typ == wire.MsgCloseComplete
	case ownClose:
		if e.h != nil {
			s.client.drop(e.h)
		}
		return typ == wire.MsgCloseComplete
	case refusal:
		return false // nobody can prepare what is there already
	}
	if e.st != nil {
		if sl := s.slots[e.st]; sl != nil && sl.batch == e.batch && sl.state == pending {
			sl.state = settled
		}
	}
	if e.h != nil && e.h.state == pending {
		e.h.state = settled
	}
	return typ == wire.MsgParseComplete
}

func (s *Server) pop() {
	s.queue[s.head] = entry{}
	if s.head++; s.head == len(s.queue) {
		s.clearQueue()
	}
}

// Failure is what counts of a server's error.
type Failure struct {
	Code, Message []byte
	Routine       []byte // PostgreSQL's own function, which is never translated
}

// Failed takes an error in the place of the answer number ack of a batch. It gives the error that the client is to see in
// its place, or nil when it is to see that one.
func (s *Server) Failed(batch, ack uint32, f *Failure) *claimpool.Error {
	if s == nil {
		return nil
	}
	switch claimpool.Code(f.Code) {
	case claimpool.CodeDuplicateStatement:
		if s.Expects(batch, ack) && s.queue[s.head].kind == refusal {
			return s.queue[s.head].err
		}
	case claimpool.CodeUndefinedStatement: // one of ours was closed by SQL, by its name or with all others
		if bytes.Contains(f.Message, []byte(prefix)) {
			s.doubt()
			if s.hoping && s.hoped == batch {
				return aborted
			}
			return gone
		}
	case claimpool.CodeProtocolViolation: // "bind message supplies 0 parameters, but prepared statement … requires 1"
		return s.inClientsWords(f)
	case claimpool.CodeFeatureNotSupported:
		if string(f.Routine) == "RevalidateCachedQuery" {
			// "cached plan must not change result type": whoever prepares from now on must not get an old copy.
			s.library.epoch++
		}
	}
	return nil
}

// inClientsWords gives an error that has a name of ours in it with the client's name; nil for all others.
func (s *Server) inClientsWords(f *Failure) *claimpool.Error {
	before, rest, ok := strings.Cut(string(f.Message), "\""+prefix)
	name, after, closed := strings.Cut(rest, "\"")
	if !ok || !closed || s.client == nil {
		return nil
	}
	theirs := ""
	for _, e := range s.queue[s.head:] { // it may be closed already by what is under way
		if e.h != nil && e.h.st.name == prefix+name {
			theirs = e.h.name
		}
	}
	for _, h := range s.client.names {
		if h.st.name == prefix+name {
			theirs = h.name
		}
	}
	return &claimpool.Error{Code: claimpool.Code(f.Code), Message: before + "\"" + strings.ToValidUTF8(theirs, "?") + "\"" + after}
}

// aborted is what PostgreSQL says of a statement that is there.
var aborted = &claimpool.Error{
	Code: claimpool.CodeInFailedTransaction, Message: "current transaction is aborted, commands ignored until end of transaction block",
}

var gone = &claimpool.Error{
	Code: claimpool.CodeUndefinedStatement, Message: "prepared statement does not exist",
	Hint: "It may have been closed by DEALLOCATE or DISCARD ALL.",
}

// Ready is the end of a batch: what has not been answered up to here was skipped, the newest first.
func (s *Server) Ready(batch uint32) {
	if s == nil {
		return
	}
	if s.client != nil {
		s.client.unnamed.ready(batch)
	}
	end := s.head
	for end < len(s.queue) && s.queue[end].batch <= batch {
		end++
	}
	for i := end - 1; i >= s.head; i-- {
		s.undo(&s.queue[i])
		s.queue[i] = entry{}
	}
	if s.head = end; s.head == len(s.queue) {
		s.clearQueue()
	}
}

func (s *Server) undo(e *entry) {
	switch e.kind {
	case hiddenClose, ownClose:
		if e.st != nil && e.was {
			s.restore(e.st)
		}
		if e.h != nil {
			e.h.state = settled
			s.client.names[e.h.name] = e.h
		}
	case hiddenParse, ownParse:
		if sl := s.slots[e.st]; sl != nil && sl.batch == e.batch {
			s.remove(sl)
		}
		if e.h != nil {
			s.client.drop(e.h)
		}
	}
}
