package claimpool

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Steers reports whether a terminal would do something on a character that it should show: control characters, and those that turn the
// direction of writing around. Names that strangers have chosen may hold them.
func Steers(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Inert gives the same JSON as a line, with \u escapes (RFC 8259, section 7) for what would steer the terminal of whoever reads it; the
// escapes of encoding/json and log/slog end at U+001F. line is not changed.
func Inert(line []byte) []byte {
	at := len(line)
	for i, c := range line {
		if c >= 0x7f {
			at = i
			break
		}
	}
	if at == len(line) {
		return line
	}
	var out []byte // nil while nothing has changed
	for i := at; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		switch {
		case r > ' ' && Steers(r):
			if out == nil {
				out = append(make([]byte, 0, len(line)+len(line)/4), line[:i]...)
			}
			out = fmt.Appendf(out, `\u%04x`, r)
		case out != nil:
			out = append(out, line[i:i+n]...)
		}
		i += n
	}
	if out == nil {
		return line
	}
	return out
}

// jwt is what looks like a token in compact form (RFC 7515, section 7.1; RFC 7516, section 7.1): its first part is JSON in base64url.
var jwt = regexp.MustCompile(`eyJ[\w-]+(\.[\w-]*)+`)

// WithoutTokens takes tokens out of a text for people: somebody may have sent one in the wrong place, such as the user name, and it may still
// be good.
func WithoutTokens(text string) string {
	if !strings.Contains(text, "eyJ") {
		return text
	}
	return jwt.ReplaceAllString(text, Secret(nil).String())
}
