package admin

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// kind is the type of a column.
type kind uint8

// The kinds, and what their values are in Go. nil is NULL.
const (
	text   kind = iota // string
	number             // int64
	small              // int64, as int4
	flag               // bool
	moment             // time.Time
)

// oids are the types as PostgreSQL knows them (pg_type.dat), with their sizes.
var oids = map[kind]wire.Field{
	text: {Type: 25, Size: -1}, number: {Type: 20, Size: 8}, small: {Type: 23, Size: 4}, flag: {Type: 16, Size: 1}, moment: {Type: 1184, Size: 8},
}

// column is a column of an answer.
type column struct {
	name string
	kind kind
}

// columns makes columns of "name kind" in their order; without a kind it is text.
func columns(list ...string) (all []column) {
	kinds := map[string]kind{"": text, "number": number, "small": small, "flag": flag, "moment": moment}
	for _, c := range list {
		name, k, _ := strings.Cut(c, " ")
		all = append(all, column{name, kinds[k]})
	}
	return all
}

func fields(list []column) (all []wire.Field) {
	for _, c := range list {
		f := oids[c.kind]
		f.Name = c.name
		all = append(all, f)
	}
	return all
}

// encode writes a row as the client wants it.
func encode(list []column, row []any, formats []uint16) [][]byte {
	values := make([][]byte, len(list))
	for i, v := range row {
		if wire.Binary(formats, i) {
			values[i] = binaryOf(list[i].kind, v)
		} else {
			values[i] = textOf(v)
		}
	}
	return values
}

func textOf(v any) []byte {
	switch v := v.(type) {
	case string:
		return append([]byte{}, printable(v)...)
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case bool:
		if v {
			return []byte("t")
		}
		return []byte("f")
	case time.Time:
		return v.UTC().AppendFormat(nil, "2006-01-02 15:04:05.999999+00")
	}
	return nil
}

// epoch is where timestamps of PostgreSQL begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func binaryOf(k kind, v any) []byte {
	switch v := v.(type) {
	case int64:
		if k == small {
			return binary.BigEndian.AppendUint32(nil, uint32(v))
		}
		return binary.BigEndian.AppendUint64(nil, uint64(v))
	case bool:
		if v {
			return []byte{1}
		}
		return []byte{0}
	case time.Time:
		return binary.BigEndian.AppendUint64(nil, uint64(v.UnixMicro()-epoch.UnixMicro()))
	}
	return textOf(v)
}

// printable keeps what strangers have chosen (names of users, databases, subjects) from steering the terminal of whoever reads it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if claimpool.Steers(r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
