package admin

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// token is a piece of a command.
type token struct {
	kind   tokenKind
	text   string // of a quoted one: without its quotes
	number int    // of a parameter
}

type tokenKind uint8

const (
	word   tokenKind = iota // letters, digits and underscores; also a number
	quoted                  // in single quotes, where two stand for one
	name                    // in double quotes
	param                   // $1
	sign                    // one other character
)

// is reports whether a token is one sign.
func (t token) is(s string) bool { return t.kind == sign && t.text == s }

// maxParams is how many parameters a command may have: no command has use for more.
const maxParams = 10

// near shows a token in a message. What stands in quotes is not repeated: it may be what a client has put in the wrong place.
func (t token) near() string {
	switch t.kind {
	case quoted:
		return "'…'"
	case name:
		return `"…"`
	case param:
		return "$" + strconv.Itoa(t.number)
	}
	if len(t.text) > 20 {
		return t.text[:20] + "…"
	}
	return t.text
}

// scan takes a command apart. There is one command in a text, and there are no comments: whoever gets into a value does not get out of it.
func scan(sql string) (list []token, err error) {
	if !utf8.ValidString(sql) {
		return nil, syntax("the command is not UTF-8", "Send UTF-8.")
	}
	for sql != "" {
		c := sql[0]
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			sql = sql[1:]
			continue
		case c == ';':
			if rest := strings.Trim(sql, "; \t\n\v\f\r"); rest != "" {
				return nil, syntax("one command at a time", "Send what stands behind the semicolon by itself.")
			}
			return list, nil
		case strings.HasPrefix(sql, "--") || strings.HasPrefix(sql, "/*"):
			return nil, syntax("comments are not taken", "Send the command alone.")
		}
		t, n, err := scanOne(sql)
		if err != nil {
			return nil, err
		}
		list, sql = append(list, t), sql[n:]
	}
	return list, nil
}

// scanOne reads the token at the front, and says how long it is.
func scanOne(sql string) (t token, n int, err error) {
	c := sql[0]
	switch {
	case c == '\'' || c == '"':
		text, n, ok := scanQuoted(sql, c)
		if !ok {
			return t, 0, syntax("a quote is not closed", fmt.Sprintf("Two of %c stand for one in a value.", c))
		}
		if c == '"' {
			return token{kind: name, text: text}, n, nil
		}
		return token{kind: quoted, text: text}, n, nil
	case c == '$':
		n := 1 + length(sql[1:], func(c byte) bool { return c >= '0' && c <= '9' })
		number, err := strconv.Atoi(sql[1:n])
		if err != nil || number < 1 || number > maxParams {
			return t, 0, syntax("a parameter is written $1, $2 and so on", fmt.Sprintf("There are %d at most.", maxParams))
		}
		return token{kind: param, number: number}, n, nil
	case wordly(c):
		n := length(sql, wordly)
		return token{kind: word, text: sql[:n]}, n, nil
	}
	_, n = utf8.DecodeRuneInString(sql)
	return token{kind: sign, text: sql[:n]}, n, nil
}

func scanQuoted(sql string, quote byte) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] != quote:
			b.WriteByte(sql[i])
		case i+1 < len(sql) && sql[i+1] == quote:
			b.WriteByte(quote)
			i++
		default:
			return b.String(), i + 1, true
		}
	}
	return "", 0, false
}

func wordly(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func length(s string, good func(byte) bool) int {
	for i := range len(s) {
		if !good(s[i]) {
			return i
		}
	}
	return len(s)
}
