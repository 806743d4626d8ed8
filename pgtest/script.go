package pgtest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Wire scripts say, message by message, what a client sends and what it must get:
//
//	# a comment
//	> Query "select 1 as a"
//	until ReadyForQuery
//	< RowDescription a/23
//	< DataRow "1"
//	< CommandComplete "SELECT 1"
//	< ReadyForQuery I
//
// All messages in front of "until" are sent in one write. Then messages are read until the named ones have come, in this
// order; "until close" reads until the server hangs up. The lines behind are what must have been read; -update writes
// them anew from what PostgreSQL itself answers.

var update = flag.Bool("update", false, "rewrite the wire scripts from PostgreSQL's own answers")

// maxSilence is how long a script waits for a message that does not come.
const maxSilence = time.Minute

// exchange is one block of a script.
type exchange struct {
	comment []string // lines in front, as they are
	send    []string
	until   []string
	want    []string
	line    int // of "until"
}

// parseScript reads a script.
func parseScript(text string) ([]exchange, error) {
	var list []exchange
	x := exchange{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t")
		if x.until != nil && !strings.HasPrefix(line, "< ") {
			list, x = append(list, x), exchange{}
		}
		switch {
		case strings.HasPrefix(line, "> "):
			x.send = append(x.send, line[2:])
		case strings.HasPrefix(line, "< ") && x.until != nil:
			x.want = append(x.want, line[2:])
		case strings.HasPrefix(line, "until "):
			x.until, x.line = strings.Fields(line)[1:], i+1
		case line == "" || strings.HasPrefix(line, "#"):
			x.comment = append(x.comment, line)
		default:
			return nil, fmt.Errorf("line %d: %q is none of #, >, until, <", i+1, line)
		}
	}
	if x.until != nil {
		list, x = append(list, x), exchange{}
	}
	if x.send != nil {
		return nil, errors.New("messages at the end that nothing waits for: \"until\" is missing")
	}
	return list, nil
}

// formatScript writes a script.
func formatScript(list []exchange) string {
	var b strings.Builder
	for _, x := range list {
		for _, line := range x.comment {
			b.WriteString(line + "\n")
		}
		for _, m := range x.send {
			b.WriteString("> " + m + "\n")
		}
		b.WriteString("until " + strings.Join(x.until, " ") + "\n")
		for _, m := range x.want {
			b.WriteString("< " + m + "\n")
		}
	}
	return b.String()
}

// RunScript plays a wire script on a connection that has logged in. With -update and rewrite it changes the file. between, when
// not nil, is called wherever the script is outside of a transaction.
func RunScript(t *testing.T, file string, conn net.Conn, rewrite bool, between func()) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script, err := parseScript(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	front := pgproto3.NewFrontend(conn, conn)
	for i := range script {
		x := &script[i]
		var out []byte
		for _, m := range x.send {
			if out, err = appendMessage(out, m); err != nil {
				t.Fatalf("%s:%d: %s: %v", file, x.line, m, err)
			}
		}
		if err := conn.SetDeadline(time.Now().Add(maxSilence)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(out); err != nil {
			t.Fatalf("%s:%d: send: %v", file, x.line, err)
		}
		got, err := receive(front, x.until)
		if between != nil && len(got) > 0 && got[len(got)-1] == "ReadyForQuery I" {
			between()
		}
		if *update && rewrite && err == nil {
			x.want = got
			continue
		}
		if strings.Join(got, "\n") != strings.Join(x.want, "\n") || err != nil {
			t.Fatalf("%s:%d: error %v; got\n\t%s\nwant\n\t%s", file, x.line, err, strings.Join(got, "\n\t"), strings.Join(x.want, "\n\t"))
		}
	}
	if *update && rewrite {
		if err := os.WriteFile(file, []byte(formatScript(script)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// receive reads until the named messages have come.
func receive(front *pgproto3.Frontend, until []string) (got []string, err error) {
	for len(until) > 0 {
		msg, err := front.Receive()
		if err != nil {
			if until[0] == "close" && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)) {
				return append(got, "close"), nil
			}
			return got, err
		}
		line := describe(msg)
		got = append(got, line)
		if name, _, _ := strings.Cut(line, " "); name == until[0] {
			until = until[1:]
		}
	}
	return got, nil
}

// Login opens a connection without TLS, logs in where no password is asked for, and waits for ReadyForQuery.
func Login(t testing.TB, address, database, user string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(maxSilence)); err != nil {
		t.Fatal(err)
	}
	front := pgproto3.NewFrontend(conn, conn)
	front.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{
		"database": database, "user": user, "application_name": "script",
	}})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := front.Receive()
		if err != nil {
			t.Fatalf("log in: %v", err)
		}
		switch msg := msg.(type) {
		case *pgproto3.ErrorResponse:
			t.Fatalf("log in: %s %s", msg.Code, msg.Message)
		case *pgproto3.ReadyForQuery:
			return conn
		}
	}
}
