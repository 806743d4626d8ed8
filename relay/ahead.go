package relay

import "github.com/claimpool/claimpool/wire"

// A client may send the data of a COPY and their end before the server has said that a COPY begins: in one write with the request,
// Syncs included. Whether a COPY begins is the server's to say, and until then an end is only one if it does. Where the end
// stands decides what is answered:
//
//	Query, data, end            the Query
//	Execute, data, end, Sync    the Sync, whatever becomes of the COPY
//	Execute, Sync, data, end    the Sync is ignored if the COPY begins (protocol, COPY Operations)
//
// What comes behind that waits until it is known: the server sends CopyInResponse at once. A second end or Execute in the same batch
// makes it nobody's for certain; a Query of several COPYs takes their ends one after the other.

// ahead are the ends of COPYs that have been sent before it was known that one begins.
type ahead struct {
	ends   int
	synced bool   // a Sync stands in front of the end
	at     uint32 // the request in which the COPY would begin, counted like answered
}

// endAhead notes that an end was sent while no COPY is known to be under way.
func (r *Relay) endAhead() {
	batch := r.unsynced || r.syncLast
	if r.early || r.maybe > 0 || r.probe != noProbe || r.ahead.ends > 0 && batch {
		r.early, r.ahead = true, ahead{}
		return
	}
	r.ahead.ends++
	r.ahead.synced = batch && !r.unsynced
	if r.ahead.at = r.answered + uint32(r.due); !r.unsynced {
		r.ahead.at-- // the newest of those that are due, not the next one
	}
}

// spoil notes an Execute, which may begin a COPY of its own behind the end of another one.
func (r *Relay) spoil() {
	if r.unsynced && r.ahead.at == r.answered+uint32(r.due) {
		r.early, r.ahead = true, ahead{}
	}
}

// copyBegins takes a CopyInResponse. From here to CopyDone or CopyFail the server ignores Sync, those that were sent
// ahead included: libpq sends one behind the Execute that begins the COPY. It reports whether the server takes a fence that
// was sent for COPY data, which it does not know.
func (r *Relay) copyBegins() (fenced bool) {
	if r.ahead.ends > 0 && r.ahead.at == r.answered && !r.unsure {
		r.ahead.ends-- // and so it has been sent: no data are awaited behind it
		if r.ahead.synced {
			r.ignored()
		}
		return false
	}
	r.copyIn = true
	switch {
	case r.due == 0 && r.unsynced: // a batch with Flush in place of Sync
	case r.due == 1 && !r.unsynced && !r.syncLast: // COPY by Query
	case r.due == 1 && !r.unsynced && !r.early: // COPY by Execute, its Sync sent ahead
		r.ignored()
	default:
		r.unsure = true
	}
	return r.fences > 0
}

// ignored notes that the Sync of the batch under way, behind which nothing was sent but data, will not be answered.
func (r *Relay) ignored() {
	r.due = 0
	r.unsynced, r.executed = true, true
	r.swallowed++
	r.acks = r.acked
}

// copyFails takes an error while a COPY may have been under way. Of each Sync that was sent into it nobody can tell whether the COPY failed
// in front of it or behind it.
func (r *Relay) copyFails() {
	if r.maybe += r.swallowed; r.behind { // nor whether what stands behind was skipped
		r.unsure, r.maybe = true, 0
	}
	r.swallowed, r.copyIn, r.behind = 0, false, false
}

// copyEnds takes a CommandComplete: the COPY, if there was one, has read all up to its end.
func (r *Relay) copyEnds() { r.copyIn, r.swallowed, r.behind = false, 0, false }

// mixed looks at a message, neither data nor Sync, between the end of a COPY and the next Sync, while it is not known which Syncs count.
func (r *Relay) mixed() {
	if r.maybe > 0 { // skipped, or not
		r.unsure, r.maybe = true, 0
		return
	}
	r.behind = !r.copyIn
}

// past forgets an end whose request has been answered without a COPY: the server has passed it over, or will.
func (r *Relay) past() {
	if r.ahead.ends > 0 && int32(r.answered-r.ahead.at) > 0 {
		r.ahead = ahead{}
	}
}

// own reports whether a message is neither data nor Sync.
func own(typ byte) bool { return !data(typ) && typ != wire.MsgSync }
