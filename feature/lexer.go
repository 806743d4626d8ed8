package feature

// lexer reads SQL (PostgreSQL, Lexical Structure).
type lexer struct {
	b []byte
	i int
}

func (l *lexer) peek(k int) byte {
	if l.i+k < len(l.b) {
		return l.b[l.i+k]
	}
	return 0
}

// is compares a word with a keyword, without case.
func is(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if fold(c) != lower[i] {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func startsName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func inName(c byte) bool { return startsName(c) || c >= '0' && c <= '9' || c == '$' }

// word passes a keyword or a name without quotes; nil when there is none.
func (l *lexer) word() []byte {
	start := l.i
	if !startsName(l.peek(0)) {
		return nil
	}
	for l.i < len(l.b) && inName(l.b[l.i]) {
		l.i++
	}
	return l.b[start:l.i]
}

// space passes white space and comments.
func (l *lexer) space() {
	for {
		switch c := l.peek(0); {
		case c == ' ' || c >= '\t' && c <= '\r':
			l.i++
		case c == '-' && l.peek(1) == '-':
			for l.i < len(l.b) && l.b[l.i] != '\n' && l.b[l.i] != '\r' {
				l.i++
			}
		case c == '/' && l.peek(1) == '*':
			l.comment()
		default:
			return
		}
	}
}

// comment passes a comment in C's style, which may hold others.
func (l *lexer) comment() {
	for depth := 0; l.i < len(l.b); {
		switch c := l.b[l.i]; {
		case c == '/' && l.peek(1) == '*':
			depth++
			l.i += 2
		case c == '*' && l.peek(1) == '/':
			l.i += 2
			if depth--; depth == 0 {
				return
			}
		default:
			l.i++
		}
	}
}

// quoted passes a text in quotes; two of them stand for one inside.
func (l *lexer) quoted(q byte, escapes bool) {
	defer func() { l.i = min(l.i, len(l.b)) }()
	for l.i++; l.i < len(l.b); l.i++ {
		switch c := l.b[l.i]; {
		case c == '\\' && escapes:
			l.i++
		case c == q && l.peek(1) == q:
			l.i++
		case c == q:
			l.i++
			return
		}
	}
}

// dollar passes a text in dollar quotes, or the dollar alone.
func (l *lexer) dollar() {
	end := l.i + 1
	for end < len(l.b) && inName(l.b[end]) && l.b[end] != '$' {
		end++
	}
	if end == len(l.b) || l.b[end] != '$' {
		l.i++
		return
	}
	tag := string(l.b[l.i : end+1])
	for l.i = end + 1; l.i < len(l.b); l.i++ {
		if len(l.b)-l.i >= len(tag) && string(l.b[l.i:l.i+len(tag)]) == tag {
			l.i += len(tag)
			return
		}
	}
}

// pass passes one thing of any kind.
func (l *lexer) pass() {
	switch c := l.peek(0); {
	case l.i >= len(l.b):
	case c == '\'' || c == '"':
		l.quoted(c, false)
	case c == '$':
		l.dollar()
	case startsName(c):
		if word := l.word(); is(word, "e") && l.peek(0) == '\'' {
			l.quoted('\'', true)
		}
	default:
		l.i++
	}
}

// skip goes behind the next semicolon outside of texts and comments, and reports whether anything comes then.
func (l *lexer) skip() bool {
	for l.i < len(l.b) {
		l.space()
		if l.peek(0) == ';' {
			l.i++
			l.space()
			return l.i < len(l.b)
		}
		l.pass()
	}
	return false
}
