//go:build linux

package fakepg

import (
	"bytes"
	"encoding/binary"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// maxMessage bounds what one message may make the fake server remember; only CopyData may be longer.
const maxMessage = 16 << 20

// session is one connection. It is a function from bytes to bytes: the server does the reading and writing.
type session struct {
	fd         int
	partial    []byte // the front of a message that has not arrived whole
	unsent     []byte // the rest of a reply
	skip       int    // CopyData bytes still to come and to be thrown away
	started    bool   // the StartupMessage has come
	status     byte   // of ReadyForQuery: I or T
	copying    bool   // COPY FROM STDIN is going on ...
	simple     bool   // ... and began with a simple Query
	failed     bool   // an error was sent: skip until Sync
	statements map[string]*answer
	portal     *answer
}

// take answers the messages in b, behind what was left over from earlier ones; the reply is appended to out. The result
// is false when the connection is over.
func (c *session) take(b, out []byte, known answers) ([]byte, bool) {
	if c.skip > 0 {
		n := min(c.skip, len(b))
		c.skip -= n
		b = b[n:]
	}
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		b = c.partial
	}
	for len(b) > 0 {
		if !c.started {
			n, ok := c.startup(b, &out)
			if !ok {
				return out, false
			}
			if n == 0 {
				break
			}
			b = b[n:]
			continue
		}
		if len(b) < pgmsg.HeaderLen {
			break
		}
		size := 1 + int(binary.BigEndian.Uint32(b[1:]))
		if b[0] == 'd' && size >= pgmsg.HeaderLen {
			c.skip = max(0, size-len(b))
			b = b[size-c.skip:]
			continue
		}
		if b[0] == 'X' || size < pgmsg.HeaderLen || size > maxMessage {
			return out, false
		}
		if len(b) < size {
			break
		}
		out = c.message(out, b[0], b[pgmsg.HeaderLen:size], known)
		b = b[size:]
	}
	c.partial = append(c.partial[:0], b...)
	return out, true
}

// startup answers a startup packet or a request in its place and returns its length, or 0 when it is not whole yet.
func (c *session) startup(b []byte, out *[]byte) (n int, ok bool) {
	if len(b) < 8 {
		return 0, true
	}
	n = int(binary.BigEndian.Uint32(b))
	if n < 8 || n > maxMessage {
		return 0, false
	}
	if len(b) < n {
		return 0, true
	}
	switch code := binary.BigEndian.Uint32(b[4:]); {
	case code == pgmsg.SSLRequest || code == pgmsg.GSSENCRequest:
		*out = append(*out, 'N')
		return n, true
	case code>>16 != 3:
		return n, false // CancelRequest, or not for us
	case code != pgmsg.Version30:
		*out = pgmsg.Append(*out, 'v', pgmsg.Int32(pgmsg.Version30), pgmsg.Int32(0))
	}
	c.started = true
	c.statements = map[string]*answer{}
	*out = pgmsg.Append(*out, 'R', pgmsg.Int32(0))
	for _, p := range [][2]string{
		{"application_name", ""}, {"client_encoding", "UTF8"}, {"DateStyle", "ISO, MDY"}, {"default_transaction_read_only", "off"},
		{"in_hot_standby", "off"}, {"integer_datetimes", "on"}, {"IntervalStyle", "postgres"}, {"is_superuser", "off"},
		{"server_encoding", "UTF8"}, {"server_version", "17.0"}, {"session_authorization", "bench"},
		{"standard_conforming_strings", "on"}, {"TimeZone", "UTC"},
	} {
		*out = pgmsg.Append(*out, 'S', pgmsg.String(p[0]), pgmsg.String(p[1]))
	}
	*out = pgmsg.Append(*out, 'K', pgmsg.Int32(1000+c.fd), pgmsg.Int32(0x5eed))
	*out = pgmsg.AppendReady(*out, c.status)
	return n, true
}

// message answers one message.
func (c *session) message(out []byte, typ byte, body []byte, known answers) []byte {
	if c.failed && typ != 'S' {
		return out
	}
	switch typ {
	case 'Q':
		return c.query(out, text(body), known)
	case 'P':
		name, rest, _ := bytes.Cut(body, []byte{0})
		c.statements[string(name)] = known.find(text(rest))
		return append(out, parseComplete...)
	case 'B':
		_, rest, _ := bytes.Cut(body, []byte{0})
		name, _, _ := bytes.Cut(rest, []byte{0})
		if c.portal = c.statements[string(name)]; c.portal == nil {
			return c.fail(out, "26000", `prepared statement "`+string(name)+`" does not exist`)
		}
		return append(out, bindComplete...)
	case 'D':
		return c.describe(out, body)
	case 'E':
		if c.portal == nil {
			return c.fail(out, "34000", `portal "" does not exist`)
		}
		c.simple = false
		return c.run(out, c.portal, c.portal.rows)
	case 'C':
		if len(body) > 1 && body[0] == 'S' {
			delete(c.statements, string(text(body[1:])))
		}
		return append(out, closeComplete...)
	case 'S':
		c.failed = false
		return pgmsg.AppendReady(out, c.status)
	case 'F':
		out = append(out, functionCall(body)...)
		return pgmsg.AppendReady(out, c.status)
	case 'c', 'f':
		if !c.copying {
			return out
		}
		c.copying = false
		out = pgmsg.Append(out, 'C', pgmsg.String("COPY 1"))
		if c.simple {
			out = pgmsg.AppendReady(out, c.status)
		}
	}
	return out // Flush, password messages: nothing to say
}

func (c *session) query(out, sql []byte, known answers) []byte {
	c.simple = true
	for one := range bytes.SplitSeq(sql, []byte{';'}) { // a semicolon in quotes only gives one reply too many
		if len(one) == 0 {
			continue
		}
		a := known.find(one)
		if out = c.run(out, a, a.table); c.copying {
			return out
		}
	}
	return pgmsg.AppendReady(out, c.status)
}

// run appends a statement's reply and does what it does to the session.
func (c *session) run(out []byte, a *answer, reply []byte) []byte {
	if a.status != 0 {
		c.status = a.status
	}
	c.copying = a.copyIn
	return append(out, reply...)
}

func (c *session) describe(out, body []byte) []byte {
	if len(body) == 0 {
		return out
	}
	a := c.portal
	if body[0] == 'S' {
		a = c.statements[string(text(body[1:]))]
	}
	if a == nil {
		return c.fail(out, "26000", "nothing of that name to describe")
	}
	if body[0] == 'S' {
		out = append(out, noParameters...)
	}
	return append(out, a.shape...)
}

func (c *session) fail(out []byte, code, message string) []byte {
	c.failed = true
	return pgmsg.AppendError(out, code, message)
}

// text is the zero-terminated string at the front of b, without its zero.
func text(b []byte) []byte {
	s, _, _ := bytes.Cut(b, []byte{0})
	return s
}
