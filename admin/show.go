package admin

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
)

// view is what SHOW shows.
type view struct {
	columns []column
	about   string
	rows    func(context.Context, *session) ([][]any, error)
}

// views are all of them, by name.
var views = map[string]view{
	"VERSION": {columns("version"), "what runs", func(_ context.Context, s *session) ([][]any, error) {
		return [][]any{{"claimpool " + s.Version}}, nil
	}},
	"POOLS": {columns("database", "target", "role", "mode", "cl_connected number", "cl_active number", "cl_waiting number", "maxwait_ms number", "sv_active number", "sv_idle number",
		"sv_opening number", "sv_pinned number", "sv_unsure number", "size number", "reserve_size number"), "clients and servers of each pool at this moment", showPoolRows},
	"REVOCATIONS": {columns("id number", "kind", "hash", "issuer", "sub", "before moment", "made moment", "by", "reason", "by_issuer flag", "undone_by number"), "who is signed out", showRevocations},
}

func init() { // it shows all of them, itself included
	views["HELP"] = view{columns("command", "right", "does"), "these lines", func(context.Context, *session) ([][]any, error) { return help(), nil }}
}

// hintCommands is what there is, for whoever asks for something else.
const hintCommands = "SHOW HELP lists the commands: SHOW …, REVOKE, UNDO, KILL, PAUSE, RESUME, RELOAD."

// show reads SHOW.
func (p *parser) show() (*statement, error) {
	w := p.peek()
	v, ok := views[w]
	if !ok {
		if st := p.showSetting(); st != nil {
			return st, nil
		}
		return nil, syntax("there is nothing of this name to show", "SHOW "+strings.Join(slices.Sorted(maps.Keys(views)), ", ")+".")
	}
	p.take(w)
	return &statement{name: "SHOW " + w, tag: "SHOW", right: Read, columns: v.columns, run: func(ctx context.Context, s *session, _ []string) (result, error) {
		rows, err := v.rows(ctx, s)
		return result{rows: rows}, err
	}}, nil
}

// help lists the commands.
func help() (rows [][]any) {
	for _, name := range slices.Sorted(maps.Keys(views)) {
		rows = append(rows, []any{"SHOW " + name, "reader", views[name].about})
	}
	for _, c := range [][2]string{
		{"REVOKE SUB 'sub' [ISSUER 'iss'] [BEFORE 'time'] [REASON 'text']", "sign a person out; without an issuer a user with a password"},
		{"REVOKE JTI 'jti' ISSUER 'iss' [REASON 'text']", "revoke a token"},
		{"REVOKE HASH 'hex' [REASON 'text']", "revoke a token, by its hash in the audit stream"},
		{"REVOKE SID 'sid' ISSUER 'iss' [REASON 'text']", "revoke the tokens of a session at the issuer"},
		{"REVOKE ISSUER 'iss' [BEFORE 'time'] [REASON 'text']", "revoke everything that an issuer has issued"},
		{"UNDO REVOCATION id [REASON 'text']", "take back one that an administrator has made; SHOW REVOCATIONS has the numbers"},
		{"KILL CLIENT number", "end a client; SHOW CLIENTS has the numbers"},
		{"KILL DATABASE 'name' [ROLE 'role']", "end all clients of a database, or of one of its roles"},
		{"PAUSE DATABASE 'name'", "close its server connections as they become free; clients wait"},
		{"RESUME DATABASE 'name'", "end that"},
		{"RELOAD", "read the configuration file again"},
	} {
		rows = append(rows, []any{c[0], "admin", c[1]})
	}
	return rows
}

func showPoolRows(ctx context.Context, s *session) (rows [][]any, err error) {
	list, err := s.pools(ctx)
	for i := range list {
		p := &list[i]
		rows = append(rows, []any{p.Database, p.Target, p.Role, p.Mode, int64(p.Clients.Connected), int64(p.Clients.Active), int64(p.Clients.Waiting), p.Clients.LongestWait,
			int64(p.Servers.Active), int64(p.Servers.Idle), int64(p.Servers.Opening), int64(p.Servers.Pinned), int64(p.Servers.Unsure),
			int64(p.Limits.Size), int64(p.Limits.Reserve)})
	}
	return rows, err
}

func (s *session) pools(ctx context.Context) ([]Pool, error) {
	if s.Pools == nil {
		return nil, errNotHere
	}
	list, err := s.Pools.Pools(ctx)
	if err != nil {
		return nil, errNoPools(err)
	}
	return list, nil
}

func errNoPools(err error) error {
	return &claimpool.Error{Code: claimpool.CodeCannotConnectNow, Message: "the pools cannot be looked at at the moment", Hint: "Try again later.", Cause: err}
}

func showRevocations(ctx context.Context, s *session) (rows [][]any, err error) {
	if s.Revocations == nil {
		return nil, errNotHere
	}
	list, err := s.Revocations.List(ctx)
	if err != nil {
		return nil, errNoTable(err)
	}
	for _, e := range list {
		rows = append(rows, []any{e.ID, string(e.Kind), hex.EncodeToString(e.Mark[:]), e.Issuer, e.Subject, orNull(e.Before), orNull(e.Made), e.By, e.Reason, e.ByIssuer, numberOrNull(e.UndoneBy)})
	}
	return rows, nil
}

func numberOrNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
