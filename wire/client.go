package wire

import "encoding/binary"

// The messages that we send as a client.

// AppendStartup appends a StartupMessage.
func AppendStartup(dst []byte, version uint32, params [][2]string) []byte {
	dst, at := beginUntyped(dst)
	dst = binary.BigEndian.AppendUint32(dst, version)
	for _, p := range params {
		if p[0] == "" || p[0][0] == 0 {
			continue // an empty name would end the list: what follows it would be lost
		}
		dst = appendCString(dst, p[0])
		dst = appendCString(dst, p[1])
	}
	return end(append(dst, 0), at)
}

// AppendSSLRequest appends SSLRequest.
func AppendSSLRequest(dst []byte) []byte {
	dst, at := beginUntyped(dst)
	return end(binary.BigEndian.AppendUint32(dst, SSLRequestCode), at)
}

// AppendCancelRequest appends CancelRequest.
func AppendCancelRequest(dst []byte, pid uint32, secret []byte) []byte {
	dst, at := beginUntyped(dst)
	dst = binary.BigEndian.AppendUint32(dst, CancelRequestCode)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return end(append(dst, secret...), at)
}

// AppendPassword appends PasswordMessage.
func AppendPassword(dst, secret []byte) []byte {
	dst, at := begin(dst, MsgPassword)
	for _, c := range secret {
		if c == 0 {
			break // a string ends at its first NUL byte
		}
		dst = append(dst, c)
	}
	return end(append(dst, 0), at)
}

// AppendSASLInitial appends SASLInitialResponse.
func AppendSASLInitial(dst []byte, mech string, data []byte) []byte {
	dst, at := begin(dst, MsgPassword)
	dst = appendCString(dst, mech)
	return end(appendValue(dst, data), at)
}

// AppendSASLResponse appends SASLResponse.
func AppendSASLResponse(dst, data []byte) []byte {
	dst, at := begin(dst, MsgPassword)
	return end(append(dst, data...), at)
}

// AppendQuery appends a simple Query.
func AppendQuery(dst []byte, sql string) []byte {
	dst, at := begin(dst, MsgQuery)
	return end(appendCString(dst, sql), at)
}

// AppendFunctionCall appends FunctionCall, the fastpath: a function by its OID, arguments and result in text format. A
// nil argument is NULL.
func AppendFunctionCall(dst []byte, oid uint32, args ...[]byte) []byte {
	return appendCall(dst, oid, formatText, args)
}

// AppendBinaryCall is AppendFunctionCall with arguments and result in binary format: what a bytea holds travels as it is.
func AppendBinaryCall(dst []byte, oid uint32, args ...[]byte) []byte {
	return appendCall(dst, oid, formatBinary, args)
}

// The format codes of arguments and results.
const (
	formatText   = 0
	formatBinary = 1
)

func appendCall(dst []byte, oid uint32, format int, args [][]byte) []byte {
	dst, at := begin(dst, MsgFunctionCall)
	dst = binary.BigEndian.AppendUint32(dst, oid)
	if format == formatText {
		dst = appendCount(dst, 0) // no format codes: all arguments are text
	} else {
		dst = appendCount(dst, 1) // one code for all arguments
		dst = appendCount(dst, format)
	}
	dst = appendCount(dst, len(args))
	for _, a := range args {
		dst = appendValue(dst, a)
	}
	return end(appendCount(dst, format), at)
}

// AppendParse appends Parse. oids are the types of the first parameters; 0 leaves a type to the server.
func AppendParse(dst []byte, name, sql string, oids ...uint32) []byte {
	dst, at := begin(dst, MsgParse)
	dst = appendCString(dst, name)
	dst = appendCString(dst, sql)
	dst = appendCount(dst, len(oids))
	for _, oid := range oids {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return end(dst, at)
}

// AppendBind appends Bind, with arguments and results in text format. A nil argument is NULL.
func AppendBind(dst []byte, portal, statement string, args [][]byte) []byte {
	dst, at := begin(dst, MsgBind)
	dst = appendCString(dst, portal)
	dst = appendCString(dst, statement)
	dst = appendCount(dst, 0)
	dst = appendCount(dst, len(args))
	for _, a := range args {
		dst = appendValue(dst, a)
	}
	return end(appendCount(dst, 0), at)
}

// AppendDescribe appends Describe for a KindPortal or KindStatement.
func AppendDescribe(dst []byte, kind byte, name string) []byte {
	dst, at := begin(dst, MsgDescribe)
	return end(appendCString(append(dst, kind), name), at)
}

// AppendExecute appends Execute. maxRows is 0 for all rows.
func AppendExecute(dst []byte, portal string, maxRows uint32) []byte {
	dst, at := begin(dst, MsgExecute)
	dst = appendCString(dst, portal)
	return end(binary.BigEndian.AppendUint32(dst, maxRows), at)
}

// AppendClose appends Close for a KindPortal or KindStatement.
func AppendClose(dst []byte, kind byte, name string) []byte {
	dst, at := begin(dst, MsgClose)
	return end(appendCString(append(dst, kind), name), at)
}

// AppendSync appends Sync.
func AppendSync(dst []byte) []byte { return append(dst, MsgSync, 0, 0, 0, 4) }

// AppendFlush appends Flush.
func AppendFlush(dst []byte) []byte { return append(dst, MsgFlush, 0, 0, 0, 4) }

// AppendTerminate appends Terminate.
func AppendTerminate(dst []byte) []byte { return append(dst, MsgTerminate, 0, 0, 0, 4) }

// AppendCopyData appends CopyData.
func AppendCopyData(dst, data []byte) []byte {
	dst, at := begin(dst, MsgCopyData)
	return end(append(dst, data...), at)
}

// AppendCopyDone appends CopyDone.
func AppendCopyDone(dst []byte) []byte { return append(dst, MsgCopyDone, 0, 0, 0, 4) }

// AppendCopyFail appends CopyFail.
func AppendCopyFail(dst []byte, reason string) []byte {
	dst, at := begin(dst, MsgCopyFail)
	return end(appendCString(dst, reason), at)
}
