package trusted

import (
	"errors"

	"github.com/claimpool/claimpool/wire"
)

// Step is one request of a hand-over, named for the reply that it must have.
type Step byte

// The steps.
const (
	StepReset      Step = iota // CommandComplete "RESET"
	StepResetFirst             // the same without ReadyForQuery: another statement of the same Query follows
	StepDiscard                // CommandComplete "DISCARD ALL"
	StepRollback               // CommandComplete "ROLLBACK"
	StepCall                   // FunctionCallResponse
	StepSetting                // the same, for a setting that the client has brought
	StepSync                   // nothing but ReadyForQuery
	StepClose                  // CloseComplete, and no ReadyForQuery: it belongs to the request behind it
	StepLeft                   // one row, or an error; see Replies.Left
	StepListen                 // CommandComplete "LISTEN"
	StepUnlisten               // CommandComplete "UNLISTEN"
	StepTemporary              // FunctionCallResponse, or an error; see Replies.Temporary
)

// Steps are the requests that were sent, in order.
type Steps []Step

// Fenced reports whether nothing behind the hand-over can run, in a database with a gate, unless all of it has succeeded: a
// context is installed first, and only the client's settings follow, of which each that fails takes the context away.
func (s Steps) Fenced() bool {
	if len(s) > 0 && s[0] == StepClose {
		s = s[1:]
	}
	for i, step := range s {
		if (i == 0 && step != StepCall) || (i > 0 && step != StepSetting) {
			return false
		}
	}
	return len(s) > 0
}

var stepTags = map[Step]string{StepReset: "RESET", StepResetFirst: "RESET", StepDiscard: "DISCARD ALL", StepRollback: "ROLLBACK",
	StepLeft: "SELECT 1", StepListen: "LISTEN", StepUnlisten: "UNLISTEN"}

// maxReply is the longest reply to a step: set_config answers with the value, and claims are at most 64 KiB of token.
const maxReply = 60 << 10

// maxNews is how much news a hand-over collects: a neighbour that notifies without end must not fill the proxy's memory.
const maxNews = 4 << 20

// Replies checks the replies to the steps of a hand-over. None of them reaches the client.
type Replies struct {
	steps    Steps
	answered bool // the step at the front has had its reply and waits for ReadyForQuery
	keeping  bool // collect news
	news     []byte
	settings [][2]string // those of the steps StepSetting to come
	settled  [][2]string
	left     Left
	temp     bool
}

// Expect starts the check.
func Expect(steps Steps) Replies { return Replies{steps: steps} }

// KeepNews says that the connection is the client's already, in a session of its own: notifications that come between the
// replies are for it. Otherwise they are the last owner's, and dropped.
func (r *Replies) KeepNews() { r.keeping = true }

// News gives the notifications that have come, as messages, and forgets them.
func (r *Replies) News() []byte {
	b := r.news
	r.news = nil
	return b
}

// Compare says which settings the steps StepSetting carry; see Settled.
func (r *Replies) Compare(set *Settings) { r.settings = set.list }

// Settled gives the settings whose value PostgreSQL writes in another way than the client has: "German, DMY" for "german".
func (r *Replies) Settled() [][2]string { return r.settled }

// Done reports whether every step has had its reply.
func (r *Replies) Done() bool { return len(r.steps) == 0 }

var errReply = errors.New("unexpected reply to a hand-over")

// Take looks at bytes of the server and says how many it has used: whole messages only, and none behind the last reply.
// failed carries the server's own error when it sent one. After any error the connection must be closed.
func (r *Replies) Take(b []byte) (n int, err error) {
	for !r.Done() {
		typ, size, ok, err := wire.Header(b[n:])
		if err != nil {
			return n, err
		}
		if !ok {
			return n, nil
		}
		if size > maxReply {
			return n, errReply
		}
		if len(b)-n < wire.HeaderLen+size {
			return n, nil
		}
		body := b[n+wire.HeaderLen : n+wire.HeaderLen+size]
		if r.keeping && typ == wire.MsgNotificationResponse {
			r.news = append(r.news, b[n:n+wire.HeaderLen+size]...)
		}
		if len(r.news) > maxNews {
			return n, errReply
		}
		n += wire.HeaderLen + size
		if err := r.message(typ, body); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *Replies) message(typ byte, body []byte) error {
	switch typ {
	case wire.MsgNoticeResponse, wire.MsgParameterStatus, wire.MsgNotificationResponse:
		return nil // these may come at any time, and are the last owner's or our own business
	case wire.MsgReadyForQuery:
		if len(body) != 1 || body[0] != wire.StatusIdle || (!r.answered && r.steps[0] != StepSync) {
			return errReply
		}
		r.steps = r.steps[1:]
		r.answered = false
		return nil
	case wire.MsgCloseComplete:
		if r.answered || r.steps[0] != StepClose {
			return errReply
		}
		r.steps = r.steps[1:]
		return nil
	case wire.MsgCommandComplete:
		tag, err := wire.CommandTag(body)
		if want, ok := stepTags[r.steps[0]]; err != nil || r.answered || !ok || tag != want {
			return errReply
		}
		if r.steps[0] == StepResetFirst {
			r.steps = r.steps[1:]
			return nil
		}
	case wire.MsgFunctionCallResponse:
		if err := r.called(body); err != nil {
			return err
		}
	case wire.MsgRowDescription:
		if r.answered || r.steps[0] != StepLeft {
			return errReply
		}
		return nil
	case wire.MsgDataRow:
		if r.answered || r.steps[0] != StepLeft {
			return errReply
		}
		var err error
		r.left, err = readLeft(body)
		return err
	case wire.MsgErrorResponse:
		fields, err := wire.ParseError(body)
		if err != nil {
			return errReply
		}
		if !r.answered && r.steps[0] == StepLeft && fields.Severity == "ERROR" { // such as the client's own statement_timeout
			r.left = Left{Unknown: true}
			break
		}
		if !r.answered && r.steps[0] == StepTemporary && fields.Severity == "ERROR" { // such as a token that has ended meanwhile
			r.temp = true
			break
		}
		return fields.ClaimpoolError()
	default:
		return errReply
	}
	r.answered = true
	return nil
}

// called takes the value of a function.
func (r *Replies) called(body []byte) error {
	step := r.steps[0]
	if r.answered || step != StepCall && step != StepSetting && step != StepTemporary {
		return errReply
	}
	if step == StepCall || step == StepSetting && len(r.settings) == 0 {
		return nil
	}
	value, err := wire.ParseFunctionCallResponse(body)
	if err != nil {
		return errReply
	}
	if step == StepTemporary {
		r.temp = string(value) != "0"
		return nil
	}
	if kv := r.settings[0]; string(value) != kv[1] {
		r.settled = append(r.settled, [2]string{kv[0], string(value)})
	}
	r.settings = r.settings[1:]
	return nil
}
