package relay

import "github.com/claimpool/claimpool/wire"

// FromClient looks at bytes of the client and says how many of them, from the front, go to the server now. A rest that
// is shorter than a header stays until more comes. terminate says that the next message is Terminate: the client leaves,
// and the server does not hear of it. An error is a message that no client may send; nothing behind the n bytes goes on.
func (r *Relay) FromClient(b []byte) (n int, terminate bool, err error) {
	for {
		if r.fromClient > 0 {
			k := min(r.fromClient, len(b)-n)
			n += k
			r.fromClient -= k
			if r.fromClient > 0 {
				return n, false, nil
			}
		}
		typ, size, ok, err := wire.Header(b[n:])
		if err != nil {
			return n, false, err
		}
		if !ok {
			return n, false, nil
		}
		if typ == wire.MsgTerminate {
			return n, true, nil
		}
		if !r.request(typ) {
			return n, false, unknownType(typ)
		}
		n += wire.HeaderLen
		r.fromClient = size
	}
}

// request notes what a message makes the server owe. It reports whether a client may send the message at all.
func (r *Relay) request(typ byte) bool {
	switch typ {
	case wire.MsgQuery, wire.MsgFunctionCall:
		// Behind an unfinished batch it is skipped when the batch has failed, and then nothing answers it: nobody can
		// tell. In COPY it ends the COPY with an error.
		if r.unsynced || r.copyIn {
			r.unsure = true
		}
		r.owe(0)
	case wire.MsgSync:
		if r.copyIn {
			return true // ignored by the server (protocol, COPY Operations)
		}
		r.unsynced = false
		r.owe(1)
	case wire.MsgParse, wire.MsgBind, wire.MsgDescribe, wire.MsgExecute, wire.MsgClose:
		if r.copyIn {
			r.unsure = true
		}
		r.unsynced = true
	case wire.MsgCopyDone, wire.MsgCopyFail:
		r.copyIn = false
	case wire.MsgCopyData, wire.MsgFlush:
	default:
		return false
	}
	return true
}

func (r *Relay) owe(sync uint64) {
	r.due++
	r.syncs = r.syncs<<1 | sync
}
