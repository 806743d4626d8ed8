// Package wire frames the messages of PostgreSQL's protocol 3.0 and 3.2, decodes or builds the few that a proxy must
// read or send, and lets all others pass by their header. It does not know sockets, sessions, or which message may come
// when.
//
// Every builder is called Append… and returns dst with one whole message behind it, like the functions of strconv: what
// belongs together is built in one buffer and leaves in one write. Every decoder takes the body of one message, without
// its five header bytes, and refuses what does not fill the body exactly.
//
// Two rules keep a value from becoming a message (protocol, Message Formats):
//   - A string ends at its first NUL byte, as in C, so that a value can never become two values.
//   - A message that is too long for its length field cannot be built: CVE-2024-27304, where the length wrapped around and
//     the body was read as messages of its own.
package wire

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/claimpool/claimpool"
)

// Codes in the place of the protocol version, at the start of a connection (protocol, Message Formats).
const (
	Version30         = 3<<16 | 0
	Version32         = 3<<16 | 2
	CancelRequestCode = 1234<<16 | 5678
	SSLRequestCode    = 1234<<16 | 5679
	GSSENCRequestCode = 1234<<16 | 5680
)

// HeaderLen is the length of a message's type byte and length word.
const HeaderLen = 5

// Our own limits.
const (
	// MaxMessage is the longest body that passes. PostgreSQL can neither build nor read a longer one; a length beyond it is
	// an attack or a stream that is out of step.
	MaxMessage = 1 << 30

	// maxCount is the highest number that a 16-bit count of arguments can carry.
	maxCount = 1<<16 - 1
)

// ErrLength is the answer to a message whose length field is below 4 or too high.
var ErrLength = &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: "invalid message length"}

// malformed refuses a message of a client with PostgreSQL's text; why is for the log.
func malformed(why string) error {
	return &claimpool.Error{
		Code: claimpool.CodeProtocolViolation, Message: "invalid message format", Cause: errors.New(why),
	}
}

// begin appends a message's header with an empty length word, and tells where that word is.
func begin(dst []byte, typ byte) ([]byte, int) {
	return append(dst, typ, 0, 0, 0, 0), len(dst) + 1
}

// beginUntyped is begin for the messages that open a connection: they have no type byte.
func beginUntyped(dst []byte) ([]byte, int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// end fills in the length word, which counts itself but not the type byte.
func end(dst []byte, at int) []byte {
	n := len(dst) - at
	if n > MaxMessage+4 {
		panic("wire: message longer than 1 GiB") // only our own messages get here, and all of them are bounded before
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(n))
	return dst
}

// appendCString appends s up to its first NUL byte, and a terminator.
func appendCString(dst []byte, s string) []byte {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	dst = append(dst, s...)
	return append(dst, 0)
}

// appendCount appends a 16-bit count.
func appendCount(dst []byte, n int) []byte {
	if n > maxCount {
		panic("wire: more than 65,535 arguments")
	}
	return binary.BigEndian.AppendUint16(dst, uint16(n))
}

// appendValue appends a value with its length, or the length -1 when it is nil, which means NULL.
func appendValue(dst, v []byte) []byte {
	if v == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	if len(v) > MaxMessage {
		panic("wire: value longer than 1 GiB")
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	return append(dst, v...)
}
