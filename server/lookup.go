package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

const (
	// maxLookup bounds one look-up, with a login when there is no connection: a client waits for it.
	maxLookup = 5 * time.Second
	// maxLookupRow bounds a row of the answer; a SCRAM verifier has 133 bytes.
	maxLookupRow = 8 << 10
)

// lookupStartup is what the look-up's connection starts with. No setting of the role, of the database or of a client may change
// what the names in the query mean.
var lookupStartup = [][2]string{
	{"search_path", "pg_catalog, pg_temp"}, {"client_encoding", "UTF8"}, {"default_transaction_read_only", "on"},
	{"statement_timeout", "5s"}, {"application_name", "claimpool look-up"},
}

// Lookup asks PostgreSQL for the stored passwords of users, over one connection of a role of its own. Nothing of a client is on it
// but user names, as the parameter of one query in the extended protocol. It is safe for use by many goroutines, which take turns.
type Lookup struct {
	cfg   Config
	query string
	turn  chan struct{} // held by who uses the rest
	conn  *Conn         // nil when there is none
	ended bool
}

// NewLookup makes a Lookup; nothing is connected yet. The query has one parameter, the user name, and gives the stored password, or
// the name and the password as PgBouncer's auth_query does; no row, or NULL, for who has none.
func NewLookup(cfg *Config, query string) *Lookup {
	own := *cfg
	own.Startup = lookupStartup
	return &Lookup{cfg: own, query: query, turn: make(chan struct{}, 1)}
}

// Password gives what the server has stored for a user; empty when that is nothing. Errors never hold what the server answered.
func (l *Lookup) Password(ctx context.Context, user string) (claimpool.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, maxLookup)
	defer cancel()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the look-up's connection: %w", ctx.Err())
	}
	defer func() {
		if l.ended {
			l.hangUp()
		}
		<-l.turn
	}()
	if l.conn != nil {
		// A connection that has been quiet for long may be dead; a fresh one is another matter.
		secret, err := l.ask(ctx, user)
		if err == nil || l.conn != nil {
			return secret, err
		}
	}
	conn, err := Open(ctx, &l.cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l.conn = conn
	return l.ask(ctx, user)
}

// Close ends the connection. A look-up that comes later opens one for itself alone.
func (l *Lookup) Close() {
	l.turn <- struct{}{}
	l.ended = true
	l.hangUp()
	<-l.turn
}

func (l *Lookup) hangUp() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// ask runs the query. A connection on which anything but the server's own error went wrong is not used again.
func (l *Lookup) ask(ctx context.Context, user string) (claimpool.Secret, error) {
	c := l.conn.Conn
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	rows, err := lookupRows(c, l.query, user)
	var own *refusal
	if !stop() || err != nil && !errors.As(err, &own) {
		l.hangUp()
		return nil, because(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return storedPassword(rows, user)
}

// storedPassword finds the secret in what the query gave.
func storedPassword(rows [][]string, user string) (claimpool.Secret, error) {
	switch {
	case len(rows) == 0:
		return nil, nil
	case len(rows) > 1:
		return nil, fmt.Errorf("the look-up's query gave %d rows for one user", len(rows))
	case len(rows[0]) == 1:
		return claimpool.Secret(rows[0][0]), nil
	case len(rows[0]) == 2 && rows[0][0] == user:
		return claimpool.Secret(rows[0][1]), nil
	case len(rows[0]) == 2:
		return nil, errors.New("the look-up's query gave another user than the one that was asked for")
	}
	return nil, fmt.Errorf("the look-up's query gives %d columns, not the password, or the name and the password", len(rows[0]))
}

// lookupRows runs the query in the extended protocol, and reads up to ReadyForQuery. Two rows are enough to know that something is
// wrong.
func lookupRows(c io.ReadWriter, query, user string) (rows [][]string, err error) {
	b := wire.AppendParse(nil, "", query)
	b = wire.AppendBind(b, "", "", [][]byte{[]byte(user)})
	b = wire.AppendExecute(b, "", 2)
	if _, err := c.Write(wire.AppendSync(b)); err != nil {
		return nil, err
	}
	var failed error
	for {
		typ, body, err := wire.ReadMessage(c, maxLookupRow)
		if err != nil {
			return nil, err
		}
		switch typ {
		case wire.MsgDataRow:
			row, err := wire.ParseDataRow(body)
			clear(body)
			if err != nil {
				return nil, err
			}
			if rows = append(rows, row); len(rows) > 2 {
				return nil, errors.New("the answer to the look-up has more rows than were asked for")
			}
		case wire.MsgErrorResponse:
			fields, err := wire.ParseError(body)
			if err != nil {
				return nil, err
			}
			failed = &refusal{fields.ClaimpoolError()}
		case wire.MsgReadyForQuery:
			return rows, failed
		case wire.MsgParseComplete, wire.MsgBindComplete, wire.MsgCommandComplete, wire.MsgPortalSuspended, wire.MsgNoticeResponse,
			wire.MsgParameterStatus:
		default:
			return nil, fmt.Errorf("unexpected message %q in the answer to the look-up", typ)
		}
	}
}
