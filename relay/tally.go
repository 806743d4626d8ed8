package relay

import (
	"bytes"
	"math"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Tally is what the answers to a client say of its transactions: how many there were, how many rows, how they ended. It reads the bytes
// that go to the client, apart from a Relay, which costs nothing where nobody counts. Its zero value is ready.
type Tally struct {
	Rows         uint64 // that were sent, changed or copied
	Transactions uint32 // that have ended; preparing and describing is none
	Outcome      claimpool.Outcome
	Code         claimpool.Code // of the error that has ended the transaction with the outcome "error"

	rest  int            // bytes to come of a body that is passed over
	rows  uint64         // that were sent since the last CommandComplete
	begun bool           // something was answered since the last end of a transaction
	erred bool           // an error was answered last
	code  claimpool.Code // of the first error in the transaction under way; empty when it was recovered from
	ended claimpool.Outcome
	blind bool // what comes cannot be told apart any more
}

// Take reads bytes on their way to the client: whole messages, but for the bodies of those that FromServer lets pass in pieces.
func (t *Tally) Take(b []byte) {
	for len(b) > 0 && !t.blind {
		if t.rest > 0 {
			k := min(t.rest, len(b))
			t.rest -= k
			b = b[k:]
			continue
		}
		typ, size, ok, err := wire.Header(b)
		if err != nil || !ok {
			t.blind = true
			return
		}
		b = b[wire.HeaderLen:]
		t.answer(typ, b[:min(size, len(b))])
		t.rest = size
	}
}

// Instead notes an error that the client gets in place of PostgreSQL's; nil: none.
func (t *Tally) Instead(e *claimpool.Error) {
	if e != nil {
		t.fail(e.Code)
	}
}

func (t *Tally) answer(typ byte, body []byte) {
	switch typ {
	case wire.MsgDataRow:
		t.rows++
	case wire.MsgCommandComplete:
		t.begun, t.erred = true, false
		t.Rows = saturated(t.Rows, max(t.rows, number(body)))
		t.rows, t.ended = 0, ""
		switch string(body) {
		case "ROLLBACK\x00":
			t.ended = claimpool.OutcomeRollback
		case "PREPARE TRANSACTION\x00":
			t.ended = claimpool.OutcomePrepared
		}
	case wire.MsgPortalSuspended, wire.MsgFunctionCallResponse:
		t.begun, t.erred, t.ended = true, false, ""
		t.Rows, t.rows = saturated(t.Rows, t.rows), 0
	case wire.MsgErrorResponse:
		t.Rows, t.rows = saturated(t.Rows, t.rows), 0
		code := claimpool.CodeInternalError
		if fields, err := wire.ParseError(body); err == nil {
			code = fields.ClaimpoolError().Code
		}
		t.fail(code)
	case wire.MsgReadyForQuery:
		if len(body) > 0 {
			t.ready(body[0])
		}
	}
}

// fail notes an error. The first one of a transaction is why those behind it came.
func (t *Tally) fail(code claimpool.Code) {
	t.begun, t.erred = true, true
	if t.code == "" {
		t.code = code
	}
}

// ready takes the status of ReadyForQuery.
func (t *Tally) ready(status byte) {
	switch {
	case status == wire.StatusInTransaction:
		t.code, t.erred = "", false // a savepoint has saved it
		return
	case status != wire.StatusIdle || !t.begun:
		return
	}
	outcome := t.ended
	switch {
	case t.erred, outcome == claimpool.OutcomeRollback && t.code != "":
		outcome = claimpool.OutcomeError
	case outcome == "":
		outcome = claimpool.OutcomeCommit
	}
	t.Transactions++
	if worse(outcome, t.Outcome) {
		t.Outcome, t.Code = outcome, ""
		if outcome == claimpool.OutcomeError {
			t.Code = t.code
		}
	}
	t.begun, t.erred, t.code, t.ended = false, false, "", ""
}

// worse reports whether an outcome says more than the one before, of a pipeline of several transactions.
func worse(a, b claimpool.Outcome) bool { return rank(a) > rank(b) }

func rank(o claimpool.Outcome) int {
	switch o {
	case claimpool.OutcomeError:
		return 4
	case claimpool.OutcomeRollback:
		return 3
	case claimpool.OutcomePrepared:
		return 2
	case claimpool.OutcomeCommit:
		return 1
	}
	return 0
}

// number is what stands at the end of a command tag, as in "INSERT 0 5"; 0 when nothing does.
func number(tag []byte) (n uint64) {
	if len(tag) > maxTag {
		return 0
	}
	tag = bytes.TrimSuffix(tag, []byte{0})
	digits := tag[bytes.LastIndexByte(tag, ' ')+1:]
	if len(digits) == 0 || len(digits) == len(tag) || len(digits) > 18 { // 18 digits fit into 63 bits
		return 0
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0
		}
		n = 10*n + uint64(d-'0')
	}
	return n
}

// saturated adds, up to what a bigint of PostgreSQL holds.
func saturated(a, b uint64) uint64 { return min(a+min(b, math.MaxInt64), math.MaxInt64) }
