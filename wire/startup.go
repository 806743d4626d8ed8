package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/claimpool/claimpool"
)

// maxParameters is the longest list of start-up parameters that we read. Drivers send about ten; names must be compared
// with each other, and this keeps a stranger from making that expensive.
const maxParameters = 128

// Lengths of a key that proves the right to cancel (protocol, BackendKeyData).
const (
	minCancelKey = 4
	maxCancelKey = 256
)

// Startup is a StartupMessage.
type Startup struct {
	Version uint32      // for instance Version30
	Params  [][2]string // name and value, in the client's order, no name twice
}

// Get gives the value of a parameter, "" when there is none. Names are exact: "User" is not "user".
func (s Startup) Get(name string) string {
	for _, p := range s.Params {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

// ParseStartup reads a StartupMessage from what follows its length word, the version included:
//
//	Int32 version, then String name, String value … and one zero byte as the last byte
//
// A name that comes twice is refused, although PostgreSQL would take the last one: whoever decides by the first and
// forwards the second has been lied to.
func ParseStartup(body []byte) (Startup, error) {
	if len(body) < 4 {
		return Startup{}, startupError("invalid length of startup packet")
	}
	s := Startup{Version: binary.BigEndian.Uint32(body)}
	rest := body[4:]
	for {
		name, after, ok := cutCString(rest)
		if !ok || name == "" && len(after) > 0 {
			return Startup{}, startupError("invalid startup packet layout: expected terminator as last byte")
		}
		if name == "" {
			return s, nil
		}
		value, after, ok := cutCString(after)
		if !ok {
			return Startup{}, startupError("invalid startup packet layout: expected terminator as last byte")
		}
		for _, p := range s.Params {
			if strings.EqualFold(p[0], name) {
				return Startup{}, startupError(fmt.Sprintf("parameter %q appears twice in startup packet", p[0]))
			}
		}
		if len(s.Params) == maxParameters {
			return Startup{}, startupError("too many parameters in startup packet")
		}
		s.Params = append(s.Params, [2]string{name, value})
		rest = after
	}
}

// ParseCancel reads a CancelRequest from what follows its length word, the code included.
func ParseCancel(body []byte) (pid uint32, secret []byte, err error) {
	if len(body) < 8 || binary.BigEndian.Uint32(body) != CancelRequestCode {
		return 0, nil, startupError("invalid length of startup packet")
	}
	return keyData(body[4:], func() error { return startupError("invalid length of cancel key in cancel request") })
}

// keyData reads a process id and the secret behind it.
func keyData(b []byte, refuse func() error) (pid uint32, secret []byte, err error) {
	if len(b) < 4+minCancelKey || len(b) > 4+maxCancelKey {
		return 0, nil, refuse()
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

// cutCString takes the string up to the first NUL byte off b.
func cutCString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", b, false
	}
	return string(b[:i]), b[i+1:], true
}

func startupError(message string) error {
	return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: message}
}
