package wire

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
)

// codeLen is the length of every SQLSTATE.
const codeLen = 5

// maxErrorField is how much of one field of a server's error we keep. What a server sends before it has proved who it is
// is shown to people (CVE-2024-10977), and all of it is held in memory.
const maxErrorField = 8 << 10

// ErrorFields are the fields of an ErrorResponse or NoticeResponse that we use.
type ErrorFields struct {
	Severity string // never translated when the server sent such a one (field V), else as sent (field S)
	Code     string // "" when the server sent none
	Message  string
	Detail   string
	Hint     string
}

// ParseError reads an ErrorResponse or a NoticeResponse. Fields that are missing stay empty, unknown ones are passed over
// (protocol, Error and Notice Message Fields), and of a field that comes twice the first one counts.
func ParseError(body []byte) (ErrorFields, error) {
	var f ErrorFields
	var localized string
	keep := map[byte]*string{'S': &localized, 'V': &f.Severity, 'C': &f.Code, 'M': &f.Message, 'D': &f.Detail, 'H': &f.Hint}
	for {
		if len(body) == 0 {
			return ErrorFields{}, errors.New("malformed ErrorResponse: no terminator")
		}
		typ := body[0]
		if typ == 0 {
			if len(body) > 1 {
				return ErrorFields{}, errors.New("malformed ErrorResponse: bytes behind the terminator")
			}
			break
		}
		value, rest, ok := cutCString(body[1:])
		if !ok {
			return ErrorFields{}, errors.New("malformed ErrorResponse: field without an end")
		}
		if to := keep[typ]; to != nil {
			*to = clip(value)
			delete(keep, typ)
		}
		body = rest
	}
	if f.Severity == "" {
		f.Severity = localized
	}
	return f, nil
}

// ClaimpoolError turns a server's error into one that we may pass on to a client. A missing or odd SQLSTATE becomes
// XX000 (CVE-2026-6666).
func (f ErrorFields) ClaimpoolError() *claimpool.Error {
	e := &claimpool.Error{Code: claimpool.Code(f.Code), Message: f.Message, Detail: f.Detail, Hint: f.Hint}
	if !isCode(f.Code) {
		e.Code = claimpool.CodeInternalError
	}
	if e.Message == "" {
		e.Message = "the server sent an error without a message"
	}
	return e
}

// isCode reports whether s is written like a SQLSTATE: five digits or upper-case letters.
func isCode(s string) bool {
	return len(s) == codeLen && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// clip cuts s to maxErrorField bytes, between two characters.
func clip(s string) string {
	if len(s) <= maxErrorField {
		return s
	}
	n := maxErrorField
	for n > maxErrorField-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// CommandTag reads CommandComplete.
func CommandTag(body []byte) (string, error) {
	tag, rest, ok := cutCString(body)
	if !ok || len(rest) > 0 {
		return "", errors.New("malformed CommandComplete")
	}
	return tag, nil
}

// ParseFunctionCallResponse reads FunctionCallResponse. A nil value is NULL; otherwise it is a part of body.
func ParseFunctionCallResponse(body []byte) ([]byte, error) {
	if len(body) >= 4 {
		n, value := int32(binary.BigEndian.Uint32(body)), body[4:]
		switch {
		case n == -1 && len(value) == 0:
			return nil, nil
		case n >= 0 && int64(n) == int64(len(value)):
			return value, nil
		}
	}
	return nil, errors.New("malformed FunctionCallResponse")
}

// ParseReadyForQuery reads ReadyForQuery: StatusIdle, StatusInTransaction or StatusFailed, nothing else.
func ParseReadyForQuery(body []byte) (status byte, err error) {
	if len(body) == 1 {
		switch body[0] {
		case StatusIdle, StatusInTransaction, StatusFailed:
			return body[0], nil
		}
	}
	return 0, errors.New("malformed ReadyForQuery")
}
