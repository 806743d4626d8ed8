package relay

import (
	"bytes"

	"github.com/claimpool/claimpool/wire"
)

// maxFences is how many fences may be under way: a client that sends without end waits for its answers now and then.
const maxFences = 64

// Fenceable reports whether the request that is held may follow at once, behind a fence.
func (r *Relay) Fenceable() bool {
	return r.Holds() && !r.doubting() && !r.early && r.fences < maxFences
}

// Fence notes that the context is being installed once more, by one FunctionCall in front of the request that was held: now
// it does not matter what becomes of the requests before it. The reply is nobody's; where it is not what it must be, the
// server has to be closed, and then it has not carried out what stands behind.
func (r *Relay) Fence() {
	r.fences++
	r.due++
	r.open = true
	r.acks = 0
}

// fenced takes the reply to a fence, whole messages only: FunctionCallResponse and the same status as before. In a
// transaction that has failed PostgreSQL refuses the call, as it does the request behind it unless that ends the transaction.
func (r *Relay) fenced(b []byte, typ byte, size int) (Reply, error) {
	if size > maxWhole {
		return Reply{}, wire.ErrLength
	}
	whole := wire.HeaderLen + size
	if len(b) < whole {
		return Reply{Done: true}, nil
	}
	body, drop := b[wire.HeaderLen:whole], Reply{Drop: whole, Done: len(b) == whole}
	switch typ {
	case wire.MsgNoticeResponse, wire.MsgNotificationResponse:
		return drop, nil
	case wire.MsgFunctionCallResponse:
		r.installed = true
		return drop, nil
	case wire.MsgErrorResponse:
		if r.status == wire.StatusFailed && bytes.Contains(body, []byte("\x00C25P02\x00")) {
			r.installed = true
			return drop, nil
		}
	case wire.MsgReadyForQuery:
		status := r.status
		if status == 0 {
			status = wire.StatusIdle
		}
		if size == 1 && r.installed && body[0] == status {
			r.fencing, r.installed = false, false
			r.fences--
			r.due--
			r.book.Ready(r.answered)
			r.answered++
			return drop, nil
		}
	}
	return Reply{}, violation("context not renewed in a pipeline")
}
