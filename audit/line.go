package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"strings"

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

// jsonLines writes an event as a line of JSON. log/slog escapes what could end a line or begin another.
func jsonLines(b *buffer, l *line) {
	r := slog.NewRecord(l.at.UTC(), slog.LevelInfo, string(l.e.Kind), 0)
	r.AddAttrs(attrs(l)...)
	if b.json == nil {
		b.json = slog.NewJSONHandler(b, &slog.HandlerOptions{ReplaceAttr: named})
	}
	b.json.Handle(context.Background(), r) // writes to memory
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
	issuer, subject, token := e.Issuer, e.Subject, e.Token
	role, method, rule := "", "", ""
	if id := e.Identity; id != nil {
		issuer, subject, token = id.Issuer, id.Subject, id.Proof.ID
		role, method, rule = id.Role, string(id.Method), id.Rule
	}
	if e.Client != 0 {
		list = append(list, slog.Uint64(claimpool.LogClient, e.Client))
	}
	for _, f := range []struct{ key, value string }{
		{claimpool.LogAddr, e.Addr}, {claimpool.LogDB, e.Database}, {claimpool.LogUser, e.User}, {claimpool.LogRole, role},
		{claimpool.LogMethod, method}, {claimpool.LogRule, rule}, {claimpool.LogIssuer, issuer}, {claimpool.LogSubject, subject},
		{claimpool.LogPool, e.Pool}, {claimpool.LogOutcome, string(e.Outcome)},
	} {
		if f.value != "" {
			list = append(list, slog.String(f.key, f.value))
		}
	}
	if token != (claimpool.Mark{}) {
		list = append(list, slog.String(claimpool.LogTokenHash, hex.EncodeToString(token[:])))
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

// bounded takes a copy of an event that holds no more than that.
func bounded(e *claimpool.Event) claimpool.Event {
	own := *e
	own.Addr, own.Database, own.User, own.Reason = cut(e.Addr, maxName), cut(e.Database, maxName), cut(e.User, maxName), cut(e.Reason, maxReason)
	return own
}

// cut gives the beginning of a long text, apart from the rest.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
