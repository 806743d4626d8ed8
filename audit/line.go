package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
)

// buffer is lines that are not written yet.
type buffer struct {
	bytes.Buffer
	events uint64
	json   slog.Handler // writes here; nil before the first line of JSON
}

func (b *buffer) reset() {
	b.Reset()
	b.events = 0
}

// jsonLines writes an event as a line of JSON. log/slog escapes what could end a line or begin another, and Inert the rest.
func jsonLines(b *buffer, l *line) {
	r := slog.NewRecord(l.at.UTC(), slog.LevelInfo, string(l.e.Kind), 0)
	r.AddAttrs(attrs(l)...)
	if b.json == nil {
		b.json = slog.NewJSONHandler(b, &slog.HandlerOptions{ReplaceAttr: named})
	}
	at := b.Len()
	b.json.Handle(context.Background(), r) // writes to memory
	if line := claimpool.Inert(b.Bytes()[at:]); at+len(line) > b.Len() {
		b.Truncate(at)
		b.Write(line)
	}
	b.events++
}

// named gives the lines of this stream their own words for the fields of log/slog.
func named(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.MessageKey:
		a.Key = claimpool.LogEvent
	case a.Key == slog.LevelKey:
		return slog.Attr{}
	case a.Value.Kind() == slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// attrs are the fields of an event that are known.
func attrs(l *line) (list []slog.Attr) {
	e := &l.e
	if e.Client != 0 {
		list = append(list, slog.Uint64(claimpool.LogClient, e.Client))
	}
	for _, f := range []struct{ key, value string }{
		{claimpool.LogAddr, e.Addr}, {claimpool.LogDB, e.Database}, {claimpool.LogUser, e.User}, {claimpool.LogRole, l.role},
		{claimpool.LogMethod, l.method}, {claimpool.LogRule, l.rule}, {claimpool.LogIssuer, e.Issuer}, {claimpool.LogSubject, e.Subject},
		{claimpool.LogPool, e.Pool}, {claimpool.LogOutcome, string(e.Outcome)},
	} {
		if f.value != "" {
			list = append(list, slog.String(f.key, f.value))
		}
	}
	if e.Token != (claimpool.Mark{}) {
		list = append(list, slog.String(claimpool.LogTokenHash, hex.EncodeToString(e.Token[:])))
	}
	if e.Server != 0 {
		list = append(list, slog.Uint64(claimpool.LogServer, uint64(e.Server)))
	}
	if e.Code != "" {
		list = append(list, slog.String(claimpool.LogSQLState, string(e.Code)))
	}
	if e.Reason != "" {
		list = append(list, slog.String(claimpool.LogReason, e.Reason))
	}
	if e.Held != 0 {
		list = append(list, slog.Duration(claimpool.LogHeld, e.Held))
	}
	if e.Outcome != "" {
		list = append(list, slog.Uint64(claimpool.LogRows, e.Rows))
	}
	if e.Transactions > 1 {
		list = append(list, slog.Uint64(claimpool.LogTransactions, uint64(e.Transactions)))
	}
	if l.lost > 0 {
		list = append(list, slog.Uint64(claimpool.LogLost, l.lost))
	}
	return list
}

// Bounds of what strangers choose: a start-up message has room for much more, and thousands of them may wait in the queue.
const (
	maxName   = 256
	maxReason = 1024
)

// newLine takes of an event what will be written.
func newLine(e *claimpool.Event, at time.Time) line {
	l := line{at: at, e: *e}
	if id := e.Identity; id != nil {
		l.e.Identity, l.e.Issuer, l.e.Subject, l.e.Token = nil, id.Issuer, id.Subject, id.Proof.ID
		l.role, l.method, l.rule = id.Role, string(id.Method), id.Rule
	}
	l.e.Addr, l.e.Database, l.e.User, l.e.Reason = cut(e.Addr, maxName), cut(e.Database, maxName), cut(e.User, maxName), cut(e.Reason, maxReason)
	return l
}

// cut gives the beginning of a long text, apart from the rest. A token that somebody has sent in the wrong place, such as the user name,
// is not for everybody who reads the stream.
func cut(s string, limit int) string {
	s = claimpool.WithoutTokens(s)
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
