package relay

import (
	"bytes"
	"encoding/binary"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Known knows a request that the proxy answers itself by the beginning of its SQL. maybe asks for more of it; whole says that
// there is no more.
type Known func(sql []byte, whole bool) (yes, maybe bool)

// maxLook is how much of a message is looked at for that.
const maxLook = 8 << 10

// maxStatement bounds such a request: it has to be there as a whole.
const maxStatement = 48 << 10

// Watch makes FromClient stop in front of a request that is known; nil lets everything pass.
func (r *Relay) Watch(ours *Known) { r.ours = ours }

// Stopped reports whether a request of the proxy's own stands at the front of what FromClient has left.
func (r *Relay) Stopped() bool { return r.stopped }

// stop reports whether a Query or Parse must not go on, or not yet.
func (r *Relay) stop(typ byte, body []byte, size int) bool {
	yes, maybe := look(typ, body, size, *r.ours)
	r.stopped = yes
	return yes || maybe
}

// Begins reports whether the message at the front of b is a request of the proxy's own.
func Begins(b []byte, ours *Known) bool {
	typ, size, ok, err := wire.Header(b)
	if err != nil || !ok || ours == nil || typ != wire.MsgQuery && typ != wire.MsgParse {
		return false
	}
	yes, _ := look(typ, b[wire.HeaderLen:], size, *ours)
	return yes
}

func look(typ byte, body []byte, size int, ours Known) (yes, maybe bool) {
	whole := len(body) >= size
	if whole {
		body = body[:size]
	}
	sql := body
	if typ == wire.MsgParse { // String name, String query, …
		i := bytes.IndexByte(body, 0)
		if i < 0 {
			return false, !whole && len(body) < maxLook
		}
		sql = body[i+1:]
	}
	if len(sql) > 2 && (sql[0] > ';' && sql[0]|0x20 != 's' || sql[0]|0x20 == 's' && sql[2]|0x20 != 't') {
		return false, false // the bulk of all SQL: "select", "insert", "update" …
	}
	yes, maybe = ours(sql, whole)
	return yes, maybe && len(body) < maxLook
}

// Statement is a request of one statement without arguments: a Query, or one batch that parses, binds and executes it.
type Statement struct {
	SQL    []byte // without the zero byte at its end; a part of what was read
	Len    int    // of the request
	Before []byte // the replies in front of CommandComplete
	After  []byte // the replies behind it, but for ReadyForQuery
}

var (
	// ErrNotOne is the answer where a request of the proxy's own is mixed with others.
	ErrNotOne = &claimpool.Error{
		Code: claimpool.CodeFeatureNotSupported, Message: "SET jwt.context must be a request by itself",
		Hint: "Send it as a simple query, or parse, bind and execute it without names and arguments up to one Sync.",
	}
	errTooLong = &claimpool.Error{Code: claimpool.CodeProgramLimitExceeded, Message: "SET jwt.context is too long"}
)

// ReadStatement reads the request at the front of b, a Query or a batch that begins with Parse; ok says that it is there as a
// whole. An error is the answer for the client, also when the rest of the request has not come.
func ReadStatement(b []byte) (st Statement, ok bool, err error) {
	for step := byte(0); ; {
		typ, size, have, err := wire.Header(b[st.Len:])
		switch {
		case err != nil:
			return st, false, err
		case st.Len+wire.HeaderLen+size > maxStatement:
			return st, false, errTooLong
		case !have || len(b)-st.Len < wire.HeaderLen+size:
			return st, false, nil
		}
		body := b[st.Len+wire.HeaderLen : st.Len+wire.HeaderLen+size]
		st.Len += wire.HeaderLen + size
		switch {
		case typ == wire.MsgQuery && step == 0:
			var rest []byte
			if st.SQL, rest, ok = bytes.Cut(body, []byte{0}); !ok || len(rest) > 0 {
				return st, false, ErrNotOne
			}
			return st, true, nil
		case typ == wire.MsgSync && step == wire.MsgExecute:
			return st, true, nil
		case !st.add(typ, body, step):
			return st, false, ErrNotOne
		}
		if typ == wire.MsgParse || typ == wire.MsgBind || typ == wire.MsgExecute {
			step = typ
		}
	}
}

// add takes one message of a batch. step is the last of Parse, Bind and Execute before it.
func (st *Statement) add(typ byte, body []byte, step byte) bool {
	switch {
	case typ == wire.MsgParse && step == 0: // String name, String query, Int16 number of types
		rest, unnamed := bytes.CutPrefix(body, []byte{0})
		sql, rest, ended := bytes.Cut(rest, []byte{0})
		st.SQL = sql
		st.reply(wire.MsgParseComplete, step)
		return unnamed && ended && len(rest) >= 2
	case typ == wire.MsgBind && step == wire.MsgParse: // String portal, String statement, Int16 formats, …, Int16 arguments, …
		if len(body) < 4 || body[0] != 0 || body[1] != 0 {
			return false
		}
		formats := int(binary.BigEndian.Uint16(body[2:]))
		st.reply(wire.MsgBindComplete, step)
		return len(body) >= 6+2*formats && binary.BigEndian.Uint16(body[4+2*formats:]) == 0
	case typ == wire.MsgDescribe && len(body) == 2 && body[1] == 0 && step != 0:
		if body[0] == wire.KindStatement {
			st.reply(wire.MsgParameterDescription, step, 0, 0)
		}
		st.reply(wire.MsgNoData, step)
		return body[0] == wire.KindStatement || body[0] == wire.KindPortal && step != wire.MsgParse
	case typ == wire.MsgExecute && step == wire.MsgBind:
		return len(body) == 5 && body[0] == 0
	case typ == wire.MsgClose && len(body) == 2 && body[1] == 0 && step != 0:
		st.reply(wire.MsgCloseComplete, step)
		return step == wire.MsgExecute
	}
	return false
}

// reply notes a message of the answer.
func (st *Statement) reply(typ, step byte, body ...byte) {
	to := &st.Before
	if step == wire.MsgExecute {
		to = &st.After
	}
	*to = append(append(*to, typ, 0, 0, 0, byte(4+len(body))), body...)
}

// Replace gives a Query or Parse at the front of b with other SQL in it, and its length; ok says that it is there as a whole. An
// error is the end of the client.
func Replace(b []byte, sql string) (message []byte, n int, ok bool, err error) {
	typ, size, have, err := wire.Header(b)
	switch {
	case err != nil:
		return nil, 0, false, err
	case size > maxStatement:
		return nil, 0, false, errTooLong
	case !have || len(b) < wire.HeaderLen+size:
		return nil, 0, false, nil
	case typ == wire.MsgQuery:
		return wire.AppendQuery(nil, sql), wire.HeaderLen + size, true, nil
	}
	name, _, _ := bytes.Cut(b[wire.HeaderLen:wire.HeaderLen+size], []byte{0})
	return wire.AppendParse(nil, string(name), sql), wire.HeaderLen + size, true, nil
}
