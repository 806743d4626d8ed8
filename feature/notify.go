package feature

import "bytes"

// notifyNames are what is searched for: "notify" from its second letter on.
var notifyNames = [...][]byte{[]byte("otify"), []byte("OTIFY")}

// Sent gives the channels on which a text sends notifications, as far as it shows them: by NOTIFY, and by pg_notify() with a text as
// its first argument. Names in mixed case, computed ones, and names that are not of ASCII are not found.
func Sent(sql []byte) (channels []string) {
	if !bytes.Contains(sql, notifyNames[0]) && !bytes.Contains(sql, notifyNames[1]) {
		return nil
	}
	l := lexer{b: sql}
	first := true // of a statement
	for l.space(); l.i < len(l.b); l.space() {
		at := l.i
		word := l.word()
		switch {
		case first && is(word, "notify"):
			l.space()
			if name, ok := l.name(); ok {
				channels = append(channels, name)
			}
		case is(word, "pg_notify"):
			if name, ok := l.argument(); ok {
				channels = append(channels, name)
			}
		default:
			l.i = at
			l.pass()
		}
		first = l.i == at+1 && l.b[at] == ';'
	}
	return channels
}

// argument reads a text in quotes behind an opening parenthesis.
func (l *lexer) argument() (string, bool) {
	if l.space(); l.peek(0) != '(' {
		return "", false
	}
	l.i++
	if l.space(); l.peek(0) != '\'' {
		return "", false
	}
	start := l.i + 1
	l.quoted('\'', false)
	text := l.b[start:l.i]
	if len(text) == 0 || text[len(text)-1] != '\'' {
		return "", false // without an end
	}
	text = bytes.ReplaceAll(text[:len(text)-1], []byte("''"), []byte("'"))
	l.space()
	return string(text), len(text) > 0 && l.peek(0) == ','
}
