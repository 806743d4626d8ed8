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
// database are calls of the pack's three functions.
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
	err = conn.QueryRow(ctx, "select claimpool_revocation.revoke($1, $2, $3, $4, $5, $6, $7)",
		kinds, marks, first.Issuer, first.Subject, before, first.Reason, replay).Scan(&taken)
	switch {
	case err != nil:
		return fmt.Errorf("write the revocation: %w", err)
	case !taken:
		return ErrReplayed
	}
	return nil
}

// List gives the revocations that are in the table, the oldest first.
func (t *Table) List(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*maxQuery)
	defer cancel()
	conn, err := t.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the table of revocations: %w", err)
	}
	defer closeSoon(conn)
	return since(ctx, conn, 0)
}

// batch is how many rows claimpool_revocation.since gives at a time.
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
	rows, err := conn.Query(ctx, "select id, kind, mark, issuer, subject, before, made, made_by::text, reason from claimpool_revocation.since($1)", id)
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
}

func (r *row) entry() Entry {
	e := Entry{
		ID: r.ID, Kind: claimpool.MarkKind(r.Kind), Issuer: r.Issuer, Subject: r.Subject, Made: r.Made, By: r.By, Reason: r.Reason,
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
