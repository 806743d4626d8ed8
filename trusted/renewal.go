package trusted

import "github.com/claimpool/claimpool"

// A client hands in a fresh token with a command that looks like that of the extension for direct connections. The proxy
// answers it itself, and PostgreSQL never sees it:
//
//	renewal = "SET" [ "SESSION" ] name ( "=" / "TO" ) "'" 1*( ALPHA / DIGIT / "-" / "_" / "." ) "'" [ ";" ]
//	name    = "jwt" "." "context", both without case, with or without double quotes
//
// White space and comments may stand between the parts, and in front. What begins like it but goes on in another way is refused,
// not passed on: it may hold a token.

// RefuseRenewal is SQL that fails as a renewal inside of a transaction must (25001), and the transaction with it.
var RefuseRenewal = "DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '" + string(errInTransaction.Code) +
	"', MESSAGE = '" + errInTransaction.Message + "', HINT = '" + errInTransaction.Hint + "'; END$$"

var errInTransaction = &claimpool.Error{
	Code: claimpool.CodeActiveTransaction, Message: "SET jwt.context cannot run inside a transaction block",
	Hint: "Send it by itself, between two transactions.",
}

// Renews reports whether SQL is the proxy's to answer, by its beginning: SET [SESSION|LOCAL] jwt.context. maybe says that more
// of it is needed; whole says that there is no more.
func Renews(sql []byte, whole bool) (yes, maybe bool) {
	w := words{b: sql}
	yes = w.renewal()
	if w.ended && !whole {
		return false, true
	}
	return yes, false
}

// RenewalToken reads the token out of a renewal; it is a part of sql.
func RenewalToken(sql []byte) ([]byte, error) {
	w := words{b: sql}
	if !w.renewal() || w.local {
		return nil, errRenewal
	}
	w.space()
	if !w.byte('=') && !w.word("to") {
		return nil, errRenewal
	}
	w.space()
	if !w.byte('\'') {
		return nil, errRenewal
	}
	start := w.i
	for isTokenByte(w.peek(0)) {
		w.i++
	}
	token := sql[start:w.i]
	if !w.byte('\'') || len(token) == 0 {
		return nil, errRenewal
	}
	w.space()
	w.byte(';')
	w.space()
	if w.i != len(sql) || w.open {
		return nil, errRenewal
	}
	return token, nil
}

var errRenewal = &claimpool.Error{
	Code: claimpool.CodeSyntaxError, Message: "SET jwt.context takes one token",
	Hint: "Send it by itself: SET jwt.context = 'TOKEN'.",
}

// isTokenByte reports whether a byte may stand in a JWS in compact form (RFC 7515, section 7.1).
func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// words reads SQL word by word (PostgreSQL, Lexical Structure).
type words struct {
	b     []byte
	i     int
	ended bool // a byte behind the end was asked for
	local bool // SET LOCAL
	open  bool // a comment has no end
}

// renewal reads up to the name of the setting.
func (w *words) renewal() bool {
	for w.space() || w.byte(';') { // empty statements
	}
	if !w.word("set") {
		return false
	}
	w.space()
	if w.local = w.word("local"); w.local || w.word("session") {
		w.space()
	}
	if w.byte('"') {
		if w.text("jwt.context\"") {
			return true
		}
		w.i--
	}
	if !w.name("jwt") {
		return false
	}
	w.space()
	if !w.byte('.') {
		return false
	}
	w.space()
	return w.name("context")
}

func (w *words) peek(k int) byte {
	if w.i+k < len(w.b) {
		return w.b[w.i+k]
	}
	w.ended = true
	return 0
}

func (w *words) byte(c byte) bool {
	if w.peek(0) != c {
		return false
	}
	w.i++
	return true
}

// text passes a text, compared without case.
func (w *words) text(s string) bool {
	for k := range len(s) {
		c := w.peek(k)
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[k] {
			return false
		}
	}
	w.i += len(s)
	return true
}

// word passes a keyword or a name without quotes.
func (w *words) word(s string) bool {
	at := w.i
	if !w.text(s) {
		return false
	}
	if c := w.peek(0); isTokenByte(c) && c != '-' && c != '.' || c == '$' || c >= 0x80 {
		w.i = at
		return false
	}
	return true
}

// name passes a name with or without quotes.
func (w *words) name(s string) bool {
	if w.byte('"') {
		return w.text(s + "\"")
	}
	return w.word(s)
}

// space passes white space and comments, and reports whether there was any.
func (w *words) space() bool {
	at := w.i
	for {
		switch c := w.peek(0); {
		case c == ' ' || c >= '\t' && c <= '\r':
			w.i++
		case c == '-' && w.peek(1) == '-':
			for c := w.peek(0); c != 0 && c != '\n' && c != '\r'; c = w.peek(0) {
				w.i++
			}
		case c == '/' && w.peek(1) == '*':
			w.comment()
		default:
			return w.i > at
		}
	}
}

// comment passes a comment in C's style, which may hold others.
func (w *words) comment() {
	for depth := 0; ; {
		switch c := w.peek(0); {
		case c == 0:
			w.open = true
			return
		case c == '/' && w.peek(1) == '*':
			depth++
			w.i += 2
		case c == '*' && w.peek(1) == '/':
			w.i += 2
			if depth--; depth == 0 {
				return
			}
		default:
			w.i++
		}
	}
}
