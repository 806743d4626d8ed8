package token

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

const (
	// maxDepth bounds the recursion of the scanner, and of every JSON reader behind us: a token of 64 KB can hold 30,000
	// opening brackets.
	maxDepth = 16

	// maxNumber is the longest number in characters; maxExponent is the largest exponent of ten. "1e99999" is seven bytes
	// here and a hundred thousand digits in PostgreSQL's numeric.
	maxNumber   = 1000
	maxExponent = 308
)

// scanObject reads a JSON object (RFC 8259) and returns it without the white space between its values. Names, strings
// and numbers are copied byte for byte: a number never becomes a float, an escape stays an escape.
//
// It is stricter than the RFC where two readers could understand two things, or where PostgreSQL's jsonb could not
// store it: a name that stands twice in one object (also when written with escapes), invalid UTF-8, a lone surrogate,
// the character U+0000, more than maxDepth levels, numbers beyond the limits above. what names the input in the error.
func scanObject(what string, in []byte) ([]byte, *Refusal) {
	s := &scanner{in: in, out: make([]byte, 0, len(in))}
	s.space()
	if s.peek() != '{' {
		s.fail("is not a JSON object")
	} else {
		s.object(1)
	}
	s.space()
	if s.err == "" && s.pos < len(s.in) {
		s.fail("goes on after the JSON object")
	}
	if s.err != "" {
		return nil, &Refusal{Reason: Malformed, Text: fmt.Sprintf("the %s %s (byte %d)", what, s.err, s.pos)}
	}
	return s.out, nil
}

// scanner copies in to out while it reads. After a failure it stands still: every method returns at once.
type scanner struct {
	in, out []byte
	pos     int
	err     string // what is wrong, as the end of a sentence; empty while all is well
}

func (s *scanner) fail(text string) {
	if s.err == "" {
		s.err = text
	}
}

// peek returns the next byte, or 0 (which no JSON has outside of a string, nor inside) at the end or after a failure.
func (s *scanner) peek() byte {
	if s.err != "" || s.pos >= len(s.in) {
		return 0
	}
	return s.in[s.pos]
}

// take copies the next byte.
func (s *scanner) take() {
	s.out = append(s.out, s.in[s.pos])
	s.pos++
}

// expect takes the given byte or fails.
func (s *scanner) expect(c byte, text string) {
	if s.peek() != c {
		s.fail(text)
		return
	}
	s.take()
}

func (s *scanner) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// value = false / null / true / object / array / number / string
func (s *scanner) value(depth int) {
	switch c := s.peek(); {
	case c == '{':
		s.object(depth + 1)
	case c == '[':
		s.array(depth + 1)
	case c == '"':
		s.str()
	case c == '-' || isDigit(c):
		s.number()
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	default:
		s.fail("is not valid JSON")
	}
}

// object = begin-object [ member *( value-separator member ) ] end-object
func (s *scanner) object(depth int) {
	if depth > maxDepth {
		s.fail(fmt.Sprintf("is nested deeper than %d levels", maxDepth))
		return
	}
	s.take()
	s.space()
	if s.peek() == '}' {
		s.take()
		return
	}
	seen := make(map[string]struct{})
	for {
		s.space()
		start := len(s.out)
		if s.peek() != '"' {
			s.fail("is not valid JSON: a name was expected")
			return
		}
		s.str()
		if s.err != "" {
			return
		}
		name := unquote(s.out[start:])
		if _, twice := seen[name]; twice {
			s.fail("has the same name twice in one object")
			return
		}
		seen[name] = struct{}{}
		s.space()
		s.expect(':', "is not valid JSON: a colon was expected")
		s.space()
		s.value(depth)
		s.space()
		if s.peek() != ',' {
			s.expect('}', "is not valid JSON: a comma or a closing brace was expected")
			return
		}
		s.take()
	}
}

// array = begin-array [ value *( value-separator value ) ] end-array
func (s *scanner) array(depth int) {
	if depth > maxDepth {
		s.fail(fmt.Sprintf("is nested deeper than %d levels", maxDepth))
		return
	}
	s.take()
	s.space()
	if s.peek() == ']' {
		s.take()
		return
	}
	for {
		s.space()
		s.value(depth)
		s.space()
		if s.peek() != ',' {
			s.expect(']', "is not valid JSON: a comma or a closing bracket was expected")
			return
		}
		s.take()
	}
}

func (s *scanner) literal(word string) {
	if !bytes.HasPrefix(s.in[s.pos:], []byte(word)) {
		s.fail("is not valid JSON")
		return
	}
	s.out = append(s.out, word...)
	s.pos += len(word)
}

// number = [ minus ] int [ frac ] [ exp ]
func (s *scanner) number() {
	start := s.pos
	if s.peek() == '-' {
		s.take()
	}
	if s.peek() == '0' {
		s.take()
	} else {
		s.digits()
	}
	if s.peek() == '.' {
		s.take()
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.take()
		if c := s.peek(); c == '+' || c == '-' {
			s.take()
		}
		from := s.pos
		s.digits()
		exponent := 0
		for _, d := range s.in[from:s.pos] {
			exponent = min(exponent*10+int(d-'0'), maxExponent+1)
		}
		if exponent > maxExponent {
			s.fail(fmt.Sprintf("has a number with an exponent beyond %d", maxExponent))
		}
	}
	if s.pos-start > maxNumber {
		s.fail(fmt.Sprintf("has a number longer than %d characters", maxNumber))
	}
}

func (s *scanner) digits() {
	if !isDigit(s.peek()) {
		s.fail("is not valid JSON: a digit was expected")
		return
	}
	for isDigit(s.peek()) {
		s.take()
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// string = quotation-mark *char quotation-mark
func (s *scanner) str() {
	s.take()
	for s.err == "" {
		if s.pos >= len(s.in) {
			s.fail("ends inside a string")
			return
		}
		switch c := s.in[s.pos]; {
		case c == '"':
			s.take()
			return
		case c == '\\':
			s.escape()
		case c < 0x20:
			s.fail("has a control character inside a string")
		case c < utf8.RuneSelf:
			s.take()
		default:
			r, size := utf8.DecodeRune(s.in[s.pos:])
			if r == utf8.RuneError && size == 1 {
				s.fail("is not valid UTF-8")
				return
			}
			s.out = append(s.out, s.in[s.pos:s.pos+size]...)
			s.pos += size
		}
	}
}

// escape = "\" followed by one of "\/bfnrt, or by u and four hex digits; a surrogate must come as a pair.
func (s *scanner) escape() {
	s.take()
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.take()
	case 'u':
		s.take()
		switch r := s.hex4(); {
		case s.err != "":
		case r == 0:
			s.fail("has the character U+0000, which PostgreSQL cannot store")
		case 0xdc00 <= r && r <= 0xdfff:
			s.fail("has half of a surrogate pair")
		case 0xd800 <= r && r <= 0xdbff:
			s.expect('\\', "has half of a surrogate pair")
			s.expect('u', "has half of a surrogate pair")
			if low := s.hex4(); s.err == "" && (low < 0xdc00 || low > 0xdfff) {
				s.fail("has half of a surrogate pair")
			}
		}
	default:
		s.fail("has an unknown escape in a string")
	}
}

func (s *scanner) hex4() rune {
	var r rune
	for range 4 {
		c := s.peek()
		v := unhex(c)
		if v < 0 {
			s.fail("has an unknown escape in a string")
			return 0
		}
		r = r<<4 | v
		s.take()
	}
	return r
}

func unhex(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
