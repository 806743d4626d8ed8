package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/claimpool/claimpool"
)

// The messages of a login that we read: as a server from clients (the errors are for them), and as a client from
// servers (the errors are for the log).

// maxMechanisms is the longest list of SASL mechanisms that we read; PostgreSQL knows three.
const maxMechanisms = 32

// maxUnknownOptions is the longest list of refused protocol options that we read; we never ask for more.
const maxUnknownOptions = 128

// ParsePassword reads a PasswordMessage. The secret is a part of body, so that clearing it clears the message.
func ParsePassword(body []byte) (claimpool.Secret, error) {
	if i := bytes.IndexByte(body, 0); i < 0 || i != len(body)-1 {
		return nil, &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: "invalid password packet size"}
	}
	return claimpool.Secret(body[:len(body)-1]), nil
}

// ParseSASLInitial reads a SASLInitialResponse. hasData is false when the client sent no initial response, which is not
// the same as an empty one.
func ParseSASLInitial(body []byte) (mech string, data []byte, hasData bool, err error) {
	mech, rest, ok := cutCString(body)
	if !ok || len(rest) < 4 {
		return "", nil, false, malformed("SASLInitialResponse ends too early")
	}
	n, data := int32(binary.BigEndian.Uint32(rest)), rest[4:]
	switch {
	case n == -1 && len(data) == 0:
		return mech, nil, false, nil
	case n >= 0 && int64(n) == int64(len(data)):
		return mech, data, true, nil
	}
	return "", nil, false, malformed("SASLInitialResponse has a wrong length inside")
}

// ParseAuth reads an authentication message: its code (AuthOK and so on) and what follows.
func ParseAuth(body []byte) (code uint32, rest []byte, err error) {
	if len(body) < 4 {
		return 0, nil, errors.New("malformed authentication message")
	}
	code, rest = binary.BigEndian.Uint32(body), body[4:]
	switch code {
	case AuthOK, AuthCleartext:
		if len(rest) != 0 {
			return 0, nil, errors.New("authentication message with bytes behind its end")
		}
	case AuthMD5:
		if len(rest) != 4 {
			return 0, nil, errors.New("md5 authentication message with a wrong salt")
		}
	}
	return code, rest, nil
}

// ParseSASLMechanisms reads the list in AuthenticationSASL, which is what ParseAuth gave as the rest.
func ParseSASLMechanisms(rest []byte) ([]string, error) {
	var mechs []string
	for {
		m, after, ok := cutCString(rest)
		if !ok || len(mechs) == maxMechanisms || m == "" && len(after) > 0 {
			return nil, errors.New("malformed list of SASL mechanisms")
		}
		if m == "" {
			return mechs, nil
		}
		mechs, rest = append(mechs, m), after
	}
}

// ParseParameterStatus reads ParameterStatus.
func ParseParameterStatus(body []byte) (name, value string, err error) {
	name, rest, ok := cutCString(body)
	value, rest, ok2 := cutCString(rest)
	if !ok || !ok2 || len(rest) > 0 || name == "" {
		return "", "", errors.New("malformed ParameterStatus")
	}
	return name, value, nil
}

// ParseBackendKeyData reads BackendKeyData. The secret is a part of body.
func ParseBackendKeyData(body []byte) (pid uint32, secret []byte, err error) {
	return keyData(body, func() error { return fmt.Errorf("malformed BackendKeyData of %d bytes", len(body)) })
}

// ParseNegotiateProtocolVersion reads NegotiateProtocolVersion: the newest version that the server speaks, as a whole
// version number, and the protocol options that it does not know.
func ParseNegotiateProtocolVersion(body []byte) (newest uint32, unknown []string, err error) {
	refused := errors.New("malformed NegotiateProtocolVersion")
	if len(body) < 8 {
		return 0, nil, refused
	}
	newest, n, rest := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), body[8:]
	if n > maxUnknownOptions {
		return 0, nil, refused
	}
	for range n {
		name, after, ok := cutCString(rest)
		if !ok {
			return 0, nil, refused
		}
		unknown, rest = append(unknown, name), after
	}
	if len(rest) > 0 {
		return 0, nil, refused
	}
	return newest, unknown, nil
}
