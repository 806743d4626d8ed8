// Package pgmsg builds and frames the few protocol messages that the fake server and the load generator exchange.
//
// It does not know claimpool: a benchmark that shared the encoder of its subject would share its mistakes too.
package pgmsg

import "encoding/binary"

// Requests that stand in the place of a startup packet (protocol-message-formats).
const (
	Version30     = 196608
	CancelRequest = 80877102
	SSLRequest    = 80877103
	GSSENCRequest = 80877104
)

// HeaderLen is the length of a message's type byte and its length word.
const HeaderLen = 5

// Append appends one message whose body is all parts, one behind the other.
func Append(dst []byte, typ byte, parts ...[]byte) []byte {
	n := 4
	for _, p := range parts {
		n += len(p)
	}
	dst = append(dst, typ)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// AppendStartup appends a StartupMessage for protocol 3.0; settings are names and values in turn.
func AppendStartup(dst []byte, settings ...string) []byte {
	n := 4 + 4 + 1
	for _, s := range settings {
		n += len(s) + 1
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = binary.BigEndian.AppendUint32(dst, Version30)
	for _, s := range settings {
		dst = append(append(dst, s...), 0)
	}
	return append(dst, 0)
}

// AppendSSLRequest appends an SSLRequest.
func AppendSSLRequest(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint32(dst, SSLRequest)
}

// AppendQuery appends a simple Query.
func AppendQuery(dst []byte, sql string) []byte { return Append(dst, 'Q', String(sql)) }

// AppendParse appends a Parse without parameter types.
func AppendParse(dst []byte, name, sql string) []byte {
	return Append(dst, 'P', String(name), String(sql), Int16(0))
}

// AppendBind appends a Bind of a statement without parameters to the unnamed portal.
func AppendBind(dst []byte, statement string) []byte {
	return Append(dst, 'B', String(""), String(statement), Int16(0), Int16(0), Int16(0))
}

// AppendDescribe appends a Describe of the unnamed portal.
func AppendDescribe(dst []byte) []byte { return Append(dst, 'D', []byte("P"), String("")) }

// AppendExecute appends an Execute of the unnamed portal, all rows.
func AppendExecute(dst []byte) []byte { return Append(dst, 'E', String(""), Int32(0)) }

// AppendSync appends a Sync.
func AppendSync(dst []byte) []byte { return Append(dst, 'S') }

// AppendReady appends a ReadyForQuery.
func AppendReady(dst []byte, status byte) []byte { return Append(dst, 'Z', []byte{status}) }

// AppendError appends an ErrorResponse.
func AppendError(dst []byte, code, message string) []byte {
	return Append(dst, 'E', String("SERROR"), String("VERROR"), String("C"+code), String("M"+message), []byte{0})
}

// String is a zero-terminated string.
func String(s string) []byte { return append([]byte(s), 0) }

// Int16 is a two-byte integer.
func Int16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

// Int32 is a four-byte integer.
func Int32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// ErrorText returns the SQLSTATE and message of an ErrorResponse's body.
func ErrorText(body []byte) string {
	var code, message string
	for len(body) > 1 {
		end := 1
		for end < len(body) && body[end] != 0 {
			end++
		}
		switch body[0] {
		case 'C':
			code = string(body[1:end])
		case 'M':
			message = string(body[1:end])
		}
		if end == len(body) {
			break
		}
		body = body[end+1:]
	}
	return code + " " + message
}

// Framer finds the messages in a stream that arrives in pieces, without keeping more than a header.
type Framer struct {
	header [HeaderLen]byte
	have   int // header bytes that have arrived
	left   int // body bytes of the current message that are still to come
}

// Next takes the front of b and returns the type of the message that begins in it, as much of its body as b holds,
// and the rest of b. typ is 0 when b ended before another message began; body bytes of a message that began in an
// earlier piece are skipped.
func (f *Framer) Next(b []byte) (typ byte, body, rest []byte) {
	if f.left > 0 {
		n := min(f.left, len(b))
		f.left -= n
		b = b[n:]
	}
	if f.left > 0 || len(b) == 0 {
		return 0, nil, nil
	}
	n := copy(f.header[f.have:], b)
	f.have += n
	b = b[n:]
	if f.have < HeaderLen {
		return 0, nil, nil
	}
	f.have = 0
	f.left = int(binary.BigEndian.Uint32(f.header[1:])) - 4
	n = max(0, min(f.left, len(b)))
	f.left -= n
	return f.header[0], b[:n], b[n:]
}

// Complete reports whether the message that Next returned last had its whole body.
func (f *Framer) Complete() bool { return f.left == 0 && f.have == 0 }
