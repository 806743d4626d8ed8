package prepared

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// maxHead is how long the two names at the front of a Bind, or the one of a Describe or Close, may be: they are looked at
// together. PostgreSQL itself cuts them at 63 bytes.
const maxHead = 8 << 10

// Point is where in the stream of a client's messages one stands.
type Point struct {
	Failed  bool   // the transaction has failed: nothing can be prepared
	Batch   uint32 // how many ReadyForQuery come before the one that ends its batch
	Ack     uint32 // how many ParseComplete and CloseComplete of the batch come before its own
	Unnamed bool   // the server's unnamed statement is this client's, or there is none
	Waiting bool   // earlier batches have not been answered
	Uses    uint16 // of a Parse: what its text does, in the words of whoever asks; of a Bind: what its statement's does
}

// Step says what has become of a message.
type Step struct {
	Used int  // bytes that have been taken
	Rest int  // bytes of its body, behind those, that go on as they are
	Done bool // the message has been dealt with; otherwise ask again with more bytes
	Hold bool // ask again when all earlier batches have been answered: what the message means depends on it
}

// Rewrite appends to dst what the server is to get in place of the Parse, Bind, Describe or Close at the front of b, and
// moves at on. b need not hold the whole message: Parse is collected, and of the others the names are enough. An error
// means that the client must go.
func (s *Server) Rewrite(dst, b []byte, at *Point) ([]byte, Step, error) {
	s.at = *at
	dst, step, err := s.rewrite(dst, b)
	*at = s.at
	if s.Due() > maxQueue {
		return dst, step, tooMany
	}
	return dst, step, err
}

var tooMany = &claimpool.Error{
	Code: claimpool.CodeProgramLimitExceeded, Message: "too many prepared statements in one pipeline",
	Hint: "Send Sync more often.",
}

func (s *Server) rewrite(dst, b []byte) ([]byte, Step, error) {
	if s.parts.open {
		dst, step := s.collect(dst, b, 0)
		return dst, step, nil
	}
	typ, size, ok, err := wire.Header(b)
	if !ok || err != nil {
		return dst, Step{}, err
	}
	body := b[wire.HeaderLen:min(len(b), wire.HeaderLen+size)]
	whole := len(body) == size
	switch {
	case len(body) == 0 && !whole:
		return dst, Step{}, nil
	case typ == wire.MsgParse:
		dst, step := s.anyParse(dst, b, body, size)
		return dst, step, nil
	case size == 0 || typ != wire.MsgBind && body[0] != wire.KindStatement:
		return s.pass(dst, b, typ, size) // a portal, or malformed
	}
	front, end := 1, -1 // of the statement's name in the body
	if typ == wire.MsgBind {
		front = bytes.IndexByte(body, 0) + 1
	}
	if front > 0 {
		end = bytes.IndexByte(body[front:], 0)
	}
	switch {
	case end >= 0 && front+end <= maxHead:
	case len(body) > maxHead:
		return dst, Step{}, longName
	case whole:
		return s.pass(dst, b, typ, size) // malformed, as PostgreSQL will say
	default:
		return dst, Step{}, nil
	}
	if end == 0 {
		return s.unnamed(dst, b, typ, size)
	}
	if size > wire.MaxMessage-perStatement {
		return dst, Step{}, wire.ErrLength // a name of ours may be longer, and PostgreSQL would not take it either way
	}
	m := message{typ: typ, front: body[:front], name: body[front : front+end], rest: size - front - end - 1}
	dst, hold := s.named(dst, &m)
	if hold {
		return dst, Step{Hold: true}, nil
	}
	return dst, Step{Used: wire.HeaderLen + front + end + 1, Rest: m.rest, Done: true}, nil
}

var longName = &claimpool.Error{
	Code: claimpool.CodeProtocolViolation, Message: "name of a statement or portal is too long",
	Hint: "PostgreSQL looks at the first 63 bytes.",
}

// message is a Bind, Describe or Close that names a statement.
type message struct {
	typ   byte
	front []byte // of the body: the name of the portal, or the kind
	name  []byte
	rest  int // bytes behind the name
}

// pass lets a message go on as it is.
func (s *Server) pass(dst, b []byte, typ byte, size int) ([]byte, Step, error) {
	if typ == wire.MsgParse || typ == wire.MsgClose {
		s.at.Ack++
	}
	return append(dst, b[:wire.HeaderLen]...), Step{Used: wire.HeaderLen, Rest: size, Done: true}, nil
}

// unnamed deals with the unnamed statement: what an earlier client has left on the server is closed, and the client's own is prepared
// where it is not there. PostgreSQL says so where there is none.
func (s *Server) unnamed(dst, b []byte, typ byte, size int) ([]byte, Step, error) {
	switch c := s.client; {
	case typ == wire.MsgClose:
		s.NoUnnamed()
	case s.at.Unnamed:
	case c != nil && c.unnamed.state == prepares:
		if typ == wire.MsgBind {
			s.at.Uses |= c.unnamed.uses
		}
		s.push(entry{kind: hiddenParse})
		dst = appendParse(dst, "", string(c.unnamed.text))
	default:
		s.push(entry{kind: hiddenClose})
		dst = wire.AppendClose(dst, wire.KindStatement, "")
	}
	s.at.Unnamed = true
	return s.pass(dst, b, typ, size)
}

// named puts the server's name in place of the client's. hold says that nothing has been done yet.
func (s *Server) named(dst []byte, m *message) (_ []byte, hold bool) {
	var h *holding
	if s.client != nil {
		h = s.client.names[string(short(m.name))]
	}
	if h != nil && h.state != settled && h.batch != s.at.Batch {
		return dst, true
	}
	if h == nil || h.state == closing {
		if m.typ == wire.MsgClose {
			s.at.Ack++
		}
		if ours(m.name) { // names of ours are no client's
			return m.append(dst, nothing), false
		}
		return m.append(dst, string(m.name)), false // made by SQL, or an error that PostgreSQL words best
	}
	if m.typ == wire.MsgClose {
		return s.close(dst, m, h), false
	}
	if m.typ == wire.MsgBind {
		s.at.Uses |= h.uses
	}
	st := s.client.current(h)
	sl := s.slots[st]
	switch {
	case sl != nil && sl.epoch >= h.epoch && (sl.state == settled || sl.state == pending && sl.batch == s.at.Batch):
		s.touch(sl)
	case sl != nil && s.at.Failed && !mayEnd(st.body): // it would not be prepared, and its own errors come before that of the transaction
		s.touch(sl)
		s.hoping, s.hoped = true, s.at.Batch
	case s.at.Waiting:
		return dst, true // what is under way may make it come or go
	default:
		dst = s.prepare(dst, entry{kind: hiddenParse, st: st})
	}
	return m.append(dst, st.name), false
}

// mayEnd reports whether a text may be one of those that PostgreSQL takes in a transaction that has failed.
func mayEnd(text string) bool {
	text = strings.ToLower(strings.TrimLeft(text[:min(len(text), 64)], " \t\r\n\f\v;"))
	for _, word := range []string{"rollback", "abort", "commit", "end", "prepare", "--", "/*", "\x00"} {
		if strings.HasPrefix(text, word) {
			return true
		}
	}
	return text == ""
}

// append writes the message up to its rest.
func (m *message) append(dst []byte, name string) []byte {
	dst = append(dst, m.typ)
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(m.front)+len(name)+1+m.rest))
	dst = append(dst, m.front...)
	dst = append(dst, name...)
	return append(dst, 0)
}

// close takes a name from the client. The statement itself stays on the server while others hold it.
func (s *Server) close(dst []byte, m *message, h *holding) []byte {
	e, name := entry{kind: ownClose, h: h}, nothing
	if sl := s.slots[h.st]; sl != nil && h.st.holders == 1 {
		e.st, e.was, name = h.st, true, h.st.name
		s.remove(sl)
	}
	h.state, h.batch = closing, s.at.Batch
	s.push(e)
	return m.append(dst, name)
}

// prepare sends a Parse. Whatever the server has under the name is closed first.
func (s *Server) prepare(dst []byte, e entry) []byte {
	st := e.st
	_, was := s.slots[st]
	if !was {
		for n := 0; s.last != nil && (len(s.slots) >= s.limit || s.last.st.holders == 0 && n < 2); n++ {
			old := s.last
			s.remove(old)
			dst = s.hiddenClose(dst, old.st.name, entry{kind: hiddenClose, st: old.st, was: true})
		}
	}
	if st.sent {
		dst = s.hiddenClose(dst, st.name, entry{kind: hiddenClose, st: st, was: was})
	}
	st.sent = true
	sl := s.slot(st)
	sl.state, sl.batch, sl.epoch = pending, s.at.Batch, s.library.epoch
	s.push(e)
	return appendParse(dst, st.name, st.body)
}

func (s *Server) hiddenClose(dst []byte, name string, e entry) []byte {
	s.push(e)
	return wire.AppendClose(dst, wire.KindStatement, name)
}

// appendParse writes a Parse; body is what stands behind the name.
func appendParse(dst []byte, name, body string) []byte {
	dst = append(dst, wire.MsgParse)
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(name)+1+len(body)))
	dst = append(dst, name...)
	dst = append(dst, 0)
	return append(dst, body...)
}

// anyParse deals with a Parse of which not all may be there.
func (s *Server) anyParse(dst, b, body []byte, size int) ([]byte, Step) {
	long := size > s.client.limits.Bytes
	switch {
	case size == 0 || body[0] == 0 && long:
		s.at.Unnamed = true
		s.NoUnnamed()
		dst, step, _ := s.pass(dst, b, wire.MsgParse, size)
		return dst, step
	case len(body) < size || long:
		s.parts = parts{size: size, open: true, long: long}
		return s.collect(dst, b, wire.HeaderLen)
	}
	dst, hold := s.parse(dst, body)
	if hold {
		return dst, Step{Hold: true}
	}
	return dst, Step{Used: wire.HeaderLen + size, Done: true}
}

// collect goes on with a Parse that comes in pieces, from b[skip:]. One that is too long for the client's bounds is not kept.
func (s *Server) collect(dst, b []byte, skip int) ([]byte, Step) {
	c := &s.parts
	k := min(len(b)-skip, c.size-c.got)
	if !c.long {
		c.body = append(c.body, b[skip:skip+k]...)
	}
	c.got += k
	step := Step{Used: skip + k}
	switch {
	case c.got < c.size:
		return dst, step
	case c.long:
		dst = s.tooLong(dst, noText)
	default:
		if dst, step.Hold = s.parse(dst, c.body); step.Hold {
			return dst, step
		}
	}
	*c = parts{}
	step.Done = true
	return dst, step
}

var noText = "\x00\x00\x00" // no SQL, no types

// parse gives a name to a text.
func (s *Server) parse(dst, body []byte) (_ []byte, hold bool) {
	name, text, ok := cut(body)
	if ok && len(name) == 0 {
		s.at.Unnamed = true
		s.Unnamed(text, s.at.Batch, s.at.Ack)
		s.UnnamedDoes(s.at.Uses)
	}
	if !ok || len(name) == 0 || !wellFormed(text) {
		s.at.Ack++
		dst = append(dst, wire.MsgParse)
		dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(body)))
		return append(dst, body...), false // PostgreSQL will say what is wrong
	}
	return s.add(dst, string(short(name)), string(text))
}

func (s *Server) add(dst []byte, name, text string) (_ []byte, hold bool) {
	c := s.client
	h := c.names[name]
	taken := h != nil && h.state != closing
	full, long := c.over(len(name) + len(text) + perStatement)
	switch {
	case h != nil && h.state != settled && h.batch != s.at.Batch, s.at.Waiting && (taken || full || long):
		return dst, true // what is under way may change that
	case taken:
		return s.refuse(dst, text, &claimpool.Error{
			Code: claimpool.CodeDuplicateStatement, Message: fmt.Sprintf("prepared statement \"%s\" already exists", strings.ToValidUTF8(name, "?")),
		}), false
	case full:
		return s.refuse(dst, text, &claimpool.Error{
			Code: claimpool.CodeProgramLimitExceeded, Message: "too many prepared statements",
			Detail: fmt.Sprintf("The connection holds %d of them.", c.limits.Client),
			Hint:   "Close those that are not in use, or raise pool.client_statements.",
		}), false
	case long:
		return s.tooLong(dst, text), false
	}
	h = c.add(name, text, s.at.Batch)
	h.uses = s.at.Uses
	return s.prepare(dst, entry{kind: ownParse, st: h.st, h: h}), false
}

func (s *Server) tooLong(dst []byte, text string) []byte {
	return s.refuse(dst, text, &claimpool.Error{
		Code: claimpool.CodeProgramLimitExceeded, Message: "prepared statements are too long",
		Detail: "The texts of all prepared statements of a connection are kept by the proxy.",
		Hint:   "Close those that are not in use, or raise pool.client_statements_kib.",
	})
}

// refuse makes the server fail in the place of a message: it is PostgreSQL that skips what follows, and aborts a
// transaction. What is wrong with the text itself, or that a transaction is aborted already, comes first, as there.
func (s *Server) refuse(dst []byte, text string, e *claimpool.Error) []byte {
	dst = s.hiddenClose(dst, refused, entry{kind: hiddenClose})
	s.push(entry{kind: hiddenParse})
	dst = appendParse(dst, refused, noText)
	s.push(entry{kind: refusal, err: e})
	return appendParse(dst, refused, text)
}

// Refuse makes the server fail in the place of a message of any kind, which it does not get.
func (s *Server) Refuse(dst []byte, at *Point, e *claimpool.Error) []byte {
	s.at = *at
	dst = s.refuse(dst, anyText, e)
	*at = s.at
	return dst
}

var anyText = "SELECT\x00\x00\x00" // refused in a transaction that has failed, as the message would be

// cut splits the body of a Parse behind its name.
func cut(body []byte) (name, text []byte, ok bool) {
	i := bytes.IndexByte(body, 0)
	if i < 0 {
		return nil, body, false
	}
	return body[:i], body[i+1:], true
}

// wellFormed reports whether text is SQL, and a list of types that fills it (protocol, Message Formats, Parse).
func wellFormed(text []byte) bool {
	i := bytes.IndexByte(text, 0)
	if i < 0 || len(text) < i+3 {
		return false
	}
	types := int(binary.BigEndian.Uint16(text[i+1:]))
	return len(text) == i+3+4*types
}
