package pgtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Cases are wire scripts of a few lines, many in a file:
//
//	a batch of one statement
//	  P - "select 1 as a"; B - -; E -; S
//	  = 1 2 D("1") C("SELECT 1") Z(I)
//
// A title, then exchanges: the messages of one write, by the letters of the protocol, and behind "=" what must come back. "-" is
// an empty name. After a write it is read until each Q, F and S has had its ReadyForQuery, or until what "@" names has come, in that
// order: letters, or "close". "[session]" behind a title keeps a case, which uses what a session keeps, out of the
// other modes.

// Case is one of them.
type Case struct {
	Title     string
	Session   bool // only where a client has its server for itself
	Exchanges []Exchange
}

// Exchange is one write and what comes back.
type Exchange struct {
	Send   string // as in the file
	Want   string
	parsed []string // lines for appendMessage
	until  []string
}

// letters are the messages of clients; those without a name in clientMessage are raw bytes.
var letters = map[string]string{
	"Q": "Query", "P": "Parse", "B": "Bind", "D": "Describe", "C": "Close", "E": "Execute", "F": "FunctionCall", "S": "Sync", "H": "Flush",
	"d": "CopyData", "c": "CopyDone", "f": "CopyFail", "X": "Terminate", "Raw": "Raw", "BB": "BinaryBind",
}

// short are the names of the server's messages by their letters.
var short = map[string]string{
	"ParseComplete": "1", "BindComplete": "2", "CloseComplete": "3", "RowDescription": "T", "DataRow": "D", "CommandComplete": "C",
	"ReadyForQuery": "Z", "ErrorResponse": "E", "NoticeResponse": "N", "ParameterStatus": "S", "NoData": "n", "ParameterDescription": "t",
	"PortalSuspended": "s", "EmptyQueryResponse": "I", "CopyInResponse": "G", "CopyOutResponse": "H", "CopyDone": "c", "CopyData": "d",
	"FunctionCallResponse": "V", "NotificationResponse": "A", "close": "close",
}

// ReadCases reads a file of cases.
func ReadCases(file string) ([]Case, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []Case
	for i, line := range strings.Split(string(text), "\n") {
		indented := strings.HasPrefix(line, "  ")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case !indented:
			title, session := strings.CutSuffix(line, " [session]")
			list = append(list, Case{Title: title, Session: session})
			continue
		case len(list) == 0:
			return nil, fmt.Errorf("%s:%d: no title", file, i+1)
		}
		c := &list[len(list)-1]
		if want, ok := strings.CutPrefix(line, "= "); ok {
			if len(c.Exchanges) == 0 {
				return nil, fmt.Errorf("%s:%d: an answer to nothing", file, i+1)
			}
			c.Exchanges[len(c.Exchanges)-1].Want = want
			continue
		}
		x, err := parseExchange(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		c.Exchanges = append(c.Exchanges, x)
	}
	return list, nil
}

// WriteCases writes the answers anew; comments stay.
func WriteCases(file string, list []Case) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var b strings.Builder
	c, x := -1, 0
	for line := range strings.Lines(string(text)) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "= ") {
			continue
		}
		b.WriteString(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case line[0] != ' ':
			c, x = c+1, 0
		default:
			b.WriteString("  = " + list[c].Exchanges[x].Want + "\n")
			x++
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// parseExchange reads "P - "select 1"; S @1".
func parseExchange(line string) (Exchange, error) {
	x := Exchange{Send: line}
	ready, until := 0, ""
	for _, part := range splitOutside(line, ';') {
		part = strings.TrimSpace(part)
		if fields := splitOutside(part, '@'); len(fields) == 2 {
			part, until = strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
		}
		if part == "" {
			continue
		}
		letter, rest, _ := strings.Cut(part, " ")
		name, ok := letters[letter]
		if !ok {
			return x, fmt.Errorf("no message %q", letter)
		}
		if letter == "Q" || letter == "S" || letter == "F" {
			ready++
		}
		x.parsed = append(x.parsed, strings.TrimSpace(name+" "+emptyNames(rest)))
	}
	if until != "" {
		x.until = strings.Fields(until)
		return x, nil
	}
	for range ready {
		x.until = append(x.until, "Z")
	}
	return x, nil
}

// emptyNames writes "" for each "-" outside of quotes.
func emptyNames(s string) string {
	parts := splitOutside(s, ' ')
	for i, p := range parts {
		if p == "-" {
			parts[i] = `""`
		}
	}
	return strings.Join(parts, " ")
}

// splitOutside splits at a byte outside of quotes.
func splitOutside(s string, at byte) (parts []string) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == at && !quoted:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}

// Bytes are what the exchange sends.
func (x *Exchange) Bytes() (out []byte, err error) {
	for _, line := range x.parsed {
		if out, err = appendMessage(out, line); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
	}
	return out, nil
}

// Play sends an exchange and gives the answer. write may cut it into pieces.
func (x *Exchange) Play(conn net.Conn, front *pgproto3.Frontend, write func(b []byte) error) (string, error) {
	out, err := x.Bytes()
	if err != nil {
		return "", err
	}
	if err := conn.SetDeadline(time.Now().Add(maxSilence)); err != nil {
		return "", err
	}
	if err := write(out); err != nil {
		return "", err
	}
	var got []string
	for until := x.until; len(until) > 0; {
		msg, err := front.Receive()
		word := ""
		switch {
		case err == nil:
			word = brief(describe(msg))
		case until[0] == "close" && !errors.Is(err, os.ErrDeadlineExceeded):
			word = "close"
		default:
			return strings.Join(got, " "), err
		}
		if word == "" {
			continue
		}
		got = append(got, word)
		if letter, _, _ := strings.Cut(word, "("); letter == until[0] {
			until = until[1:]
		}
	}
	return strings.Join(got, " "), nil
}

// brief writes a line of a script as a word of a case.
func brief(line string) string {
	name, rest, _ := strings.Cut(line, " ")
	if name == "NoticeResponse" { // its text differs between versions
		rest, _, _ = strings.Cut(rest, ` "`)
	}
	if letter, ok := short[name]; ok {
		name = letter
	}
	if rest == "" {
		return name
	}
	if len(rest) > 200 {
		rest = fmt.Sprintf("%d bytes", len(rest))
	}
	return name + "(" + rest + ")"
}
