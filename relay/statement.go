package relay

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// names reports whether the message at the front of b may name a prepared statement, or speak of an unnamed one that is not
// this client's. It looks at no more than the first two bytes of the body.
func (r *Relay) names(b []byte, typ byte, size int) bool {
	if typ == wire.MsgQuery {
		r.unnamed = true // closes it
		r.book.NoUnnamed()
		return false
	}
	if typ != wire.MsgParse && typ != wire.MsgBind && typ != wire.MsgDescribe && typ != wire.MsgClose {
		return false
	}
	if size < 2 || len(b) < wire.HeaderLen+2 {
		return true
	}
	first, second := b[wire.HeaderLen], b[wire.HeaderLen+1]
	switch {
	case typ == wire.MsgParse && first == 0:
		whole := len(b) >= wire.HeaderLen+size
		if !whole || r.unsure || !r.book.Unnamed(b[wire.HeaderLen+1:wire.HeaderLen+size], r.answered+uint32(r.due), r.acks) {
			return true
		}
		r.book.UnnamedDoes(uint16(r.scanned))
		r.unnamed = true
		return false
	case typ == wire.MsgBind && first == 0 && second == 0 && r.unnamed:
		return false
	case typ == wire.MsgDescribe && first == wire.KindStatement && second == 0 && r.unnamed:
		return false
	case (typ == wire.MsgDescribe || typ == wire.MsgClose) && first == wire.KindPortal:
		return false
	}
	return true
}

// Rewrite appends to dst what the server is to get in place of the message at the front of b, and says how many bytes of b
// it has used. Named tells whether it wants to see more of them; Held, that it waits for an answer.
func (r *Relay) Rewrite(dst, b []byte) (out []byte, used int, err error) {
	if r.copyIn && !r.book.Collecting() { // PostgreSQL does not look into it
		typ, size, _, err := wire.Header(b)
		r.named, r.fromClient = false, size
		r.request(typ, size)
		return append(dst, b[:wire.HeaderLen]...), wire.HeaderLen, err
	}
	r.unsynced = true
	at := prepared.Point{Batch: r.answered + uint32(r.due), Ack: r.acks, Unnamed: r.unnamed, Waiting: r.due > 0 && !r.unsure}
	at.Failed = r.status == wire.StatusFailed && r.due == 0 && !r.executed
	typ := wire.MsgParse // whose rest may come in pieces
	if !r.book.Collecting() && len(b) > 0 {
		typ = b[0]
	}
	if typ == wire.MsgParse {
		at.Uses = uint16(r.scanned)
	}
	before := r.book.Due()
	out, step, err := r.book.Rewrite(dst, b, &at)
	r.acks, r.unnamed = at.Ack, at.Unnamed
	if typ == wire.MsgBind {
		r.seen |= feature.Uses(at.Uses)
	}
	switch {
	case err != nil:
	case r.unsure && r.book.Due() > before, step.Hold && (r.unsure || r.due == 0):
		err = lostCount
	case step.Hold:
		r.held = true
	case step.Done:
		r.named = false
		r.fromClient = step.Rest
	}
	return out, step.Used, err
}

// lostCount ends a client whose requests and replies cannot be matched any more: which answer is whose, nobody can tell.
var lostCount = &claimpool.Error{
	Code: claimpool.CodeFeatureNotSupported, Message: "prepared statements behind a query without a Sync in front of it",
	Hint: "End a batch of the extended protocol with Sync before you send anything else.",
}

// acknowledged takes a ParseComplete or CloseComplete that has n bytes in front of it. stop means that the scan ends here
// with the reply.
func (r *Relay) acknowledged(b []byte, n int, typ byte, size int) (reply Reply, stop bool, err error) {
	if !r.book.Expects(r.answered, r.acked) {
		if typ == wire.MsgParseComplete {
			r.book.Prepared(r.answered, r.acked)
		}
		r.acked++
		return Reply{}, false, nil
	}
	if size != 0 {
		return Reply{Forward: n}, true, wire.ErrLength
	}
	hidden := r.book.Hides()
	if hidden && n > 0 {
		return Reply{Forward: n}, true, nil // first what stands before it
	}
	r.acked++
	if !r.book.Acknowledge(typ) {
		return Reply{Forward: n}, true, violation("unexpected message from server")
	}
	if !hidden {
		return Reply{}, false, nil
	}
	return Reply{Drop: wire.HeaderLen, Done: len(b) == wire.HeaderLen}, true, nil
}
