package relay

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// Event is what FromServer has found.
type Event uint8

// The events.
const (
	None      Event = iota // all that could be looked at was
	Parameter              // the last message to forward is a ParameterStatus; see Reply.Name and Reply.Value
)

// Reply says what to do with bytes of the server: forward the first Forward of them, drop the Drop bytes behind those,
// and call FromServer again with the rest unless Done.
type Reply struct {
	Forward, Drop int
	Event         Event
	Done          bool
	Name, Value   string           // of a ParameterStatus
	Instead       *claimpool.Error // what the client is to get in place of what is dropped; nil: nothing
}

// FromServer looks at bytes of the server. An error means that the server speaks nonsense: it must be closed, and so must
// the client, who may have half a message.
func (r *Relay) FromServer(b []byte) (Reply, error) {
	n := 0
	for {
		if r.fromServer > 0 {
			k := min(r.fromServer, len(b)-n)
			r.fromServer -= k
			if r.dropping {
				r.dropping = r.fromServer > 0
				return Reply{Drop: k, Done: k == len(b)}, nil
			}
			n += k
			if r.fromServer > 0 {
				return Reply{Forward: n, Done: true}, nil
			}
		}
		typ, size, ok, err := wire.Header(b[n:])
		if err != nil {
			return Reply{Forward: n}, err
		}
		if !ok {
			return Reply{Forward: n, Done: true}, nil
		}
		if r.fencing || r.probe != noProbe {
			if reply, stop, err := r.asked(b, n, typ, size); stop {
				return reply, err
			}
		}
		switch typ {
		case wire.MsgDataRow, wire.MsgCopyData, wire.MsgRowDescription:
			// The bulk of all traffic.
		case wire.MsgCommandComplete:
			if len(b)-n < wire.HeaderLen+size && size <= maxTag {
				return Reply{Forward: n, Done: true}, nil
			}
			if size <= maxTag {
				r.completed(b[n+wire.HeaderLen : n+wire.HeaderLen+size])
			}
			r.copyEnds()
		case wire.MsgParseComplete, wire.MsgCloseComplete:
			reply, stop, err := r.acknowledged(b, n, typ, size)
			if stop || err != nil {
				return reply, err
			}
		case wire.MsgReadyForQuery:
			if size != 1 {
				return Reply{Forward: n}, wire.ErrLength
			}
			if len(b)-n <= wire.HeaderLen {
				return Reply{Forward: n, Done: true}, nil
			}
			if err := r.ready(b[n+wire.HeaderLen]); err != nil {
				return Reply{Forward: n}, err
			}
		default:
			reply, stop, err := r.other(b, n, typ, size)
			if stop || err != nil {
				return reply, err
			}
		}
		n += wire.HeaderLen
		r.fromServer = size
	}
}

// asked looks at a message behind n bytes that may answer a question of the proxy's own. stop means that FromServer gives the reply.
func (r *Relay) asked(b []byte, n int, typ byte, size int) (reply Reply, stop bool, err error) {
	probed := r.probe != noProbe && (typ == wire.MsgCloseComplete || typ == wire.MsgReadyForQuery || typ == wire.MsgErrorResponse)
	switch {
	case !r.fencing && !probed:
		return Reply{}, false, nil
	case n > 0:
		return Reply{Forward: n}, true, nil // first what stands before it
	case r.fencing:
		reply, err = r.fenced(b, typ, size)
		return reply, true, err
	}
	return r.probed(b, typ, size)
}

// maxTag is longer than any command tag.
const maxTag = 64

// completed takes a command tag.
func (r *Relay) completed(tag []byte) {
	if len(tag) < 2 {
		return
	}
	switch tag[0] {
	case 'R', 'D', 'P', 'U':
		if tag[0] == 'U' && tag[1] != 'N' { // UPDATE
			return
		}
		r.released = true
	case 'A', 'C':
		r.released = r.released || string(tag) == "CLOSE CURSOR\x00" || string(tag) == "CLOSE CURSOR ALL\x00"
		if r.book == nil || tag[1] != 'L' && tag[1] != 'R' { // ALTER, CREATE
			return
		}
	default:
		return
	}
	switch string(tag) {
	case "UNLISTEN\x00", "DISCARD ALL\x00":
		r.quiet = true
	}
	switch string(tag) {
	case "RESET\x00", "DISCARD ALL\x00", "PREPARE TRANSACTION\x00":
		r.wiped = true
	}
	if r.book != nil {
		r.book.Completed(string(tag[:len(tag)-1]))
	}
}

// ready takes a ReadyForQuery.
func (r *Relay) ready(status byte) error {
	switch status {
	case wire.StatusIdle, wire.StatusInTransaction, wire.StatusFailed:
	default:
		return violation("unknown transaction status from server")
	}
	r.status = status
	r.book.Ready(r.answered)
	r.answered++
	r.acked = 0
	r.past()
	if status == wire.StatusIdle {
		r.ended++
	}
	switch {
	case r.probe != noProbe || r.maybe > 0 && r.due == 0: // a Sync that was not ignored
		r.maybe = max(0, r.maybe-1)
		r.unsynced, r.executed = false, false
	case r.due > 0:
		r.due--
	case !r.unsure:
		return violation("server is ready without having been asked")
	}
	r.fencing = r.fences > 0
	if !r.Busy() {
		r.early = false
	}
	return nil
}

// other takes the messages that are rare. stop means that the scan ends here with the reply.
func (r *Relay) other(b []byte, n int, typ byte, size int) (reply Reply, stop bool, err error) {
	whole := len(b)-n >= wire.HeaderLen+size
	switch typ {
	case wire.MsgNotificationResponse:
		reply, stop = r.notified(b, n, size)
		return reply, stop, nil
	case wire.MsgParameterStatus:
		if size > maxWhole {
			return Reply{Forward: n}, true, wire.ErrLength
		}
		if !whole {
			return Reply{Forward: n, Done: true}, true, nil
		}
		end := n + wire.HeaderLen + size
		name, value, err := wire.ParseParameterStatus(b[n+wire.HeaderLen : end])
		return Reply{Forward: end, Event: Parameter, Name: name, Value: value, Done: end == len(b)}, true, err
	case wire.MsgErrorResponse:
		r.erred = true
		if size <= maxWhole && !whole {
			return Reply{Forward: n, Done: true}, true, nil
		}
		r.copyFails()
		if size > maxWhole {
			return Reply{}, false, nil
		}
		end := n + wire.HeaderLen + size
		f := r.failed(b[n+wire.HeaderLen : end])
		if e := r.book.Failed(r.answered, r.acked, &f); e != nil {
			return Reply{Forward: n, Drop: end - n, Instead: e, Done: len(b) == end}, true, nil
		}
		if e := r.instead; e != nil && string(f.Code) == string(claimpool.CodeQueryCanceled) && !r.fatal {
			r.instead = nil
			return Reply{Forward: n, Drop: end - n, Instead: e, Done: len(b) == end}, true, nil
		}
	case wire.MsgCopyInResponse:
		if r.copyBegins() {
			return Reply{Forward: n}, true, violation("request behind a COPY that had not begun")
		}
	case wire.MsgNoticeResponse, wire.MsgCopyOutResponse, wire.MsgCopyDone, wire.MsgBindComplete, wire.MsgNoData,
		wire.MsgParameterDescription, wire.MsgPortalSuspended,
		wire.MsgEmptyQueryResponse, wire.MsgFunctionCallResponse:
	default:
		// Authentication and key messages cannot come after login, CopyBothResponse only in replication, which is not
		// served; an unknown one means that we are out of step.
		return Reply{Forward: n}, true, violation("unexpected message from server")
	}
	return Reply{}, false, nil
}

// failed looks for FATAL and PANIC, after which the server closes the connection.
func (r *Relay) failed(body []byte) (f prepared.Failure) {
	// The severity comes first; V is the one that is never translated.
	for len(body) > 1 {
		field := body[0]
		body = body[1:]
		end := 0
		for end < len(body) && body[end] != 0 {
			end++
		}
		switch string(body[:end]) {
		case "FATAL", "PANIC":
			r.fatal = r.fatal || field == 'V'
		}
		switch field {
		case 'C':
			f.Code = body[:end]
			r.readOnly = r.readOnly || string(f.Code) == "25006"
		case 'M':
			f.Message = body[:end]
		case 'R':
			f.Routine = body[:end]
		}
		if end == len(body) {
			break
		}
		body = body[end+1:]
	}
	return f
}
