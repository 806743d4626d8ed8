package relay

import "github.com/claimpool/claimpool/wire"

// FromClient looks at bytes of the client and says how many of them, from the front, go to the server now. A rest that
// is shorter than a header stays until more comes, and a message that names a prepared statement is for Rewrite (see Named).
// terminate says that the next message is Terminate: the client leaves, and the server does not hear of it. An error is a
// message that no client may send; nothing behind the n bytes goes on.
func (r *Relay) FromClient(b []byte) (n int, terminate bool, err error) {
	r.held, r.stopped, r.asking = false, false, 0
	for {
		if r.fromClient > 0 {
			k := min(r.fromClient, len(b)-n)
			n += k
			r.fromClient -= k
			if r.fromClient > 0 {
				return n, false, nil
			}
		}
		if r.named {
			return n, false, nil
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
		if r.ours != nil && (typ == wire.MsgQuery || typ == wire.MsgParse) && r.stop(typ, b[n+wire.HeaderLen:], size) {
			return n, false, nil
		}
		if r.maybe|r.swallowed > 0 && r.unsynced && own(typ) {
			r.mixed()
		}
		if r.Holds() && !data(typ) {
			r.held = true
			return n, false, nil
		}
		if r.watch != 0 && (typ == wire.MsgQuery || typ == wire.MsgParse) && r.asks(typ, b[n+wire.HeaderLen:], size) {
			return n, false, nil
		}
		if r.book != nil && r.names(b[n:], typ, size) {
			r.named = true
			return n, false, nil
		}
		if !r.request(typ, size) {
			return n, false, unknownType(typ)
		}
		n += wire.HeaderLen
		r.fromClient = size
	}
}

// request notes what a message makes the server owe. It reports whether a client may send the message at all.
func (r *Relay) request(typ byte, size int) bool {
	switch typ {
	case wire.MsgQuery, wire.MsgFunctionCall:
		// Behind an unfinished batch it is skipped when the batch has failed, and then nothing answers it: nobody can
		// tell. In COPY it ends the COPY with an error, and from PostgreSQL 14 on the connection.
		r.unsure = r.unsure || r.unsynced || r.copyIn
		r.due++
		r.syncLast, r.open = false, false
		r.acks = 0
	case wire.MsgSync:
		if size > 0 {
			r.malformed()
		}
		if r.copyIn { // ignored by the server (protocol, COPY Operations), unless the COPY has failed meanwhile
			r.swallowed++
			r.unsure = r.unsure || r.early // or is over already
			return true
		}
		r.unsynced, r.executed, r.open = false, false, false
		r.due++
		r.syncLast = true
		r.acks = 0
	case wire.MsgParse, wire.MsgBind, wire.MsgDescribe, wire.MsgExecute, wire.MsgClose:
		r.unsure = r.unsure || r.copyIn
		r.unsynced = true
		r.executed = r.executed || typ == wire.MsgExecute
		if r.ahead.ends > 0 && typ == wire.MsgExecute {
			r.spoil()
		}
		if typ == wire.MsgParse || typ == wire.MsgClose {
			r.acks++
		}
	case wire.MsgFlush:
		if size > 0 {
			r.malformed()
			r.unsynced = true // an error of the extended protocol, and the server waits for Sync
		}
	case wire.MsgCopyDone, wire.MsgCopyFail:
		if !r.copyIn && r.Busy() {
			r.endAhead()
		}
		r.copyIn = false
	case wire.MsgCopyData:
	default:
		return false
	}
	return true
}
