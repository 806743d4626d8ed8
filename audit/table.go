package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool"
)

// Table is the records in PostgreSQL, as the pack "audit" of claimpool db install makes them. All that it says to the database is one
// COPY for each batch. It belongs to its stream's goroutine.
type Table struct {
	// Connect opens a connection as a member of the role claimpool_audit.
	Connect func(context.Context) (*pgx.Conn, error)

	conn   *pgx.Conn
	proxy  string // the name of this run among all that write: 32 hexadecimal digits
	number uint64 // of the last row
}

const (
	// maxWrite is how long a batch may take, a new connection included.
	maxWrite = 5 * time.Second

	// gatherFor and gatherUpTo are how long events are gathered for one COPY, and how many.
	gatherFor  = time.Second
	gatherUpTo = 1000
)

// columns are what the common fields of an event are in the table; the others are in the column "more", the last one.
var columns = []string{
	claimpool.LogClient, claimpool.LogAddr, claimpool.LogDB, claimpool.LogRole, claimpool.LogIssuer, claimpool.LogSubject, claimpool.LogTokenHash,
	claimpool.LogSQLState, claimpool.LogReason, claimpool.LogHeld, claimpool.LogRows,
}

var copyRows = "COPY claimpool_audit.records (proxy, number, time, event, " + strings.Join(columns, ", ") + ", more) FROM STDIN"

// NewTable makes a stream that writes to a table. A batch that cannot be written is kept and tried again, and the queue grows meanwhile.
func NewTable(t *Table, opts Options) *Stream {
	name := make([]byte, 16)
	rand.Read(name) // never fails (crypto/rand)
	t.proxy, t.number = fmt.Sprintf("%x", name), 0
	return start(&Stream{opts: opts, out: t, format: t.format, gatherFor: gatherFor, gatherUpTo: gatherUpTo, patient: true, last: t.close})
}

// format adds the row of an event, in the text format of COPY.
func (t *Table) format(b *buffer, l *line) {
	t.number++
	fmt.Fprintf(b, "%s\t%d\t%s\t", t.proxy, t.number, l.at.UTC().Format("2006-01-02 15:04:05.999999Z"))
	copyText(b, string(l.e.Kind))
	common := make([]slog.Value, len(columns))
	var more []byte
	for _, a := range attrs(l) {
		if i := slices.Index(columns, a.Key); i >= 0 {
			common[i] = a.Value
			continue
		}
		more = appendMember(more, a)
	}
	for _, v := range common {
		b.WriteByte('\t')
		switch v.Kind() {
		case slog.KindString:
			copyText(b, v.String())
		case slog.KindDuration:
			b.WriteString(strconv.FormatInt(v.Duration().Microseconds(), 10) + " microseconds")
		case slog.KindUint64, slog.KindInt64:
			b.WriteString(v.String())
		default:
			b.WriteString(`\N`)
		}
	}
	if more == nil {
		b.WriteString("\t\\N\n")
	} else {
		b.WriteByte('\t')
		copyText(b, string(append(more, '}')))
		b.WriteByte('\n')
	}
	b.events++
}

// appendMember appends a member of a JSON object (RFC 8259, section 7). Package encoding/json would write some letters as \u, which
// a database in another encoding does not take.
func appendMember(b []byte, a slog.Attr) []byte {
	if b == nil {
		b = append(b, '{')
	} else {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(append(b, a.Key...), `":`...)
	if a.Value.Kind() != slog.KindString {
		return append(b, a.Value.String()...)
	}
	b = append(b, '"')
	for _, r := range readable(a.Value.String()) {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// copyText writes a value in the text format of COPY: a backslash stands before what would end the value or the line, and before
// itself, so that the value is neither \N nor \. (COPY, "Text Format").
func copyText(b *buffer, s string) {
	for _, r := range readable(s) {
		switch r {
		case '\\':
			b.WriteString(`\\`)
		case '\t':
			b.WriteString(`\t`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		default:
			b.WriteRune(r)
		}
	}
}

// readable replaces what no text of PostgreSQL can hold: bytes that are no UTF-8, and zero, which jsonb does not take either.
func readable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// ascii spells the letters of a batch for a database in another encoding than UTF-8, which may not have them, as <U+65E5>: a name that
// somebody has thought up must not keep others' rows from being written.
func ascii(b []byte) []byte {
	var out []byte
	for _, r := range string(b) {
		if r < 0x80 {
			out = append(out, byte(r))
			continue
		}
		out = fmt.Appendf(out, "<%U>", r)
	}
	return out
}

// Write is one COPY of whole rows. A row that the database refuses (a check, a trigger) is left out, so that it does not keep the others
// from being written; the error is a *Skipped then. A batch that was written, although nobody has said so, is not written twice.
func (t *Table) Write(b []byte) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxWrite)
	defer cancel()
	used := t.conn != nil
	n, err := t.copy(ctx, b)
	if used && err != nil && t.conn == nil && ctx.Err() == nil { // PostgreSQL may have ended the connection while there was nothing to write
		n, err = t.copy(ctx, b)
	}
	switch {
	case err != nil:
		return 0, err
	case n.rows > 0:
		return len(b), n
	}
	return len(b), nil
}

// Skipped says how many rows the database has refused, and why the last one was.
type Skipped struct {
	rows uint64
	err  error
}

// Error is part of error.
func (s *Skipped) Error() string { return fmt.Sprintf("the database refuses a record: %v", s.err) }

// copy writes a batch, over a new connection when there is none. Afterwards there is none when it is not good any more.
func (t *Table) copy(ctx context.Context, b []byte) (*Skipped, error) {
	if t.conn == nil {
		conn, err := t.Connect(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to the table of audit records: %w", err)
		}
		t.conn = conn
	}
	if t.conn.PgConn().ParameterStatus("server_encoding") != "UTF8" {
		b = ascii(b)
	}
	n := new(Skipped)
	err := t.copyRows(ctx, b, n)
	if err == nil {
		return n, nil
	}
	var said *pgconn.PgError
	if t.conn.IsClosed() || !errors.As(err, &said) {
		t.close()
	}
	return nil, fmt.Errorf("write the audit records: %w", err)
}

// everyRow are the classes of errors that are not for what is in one row (PostgreSQL Error Codes): connections, unsupported features, read-only
// transactions, logins, names, deadlocks, rights, resources, locks, operators, the system, its configuration, and bugs. All others may be, those among
// them that triggers think up.
var everyRow = []string{"08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "XX"}

// copyRows writes rows. Those that the database refuses for what is in them are looked for by halves.
func (t *Table) copyRows(ctx context.Context, b []byte, n *Skipped) error {
	_, err := t.conn.PgConn().CopyFrom(ctx, bytes.NewReader(b), copyRows)
	var said *pgconn.PgError
	if !errors.As(err, &said) || len(b) == 0 || t.conn.IsClosed() || slices.Contains(everyRow, said.Code[:min(2, len(said.Code))]) {
		return err
	}
	at := middle(b)
	switch {
	case at < len(b):
		return errors.Join(t.copyRows(ctx, b[:at], n), t.copyRows(ctx, b[at:], n))
	case said.Code == "23505" && said.ConstraintName == "records_proxy_number_key":
		return nil // it is there, from a COPY whose answer was lost
	}
	n.rows++
	n.err = said
	return nil
}

// middle is the end of a row near the middle; the length when there is one row.
func middle(b []byte) int {
	half := len(b) / 2
	if i := bytes.LastIndexByte(b[:half], '\n'); i >= 0 {
		return i + 1
	}
	return half + bytes.IndexByte(b[half:], '\n') + 1
}

// close ends the connection, without waiting for a server that does not answer.
func (t *Table) close() {
	if t.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	t.conn.Close(ctx)
	t.conn = nil
}
