package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"

	"github.com/claimpool/claimpool"
)

// buffer is lines that are not written yet.
type buffer struct {
	bytes.Buffer
	events uint64
}

func (b *buffer) reset() {
	b.Reset()
	b.events = 0
}

// write adds the line of an event. log/slog escapes what could end a line or begin another.
func (b *buffer) write(h slog.Handler, l *line) {
	r := slog.NewRecord(l.at.UTC(), slog.LevelInfo, string(l.e.Kind), 0)
	r.AddAttrs(attrs(&l.e)...)
	h.Handle(context.Background(), r) // writes to memory
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
	}
	return a
}

// attrs are the fields of an event that are known.
func attrs(e *claimpool.Event) (list []slog.Attr) {
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
		list = append(list, slog.String(claimpool.LogHeld, e.Held.String()))
	}
	return list
}
