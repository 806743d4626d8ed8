package wire

import (
	"encoding/binary"

	"github.com/claimpool/claimpool"
)

// The messages that we send as a server.

// appendAuth begins an authentication message.
func appendAuth(dst []byte, code uint32) ([]byte, int) {
	dst, at := begin(dst, MsgAuthentication)
	return binary.BigEndian.AppendUint32(dst, code), at
}

// AppendAuthOK appends AuthenticationOk: the client is who it says.
func AppendAuthOK(dst []byte) []byte {
	dst, at := appendAuth(dst, AuthOK)
	return end(dst, at)
}

// AppendAuthCleartext appends AuthenticationCleartextPassword.
func AppendAuthCleartext(dst []byte) []byte {
	dst, at := appendAuth(dst, AuthCleartext)
	return end(dst, at)
}

// AppendAuthMD5 appends AuthenticationMD5Password.
func AppendAuthMD5(dst []byte, salt [4]byte) []byte {
	dst, at := appendAuth(dst, AuthMD5)
	return end(append(dst, salt[:]...), at)
}

// AppendAuthSASL appends AuthenticationSASL with the mechanisms that we offer, the preferred one first.
func AppendAuthSASL(dst []byte, mechs ...string) []byte {
	dst, at := appendAuth(dst, AuthSASL)
	for _, m := range mechs {
		dst = appendCString(dst, m)
	}
	return end(append(dst, 0), at)
}

// AppendAuthSASLContinue appends AuthenticationSASLContinue.
func AppendAuthSASLContinue(dst, data []byte) []byte {
	dst, at := appendAuth(dst, AuthSASLContinue)
	return end(append(dst, data...), at)
}

// AppendAuthSASLFinal appends AuthenticationSASLFinal.
func AppendAuthSASLFinal(dst, data []byte) []byte {
	dst, at := appendAuth(dst, AuthSASLFinal)
	return end(append(dst, data...), at)
}

// AppendParameterStatus appends ParameterStatus.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	dst, at := begin(dst, MsgParameterStatus)
	dst = appendCString(dst, name)
	return end(appendCString(dst, value), at)
}

// AppendBackendKeyData appends BackendKeyData. The secret has 4 bytes in protocol 3.0, and 4 to 256 in protocol 3.2.
func AppendBackendKeyData(dst []byte, pid uint32, secret []byte) []byte {
	dst, at := begin(dst, MsgBackendKeyData)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return end(append(dst, secret...), at)
}

// AppendReadyForQuery appends ReadyForQuery with the state of the transaction (StatusIdle and so on).
func AppendReadyForQuery(dst []byte, status byte) []byte {
	return append(dst, MsgReadyForQuery, 0, 0, 0, 5, status)
}

// AppendNegotiateProtocolVersion appends NegotiateProtocolVersion. newest is the newest version that we speak, as a whole
// version number (Version32): the documentation says "minor", PostgreSQL sends and libpq reads the whole number. unknown
// lists the protocol options (_pq_.…) that we do not know.
func AppendNegotiateProtocolVersion(dst []byte, newest uint32, unknown []string) []byte {
	dst, at := begin(dst, MsgNegotiateProtocolVersion)
	dst = binary.BigEndian.AppendUint32(dst, newest)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = appendCString(dst, name)
	}
	return end(dst, at)
}

// AppendCommandComplete appends CommandComplete.
func AppendCommandComplete(dst []byte, tag string) []byte {
	dst, at := begin(dst, MsgCommandComplete)
	return end(appendCString(dst, tag), at)
}

// AppendError appends ErrorResponse with what a client may know of e. severity is "ERROR", "FATAL" or "PANIC"; after
// "FATAL" the connection must be closed.
func AppendError(dst []byte, severity string, e *claimpool.Error) []byte {
	return appendReport(dst, MsgErrorResponse, severity, e)
}

// AppendNotice appends NoticeResponse with severity "NOTICE".
func AppendNotice(dst []byte, e *claimpool.Error) []byte {
	return appendReport(dst, MsgNoticeResponse, "NOTICE", e)
}

// AppendWarning appends NoticeResponse with severity "WARNING".
func AppendWarning(dst []byte, e *claimpool.Error) []byte {
	return appendReport(dst, MsgNoticeResponse, "WARNING", e)
}

// appendReport appends an error or a notice (protocol, Error and Notice Message Fields). The fields S, C and M are always
// there, because clients rely on them; the cause never is.
func appendReport(dst []byte, typ byte, severity string, e *claimpool.Error) []byte {
	code, message, detail, hint := claimpool.CodeInternalError, "internal error", "", ""
	if e != nil {
		code, message, detail, hint = e.Code, e.Message, e.Detail, e.Hint
	}
	if len(code) != codeLen {
		code = claimpool.CodeInternalError
	}
	dst, at := begin(dst, typ)
	dst = appendCString(append(dst, 'S'), severity)
	dst = appendCString(append(dst, 'V'), severity)
	dst = appendCString(append(dst, 'C'), string(code))
	dst = appendCString(append(dst, 'M'), message)
	if detail != "" {
		dst = appendCString(append(dst, 'D'), detail)
	}
	if hint != "" {
		dst = appendCString(append(dst, 'H'), hint)
	}
	return end(append(dst, 0), at)
}
