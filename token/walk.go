package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions of this file read JSON that scanObject has passed: valid, compact, without double names. They never look
// back at the token, so what was checked is what is used.

// next cuts the first value off in.
func next(in []byte) (value, rest []byte) {
	depth := 0
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case '"':
			for i++; in[i] != '"'; i++ {
				if in[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return in[:i+1], in[i+1:]
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of the container around a number or a literal
				return in[:i], in[i:]
			}
			if depth--; depth == 0 {
				return in[:i+1], in[i+1:]
			}
		case ',':
			if depth == 0 {
				return in[:i], in[i:]
			}
		}
	}
	return in, nil
}

// members goes through an object: decoded name and value.
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := object[1:]; rest[0] != '}'; {
			if rest[0] == ',' {
				rest = rest[1:]
			}
			var name, value []byte
			name, rest = next(rest)
			value, rest = next(rest[1:]) // behind the colon
			if !yield(unquote(name), value) {
				return
			}
		}
	}
}

// elements goes through an array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := array[1:]; rest[0] != ']'; {
			if rest[0] == ',' {
				rest = rest[1:]
			}
			var value []byte
			value, rest = next(rest)
			if !yield(value) {
				return
			}
		}
	}
}

// get finds a member of an object.
func get(object []byte, name string) ([]byte, bool) {
	for n, v := range members(object) {
		if n == name {
			return v, true
		}
	}
	return nil, false
}

// find follows a claim's address: a top-level name, or a JSON Pointer (RFC 6901) when it begins with "/". Pointers go
// through objects only.
func find(claims []byte, address string) ([]byte, bool) {
	if !strings.HasPrefix(address, "/") {
		return get(claims, address)
	}
	value := claims
	for _, name := range strings.Split(address[1:], "/") {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		var ok bool
		if value[0] != '{' {
			return nil, false
		}
		if value, ok = get(value, name); !ok {
			return nil, false
		}
	}
	return value, true
}

// text decodes a JSON string; ok is false for any other value.
func text(value []byte) (s string, ok bool) {
	if value[0] != '"' {
		return "", false
	}
	return unquote(value), true
}

// texts decodes a JSON string or an array of strings; ok is false for anything else.
func texts(value []byte) (list []string, ok bool) {
	if s, ok := text(value); ok {
		return []string{s}, true
	}
	if value[0] != '[' {
		return nil, false
	}
	for e := range elements(value) {
		s, ok := text(e)
		if !ok {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// unquote decodes a JSON string with its quotation marks.
func unquote(quoted []byte) string {
	in := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in)
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' {
			out = append(out, in[i])
			continue
		}
		i++
		switch in[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := rune4(in[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, rune4(in[i+3:]))
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // the quotation mark and both slashes stand for themselves
			out = append(out, in[i])
		}
	}
	return string(out)
}

func rune4(in []byte) rune {
	return unhex(in[0])<<12 | unhex(in[1])<<8 | unhex(in[2])<<4 | unhex(in[3])
}

// fingerprint hashes the claims in a canonical form: members sorted by name, strings decoded, numbers as written, each
// with its length so that no two different values give the same bytes. Left out are the names that differ between two
// tokens of one person (RFC 7519, section 4.1): exp, nbf, iat, jti.
func fingerprint(claims []byte) []byte {
	sum := sha256.Sum256(canonical(nil, claims, "exp", "nbf", "iat", "jti"))
	return sum[:]
}

func canonical(dst, value []byte, without ...string) []byte {
	switch value[0] {
	case '{':
		type member struct {
			name  string
			value []byte
		}
		var ms []member
		for n, v := range members(value) {
			if !slices.Contains(without, n) {
				ms = append(ms, member{n, v})
			}
		}
		slices.SortFunc(ms, func(a, b member) int { return strings.Compare(a.name, b.name) })
		dst = append(dst, '{')
		for _, m := range ms {
			dst = appendCounted(dst, 's', m.name)
			dst = canonical(dst, m.value)
		}
		return append(dst, '}')
	case '[':
		dst = append(dst, '[')
		for e := range elements(value) {
			dst = canonical(dst, e)
		}
		return append(dst, ']')
	case '"':
		return appendCounted(dst, 's', unquote(value))
	default:
		return appendCounted(dst, 'v', string(value))
	}
}

func appendCounted(dst []byte, kind byte, s string) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// quoted shows a string of a stranger: plain ASCII, bounded, without anything that a terminal could act upon.
func quoted(s string) string {
	const maxShown = 200 // a log line is not the place for a long name that a stranger chose
	if len(s) > maxShown {
		return strconv.QuoteToASCII(s[:maxShown]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
