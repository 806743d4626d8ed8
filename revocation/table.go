package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool"
)

// Table is the revocations in PostgreSQL, as the pack "revocation" of claimpool db install makes them. All that it says to the
// database are calls of the pack's four functions.
type Table struct {
	// Connect opens a connection as a member of the role claimpool_revocation.
	Connect func(context.Context) (*pgx.Conn, error)
}

// The ways that a table may be slow.
const (
	// maxQuery is how long one question may take before its connection counts as lost.
	maxQuery = 5 * time.Second

	// maxWriters is how many revocations are written at the same moment; more wait.
	maxWriters = 4
)

var writers = make(chan struct{}, maxWriters)

// ErrReplayed says that a logout token was taken before.
var ErrReplayed = errors.New("the logout token has been taken before")

// Revoke writes entries that one request has made: of one issuer, and one subject at most. once is the mark of a logout token, or
// nil; the error is ErrReplayed when it is there already. When Revoke returns, the entries outlive a restart, and all
// readers have been notified.
func (t *Table) Revoke(ctx context.Context, entries []Entry, once *claimpool.Mark) error {
	if len(entries) == 0 {
		return errors.New("there is nothing to revoke")
	}
	var kinds []string
	var marks [][]byte
	for i := range entries {
		kinds = append(kinds, string(entries[i].Kind))
		marks = append(marks, entries[i].Mark[:])
	}
	first := &entries[0]
	var before *time.Time
	if !first.Before.IsZero() {
		before = &first.Before
	}
	var replay []byte
	if once != nil {
		replay = once[:]
	}
	var taken bool
	err := t.write(ctx, &taken, "select claimpool_revocation.revoke($1, $2, $3, $4, $5, $6, $7)",
		kinds, marks, first.Issuer, first.Subject, before, first.Reason, replay)
	if err == nil && !taken {
		return ErrReplayed
	}
	return err
}

// Why a revocation is not taken back.
var (
	ErrUnknown  = errors.New("there is no revocation of this number")
	ErrUndone   = errors.New("the revocation has been taken back already")
	ErrByIssuer = errors.New("the issuer has made the revocation, by a logout: it cannot be taken back")

	ErrLongReason = errors.New("the reason is too long")
)

// Undo takes one revocation back that an administrator has made. Others of the same person or token stay in force, and sessions that have ended
// stay ended. The error is one of these, or why the table cannot be used.
func (t *Table) Undo(ctx context.Context, id int64, reason string) error {
	if len(reason) > maxReason {
		return ErrLongReason
	}
	var said string
	if err := t.write(ctx, &said, "select claimpool_revocation.undo($1, $2)", id, reason); err != nil {
		return err
	}
	switch said {
	case "done":
		return nil
	case "unknown":
		return ErrUnknown
	case "undone":
		return ErrUndone
	case "issuer":
		return ErrByIssuer
	}
	return fmt.Errorf("write the revocation: the table says %q", said)
}

// write asks one question that writes, whose answer is one value.
func (t *Table) write(ctx context.Context, answer any, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	select {
	case writers <- struct{}{}:
		defer func() { <-writers }()
	case <-ctx.Done():
		return fmt.Errorf("write the revocation: %w", ctx.Err())
	}
	conn, err := t.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to the table of revocations: %w", err)
	}
	defer closeSoon(conn)
	if err := conn.QueryRow(ctx, sql, args...).Scan(answer); err != nil {
		return fmt.Errorf("write the revocation: %w", err)
	}
	return nil
}

// List gives the revocations that are in the table, the oldest first, with those that were taken back, and what took them back.
func (t *Table) List(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*maxQuery)
	defer cancel()
	conn, err := t.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the table of revocations: %w", err)
	}
	defer closeSoon(conn)
	list, err := since(ctx, conn, 0)
	undone := map[int64]int64{}
	for i := range list {
		if list[i].Kind == KindUndo {
			undone[list[i].Undoes] = list[i].ID
		}
	}
	for i := range list {
		list[i].UndoneBy = undone[list[i].ID]
	}
	return list, err
}

// batch is how many rows claimpool_revocation.since gives at a time, and forget takes away.
const batch = 1000

// since reads all rows behind a number.
func since(ctx context.Context, conn *pgx.Conn, id int64) (list []Entry, err error) {
	for {
		page, err := readPage(ctx, conn, id)
		if err != nil {
			return nil, fmt.Errorf("read the revocations: %w", err)
		}
		for _, r := range page {
			list = append(list, r.entry())
			id = r.ID
		}
		if len(page) < batch {
			return list, nil
		}
	}
}

func readPage(ctx context.Context, conn *pgx.Conn, id int64) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	rows, err := conn.Query(ctx, "select id, kind, mark, issuer, subject, before, made, made_by::text, reason, by_issuer, coalesce(undoes, 0) from claimpool_revocation.since($1)", id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// row is one of the table.
type row struct {
	ID              int64
	Kind            string
	Mark            []byte
	Issuer, Subject string
	Before          *time.Time
	Made            time.Time
	By, Reason      string
	ByIssuer        bool
	Undoes          int64
}

func (r *row) entry() Entry {
	e := Entry{
		ID: r.ID, Kind: claimpool.MarkKind(r.Kind), Issuer: r.Issuer, Subject: r.Subject, Made: r.Made, By: r.By, Reason: r.Reason,
		ByIssuer: r.ByIssuer, Undoes: r.Undoes,
	}
	copy(e.Mark[:], r.Mark) // the table keeps its length
	if r.Before != nil {
		e.Before = *r.Before
	}
	return e
}

// closeSoon ends a connection without waiting for a server that does not answer.
func closeSoon(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Close(ctx)
}

// told is where a connection notes that it has been notified, also in the middle of an answer to something else.
const told = "claimpool.told"

// Connector makes Table.Connect of a connection string, and that of others' tables: purpose is for people who look at the server's
// connections. The password is asked for at each connection.
func Connector(purpose, dsn string, password func(context.Context) (claimpool.Secret, error)) (func(context.Context) (*pgx.Conn, error), error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = maxQuery
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is prepared: a pooler may stand in between
	cfg.RuntimeParams["application_name"] = "claimpool " + purpose
	cfg.RuntimeParams["search_path"] = "pg_catalog"
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	// A notification is a hint to look: nothing that it says is believed, or kept.
	cfg.OnNotification = func(c *pgconn.PgConn, _ *pgconn.Notification) { c.CustomData()[told] = true }
	return func(ctx context.Context) (*pgx.Conn, error) {
		own := cfg.Copy()
		if password != nil {
			secret, err := password(ctx)
			if err != nil {
				return nil, err
			}
			own.Password = string(secret)
			secret.Clear()
		}
		return pgx.ConnectConfig(ctx, own)
	}, nil
}
