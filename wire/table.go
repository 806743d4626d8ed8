package wire

import "encoding/binary"

// The messages of an answer that the proxy makes itself (protocol, Message Formats).

// Field is a column of an answer.
type Field struct {
	Name string
	Type uint32 // the OID of its type (pg_type.dat)
	Size int16  // in bytes; -1: it varies
}

// AppendRowDescription appends RowDescription. formats are the codes of the columns, as Format takes them.
func AppendRowDescription(dst []byte, fields []Field, formats []uint16) []byte {
	dst, at := begin(dst, MsgRowDescription)
	dst = appendCount(dst, len(fields))
	for i, f := range fields {
		dst = appendCString(dst, f.Name)
		dst = binary.BigEndian.AppendUint32(dst, 0) // of no table
		dst = appendCount(dst, 0)
		dst = binary.BigEndian.AppendUint32(dst, f.Type)
		dst = binary.BigEndian.AppendUint16(dst, uint16(f.Size))
		dst = binary.BigEndian.AppendUint32(dst, 0xffffffff) // no type modifier
		dst = appendCount(dst, int(Format(formats, i)))
	}
	return end(dst, at)
}

// AppendDataRow appends DataRow. A nil value is NULL.
func AppendDataRow(dst []byte, values [][]byte) []byte {
	dst, at := begin(dst, MsgDataRow)
	dst = appendCount(dst, len(values))
	for _, v := range values {
		dst = appendValue(dst, v)
	}
	return end(dst, at)
}

// AppendParameterDescription appends ParameterDescription with the types of a statement's parameters.
func AppendParameterDescription(dst []byte, oids ...uint32) []byte {
	dst, at := begin(dst, MsgParameterDescription)
	dst = appendCount(dst, len(oids))
	for _, oid := range oids {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return end(dst, at)
}

// AppendBare appends a message without a body: ParseComplete, BindComplete, CloseComplete, NoData, EmptyQueryResponse or
// PortalSuspended.
func AppendBare(dst []byte, typ byte) []byte { return append(dst, typ, 0, 0, 0, 4) }
