package feature

// Command is a statement that can be carried out without the server at hand.
type Command struct {
	Use  Uses   // Listen, Unlisten or Deallocate
	Name string // as PostgreSQL folds it; empty for all
}

// maxName is the longest name that PostgreSQL does not cut (NAMEDATALEN).
const maxName = 63

// maxCommands bounds the statements of one request.
const maxCommands = 1000

// Tag is the command's tag in CommandComplete.
func (c Command) Tag() string {
	switch c.Use {
	case Listen:
		return "LISTEN"
	case Unlisten:
		return "UNLISTEN"
	}
	if c.Name == "" {
		return "DEALLOCATE ALL"
	}
	return "DEALLOCATE"
}

// Commands reads a text that has nothing but LISTEN, UNLISTEN and DEALLOCATE in it. ok is false when there is anything else, also
// a name that is too long, or one that is not of ASCII characters: what it means depends on the client's encoding.
func Commands(sql []byte) (list []Command, ok bool) {
	l := lexer{b: sql}
	for {
		for l.space(); l.peek(0) == ';'; l.space() {
			l.i++
		}
		if l.i == len(l.b) {
			return list, len(list) > 0
		}
		c, ok := l.command()
		if !ok || len(list) == maxCommands {
			return nil, false
		}
		list = append(list, c)
		if l.space(); l.i < len(l.b) && l.peek(0) != ';' {
			return nil, false
		}
	}
}

func (l *lexer) command() (c Command, ok bool) {
	switch word := l.word(); {
	case is(word, "listen"):
		c.Use = Listen
	case is(word, "unlisten"):
		c.Use = Unlisten
		if l.space(); l.peek(0) == '*' {
			l.i++
			return c, true
		}
	case is(word, "deallocate"):
		c.Use = Deallocate
		l.space()
		at := l.i
		if is(l.word(), "prepare") {
			if l.space(); l.i == len(l.b) || l.peek(0) == ';' { // a statement of this name
				l.i = at
			}
		} else {
			l.i = at
		}
		at = l.i
		if is(l.word(), "all") {
			return c, true
		}
		l.i = at
	default:
		return c, false
	}
	l.space()
	c.Name, ok = l.name()
	return c, ok
}

// name reads a name as PostgreSQL does.
func (l *lexer) name() (string, bool) {
	var b []byte
	if l.peek(0) != '"' {
		for _, c := range l.word() {
			b = append(b, fold(c))
		}
	} else {
		start := l.i + 1
		l.quoted('"', false)
		text := l.b[start:l.i]
		if len(text) == 0 || text[len(text)-1] != '"' {
			return "", false // without an end
		}
		for i := 0; i < len(text)-1; i++ {
			if b = append(b, text[i]); text[i] == '"' {
				i++
			}
		}
	}
	for _, c := range b {
		if c >= 0x80 || c == 0 {
			return "", false
		}
	}
	return string(b), len(b) > 0 && len(b) <= maxName
}
