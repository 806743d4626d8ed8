package wire

import "encoding/binary"

// The messages of the extended protocol, for the few clients that the proxy answers itself. Those of others pass by their header.

// Parse is the message that prepares a statement.
type Parse struct {
	Name, SQL string
	Types     []uint32 // of the first parameters; 0: the client does not say
}

// Bind is the message that makes a portal of a statement.
type Bind struct {
	Portal, Statement string
	Arguments         [][]byte // in their order; nil is NULL
	Formats           []uint16 // of the arguments, see Format
	Results           []uint16 // of the columns, see Format
}

// Format gives the code of the value number i (protocol, Bind): no codes mean text for all, one counts for all. 0 is text, 1 binary.
func Format(codes []uint16, i int) uint16 {
	switch {
	case len(codes) == 0:
		return formatText
	case len(codes) == 1:
		return codes[0]
	case i < len(codes):
		return codes[i]
	}
	return formatText
}

// Binary reports whether value number i is in binary format.
func Binary(codes []uint16, i int) bool { return Format(codes, i) == formatBinary }

// ParseQuery reads a simple Query.
func ParseQuery(body []byte) (sql string, err error) {
	sql, rest, ok := cutCString(body)
	if !ok || len(rest) > 0 {
		return "", malformed("Query is not one string")
	}
	return sql, nil
}

// ParseParse reads a Parse.
func ParseParse(body []byte) (p Parse, err error) {
	r := reader{b: body}
	p.Name, p.SQL = r.text(), r.text()
	for n := r.count(); n > 0 && !r.bad; n-- { // what was only announced costs nothing
		p.Types = append(p.Types, r.long())
	}
	return p, r.over("Parse")
}

// ParseBind reads a Bind.
func ParseBind(body []byte) (b Bind, err error) {
	r := reader{b: body}
	b.Portal, b.Statement = r.text(), r.text()
	b.Formats = r.codes()
	for n := r.count(); n > 0 && !r.bad; n-- {
		b.Arguments = append(b.Arguments, r.value())
	}
	b.Results = r.codes()
	if n := len(b.Formats); n > 1 && n != len(b.Arguments) {
		r.bad = true
	}
	return b, r.over("Bind")
}

// ParseTarget reads a Describe or a Close: of which kind, KindPortal or KindStatement, and its name.
func ParseTarget(body []byte) (kind byte, name string, err error) {
	r := reader{b: body}
	if kind = r.byte(); kind != KindPortal && kind != KindStatement {
		r.bad = true
	}
	name = r.text()
	return kind, name, r.over("Describe or Close")
}

// ParseExecute reads an Execute. most is 0 for all rows.
func ParseExecute(body []byte) (portal string, most int, err error) {
	r := reader{b: body}
	portal = r.text()
	if n := int32(r.long()); n > 0 {
		most = int(n)
	}
	return portal, most, r.over("Execute")
}

// reader reads the parts of a body. What does not fit sets bad, and everything behind it is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) count() int {
	if b := r.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) long() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) text() string {
	if r.bad {
		return ""
	}
	s, rest, ok := cutCString(r.b)
	if !ok {
		r.bad = true
		return ""
	}
	r.b = rest
	return s
}

func (r *reader) value() []byte {
	n := int32(r.long())
	switch {
	case r.bad || n == -1:
		return nil
	case n < 0:
		r.bad = true
		return nil
	case n == 0:
		return []byte{}
	}
	return r.take(int(n))
}

func (r *reader) codes() (list []uint16) {
	for range r.count() {
		c := uint16(r.count())
		if c > formatBinary {
			r.bad = true
		}
		if r.bad {
			return nil
		}
		list = append(list, c)
	}
	return list
}

// over is the end: the body must have been filled exactly.
func (r *reader) over(what string) error {
	if r.bad || len(r.b) > 0 {
		return malformed(what + " does not fill its body")
	}
	return nil
}
