package relay

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// A client of the extended protocol sends a Sync behind the Execute that begins a COPY, and another one behind the data. The first one is
// ignored by the server while it reads the COPY (protocol, COPY Operations), unless the COPY has failed before the server got there: a
// trigger may fail in front of the first row. Then it has an answer. From the outside nobody can tell: so, when all that is
// certain has been answered, a question of our own with an answer of its own is sent, and every ReadyForQuery in front of
// that is the client's.

// steps of a probe.
const (
	noProbe uint8 = iota
	probeSent
	probeClosed // its CloseComplete has come
)

// probeName is a prepared statement that does not exist.
const probeName = "claimpool_nothing"

// Doubtful reports whether a COPY has failed and Probe has to find out how many answers are to come.
func (r *Relay) Doubtful() bool {
	return r.maybe > 0 && r.probe == noProbe && !r.Busy() && r.Whole() && !r.unsure && !r.fatal
}

// Probe appends the question. Requests wait for its end.
func (r *Relay) Probe(dst []byte) []byte {
	r.probe = probeSent
	r.due++
	return wire.AppendSync(wire.AppendClose(dst, wire.KindStatement, probeName))
}

// doubting reports whether the next request has to wait until it is known what the server owes.
func (r *Relay) doubting() bool {
	return !r.unsure && (r.probe != noProbe || !r.unsynced && (r.ahead.ends > 0 || r.maybe > 0) || r.due > 0 && r.swallowed > 0 && !r.copyIn)
}

// malformed notes a Flush or Sync that has a body: an error, but none in COPY, which passes it over. Where nobody can tell whether a COPY is
// under way, that error could be taken for another's.
func (r *Relay) malformed() {
	if r.copyIn || r.swallowed+r.maybe+r.ahead.ends > 0 || r.probe != noProbe {
		r.unsure, r.maybe = true, 0
	}
}

// probed takes a reply while a probe is under way. ours says that the reply is to be dropped.
func (r *Relay) probed(b []byte, typ byte, size int) (reply Reply, ours bool, err error) {
	switch {
	case typ == wire.MsgErrorResponse:
		return r.probeFailed(b, size)
	case r.probe == probeSent && typ == wire.MsgCloseComplete:
		r.probe = probeClosed
		return Reply{Drop: wire.HeaderLen, Done: len(b) == wire.HeaderLen}, true, nil
	case r.probe == probeClosed && typ == wire.MsgReadyForQuery && len(b) <= wire.HeaderLen:
		return Reply{Done: true}, true, nil
	case r.probe == probeClosed && typ == wire.MsgReadyForQuery:
		r.probe, r.maybe = noProbe, 0
		r.due--
		r.book.Ready(r.answered)
		r.answered++
		r.acked = 0
		return Reply{Drop: wire.HeaderLen + 1, Done: len(b) == wire.HeaderLen+1}, true, nil
	}
	return Reply{}, false, nil
}

// probeFailed takes an error in the place of CloseComplete: a cancel request of somebody else may have hit the question. FATAL is for
// the client.
func (r *Relay) probeFailed(b []byte, size int) (reply Reply, ours bool, err error) {
	whole := wire.HeaderLen + size
	switch {
	case size > maxWhole:
		return Reply{}, true, wire.ErrLength
	case len(b) < whole:
		return Reply{Done: true}, true, nil
	}
	f := r.failed(b[wire.HeaderLen:whole])
	if r.fatal {
		return Reply{}, false, nil
	}
	if r.probe != probeSent || r.InTransaction() || string(f.Code) != string(claimpool.CodeQueryCanceled) {
		return Reply{}, true, violation("unexpected error from server")
	}
	r.probe = probeClosed
	return Reply{Drop: whole, Done: len(b) == whole}, true, nil
}
