package feature

import (
	"bytes"
	"strings"
)

// Scan says what the statements of a text do, by the first words of each and by the names of the functions for advisory
// locks. The text may end in the middle. What ordinary statements cost is a look at their first bytes, and a search for
// "advisory_" that runs at the speed of memory.
func Scan(sql []byte) (u Uses) {
	l := lexer{b: sql}
	if len(sql) > 0 {
		switch c := sql[0]; c | 0x20 {
		case 'b', 'i', 'w', 'e': // begin, insert, with, execute, …
		case 's':
			if len(sql) > 2 && sql[2]|0x20 == 't' {
				u = l.statement()
			}
		case 'u':
			if len(sql) > 2 && sql[1]|0x20 == 'n' {
				u = l.statement()
			}
		case 'c':
			if len(sql) > 2 && sql[1]|0x20 == 'r' {
				u = l.statement()
			}
		default:
			u = l.statement()
		}
	}
	if len(sql) >= shortestLock {
		u |= locks(sql)
	}
	if i := bytes.IndexByte(sql, ';'); i >= 0 && i+1 < len(sql) {
		u |= rest(sql)
	}
	return u
}

// First says what the first statement of a text does. It finds no locks.
func First(sql []byte) Uses {
	if len(sql) == 0 {
		return 0
	}
	switch c := sql[0] | 0x20; {
	case c == 's' || c == 'b' || c == 'i' || c == 'w' || c == 'c' || c == 'e':
		return 0 // none of those that are asked for in this way
	}
	l := lexer{b: sql}
	return l.statement()
}

// SettingName gives the name of the setting that SET changes, in lower case; empty when it has none that can be told.
func SettingName(sql []byte) string {
	l := lexer{b: sql}
	l.space()
	if !is(l.word(), "set") {
		return ""
	}
	l.space()
	word := l.word()
	if is(word, "session") {
		l.space()
		word = l.word()
	}
	l.space()
	switch {
	case is(word, "time"):
		if is(l.word(), "zone") {
			return "timezone"
		}
	case is(word, "names"):
		return "client_encoding"
	}
	name := strings.ToLower(string(word))
	for l.peek(0) == '.' {
		l.i++
		name += "." + strings.ToLower(string(l.word()))
		l.space()
	}
	if l.peek(0) == '=' || is(l.word(), "to") {
		return name
	}
	return ""
}

// rest looks at the statements behind the first.
func rest(sql []byte) (u Uses) {
	l := lexer{b: sql}
	for l.skip() {
		u |= l.statement()
	}
	return u
}

// statement reads the first words of a statement.
func (l *lexer) statement() Uses {
	l.space()
	switch word := l.word(); {
	case is(word, "set"):
		return l.set()
	case is(word, "listen"):
		return Listen
	case is(word, "unlisten"):
		return Unlisten
	case is(word, "deallocate"):
		return Deallocate
	case is(word, "prepare"):
		if l.space(); !is(l.word(), "transaction") {
			return Prepare
		}
	case is(word, "declare"):
		return l.declare()
	case is(word, "create"):
		return l.create()
	}
	return 0
}

func (l *lexer) set() Uses {
	l.space()
	at := l.i
	switch word := l.word(); {
	case is(word, "local"), is(word, "transaction"), is(word, "constraints"):
		l.space()
		if c := l.peek(0); c != '=' && c != '.' && c != 0 {
			return 0
		}
	}
	l.i = at
	return Set
}

// declare looks for WITH HOLD in front of FOR.
func (l *lexer) declare() Uses {
	for {
		l.space()
		if l.peek(0) == '"' {
			l.quoted('"', false)
			continue
		}
		word := l.word()
		switch {
		case word == nil || is(word, "for"):
			return 0
		case is(word, "with"):
			if l.space(); is(l.word(), "hold") {
				return Hold
			}
		}
	}
}

// maxCreate is how many words may stand between CREATE and what says that it is temporary: OR REPLACE GLOBAL TEMPORARY,
// TABLE IF NOT EXISTS pg_temp.
const maxCreate = 5

func (l *lexer) create() Uses {
	for range maxCreate {
		l.space()
		word := l.word()
		switch {
		case word == nil:
			return 0
		case is(word, "temp"), is(word, "temporary"), is(word, "pg_temp"):
			if dropped(l.b[l.i:]) {
				return 0
			}
			return Temporary
		}
	}
	return 0
}

// dropped reports whether ON COMMIT DROP stands in a text: then nothing outlives the transaction.
func dropped(sql []byte) bool {
	l := lexer{b: sql}
	var before [2][]byte
	for l.i < len(l.b) && l.b[l.i] != ';' {
		l.space()
		word := l.word()
		if word == nil {
			l.pass()
			continue
		}
		if is(word, "drop") && is(before[1], "commit") && is(before[0], "on") {
			return true
		}
		before[0], before[1] = before[1], word
	}
	return false
}

// shortestLock is the length of "pg_advisory_lock(1)".
const shortestLock = 19

// lockNames are what is searched for: "advisory_" from its first rare letter on.
var lockNames = [...][]byte{[]byte("visory_"), []byte("VISORY_")}

// locks looks for the functions of advisory locks. Names in mixed case are not found.
func locks(sql []byte) (u Uses) {
	for _, name := range lockNames {
		for at := 0; ; {
			i := bytes.Index(sql[at:], name)
			if i < 0 {
				break
			}
			at += i + len(name)
			switch rest := sql[at:]; {
			case begins(rest, "lock"):
				u |= Lock
			case begins(rest, "unlock"):
				u |= Unlock
			}
		}
	}
	return u
}

func begins(b []byte, lower string) bool { return len(b) >= len(lower) && is(b[:len(lower)], lower) }
