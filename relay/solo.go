package relay

import (
	"strconv"

	"github.com/claimpool/claimpool/wire"
)

// Solo reads what a client sends while it has no server.
type Solo struct {
	rest  int  // bytes still to come of a message that is thrown away
	batch bool // a refused batch goes on until its Sync
	begun bool // the refused request's first message has been seen
}

// First finds the beginning of a transaction. drop bytes at the front need no server and no answer: the rest of a COPY
// that has failed, or a Flush with nothing before it (protocol, COPY Operations). ready says that the next message is
// there, whole or at least hold bytes of it: only then is a server worth its while, so that a client that sends slowly
// holds none. terminate says that the client leaves.
func (s *Solo) First(b []byte, hold int) (drop int, ready, terminate bool, err error) {
	for {
		drop += s.throw(b[drop:])
		typ, size, ok, err := wire.Header(b[drop:])
		if err != nil || !ok || s.rest > 0 {
			return drop, false, false, err
		}
		switch typ {
		case wire.MsgTerminate:
			return drop, false, true, nil
		case wire.MsgCopyData, wire.MsgCopyDone, wire.MsgCopyFail, wire.MsgFlush:
			drop += wire.HeaderLen
			s.rest = size
		case wire.MsgQuery, wire.MsgFunctionCall, wire.MsgSync, wire.MsgParse, wire.MsgBind, wire.MsgDescribe,
			wire.MsgExecute, wire.MsgClose:
			have := len(b) - drop
			return drop, have >= wire.HeaderLen+size || have >= hold, false, nil
		default:
			return drop, false, false, unknownType(typ)
		}
	}
}

// Refuse starts to skip a request that gets an error in place of a server: one message, or a batch up to its Sync, as
// PostgreSQL does after an error (protocol-flow, Extended Query).
func (s *Solo) Refuse() { s.begun, s.batch = false, false }

// Skip goes on with that. done says that ReadyForQuery is due.
func (s *Solo) Skip(b []byte) (n int, done, terminate bool, err error) {
	for {
		n += s.throw(b[n:])
		if s.rest > 0 {
			return n, false, false, nil
		}
		if s.begun && !s.batch {
			return n, true, false, nil
		}
		typ, size, ok, err := wire.Header(b[n:])
		if err != nil || !ok {
			return n, false, false, err
		}
		switch typ {
		case wire.MsgTerminate:
			return n, false, true, nil
		case wire.MsgSync:
			s.batch = false
		case wire.MsgQuery, wire.MsgFunctionCall: // skipped inside of a batch, one request of their own outside
		case wire.MsgParse, wire.MsgBind, wire.MsgDescribe, wire.MsgExecute, wire.MsgClose:
			s.batch = true
		case wire.MsgFlush, wire.MsgCopyData, wire.MsgCopyDone, wire.MsgCopyFail:
		default:
			return n, false, false, unknownType(typ)
		}
		s.begun = true
		n += wire.HeaderLen
		s.rest = size
	}
}

// EndsInGoodbye reports whether whole messages stand in b up to a Terminate, at least one.
func EndsInGoodbye(b []byte) bool {
	for first := true; ; first = false {
		typ, size, ok, err := wire.Header(b)
		switch {
		case !ok || err != nil:
			return false
		case typ == wire.MsgTerminate:
			return !first
		case len(b)-wire.HeaderLen < size:
			return false
		}
		b = b[wire.HeaderLen+size:]
	}
}

// data reports whether a message belongs to the request before it: COPY data may come before the server has asked for it.
func data(typ byte) bool {
	return typ == wire.MsgCopyData || typ == wire.MsgCopyDone || typ == wire.MsgCopyFail || typ == wire.MsgFlush
}

// throw takes the rest of a message that nobody wants.
func (s *Solo) throw(b []byte) int {
	k := min(s.rest, len(b))
	s.rest -= k
	return k
}

func unknownType(typ byte) error {
	return violation("invalid frontend message type " + strconv.Itoa(int(typ)))
}
