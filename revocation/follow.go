package revocation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Follower keeps a set up to date with a table: over one connection that listens, and that asks from time to time whether it has
// been told or not.
type Follower struct {
	Table *Table
	Set   *Set

	// Poll is the longest time between two looks at the table.
	Poll time.Duration

	// Changed is called when somebody new has been revoked. Nil: nobody is told.
	Changed func()

	// Learned is told what is new since the first look. Nil: nobody is told.
	Learned func([]Entry)

	// Report is called when the table can be read, and when it cannot any more. Nil: nobody is told.
	Report func(error)

	newest *int64 // the number of the last row that was told of; nil before the first look
}

const (
	// minRead is the least time between two looks. Every role of the database may send notifications: a flood of them costs
	// no more than this.
	minRead = 50 * time.Millisecond

	// maxBackoff is the longest pause before the next attempt to connect.
	maxBackoff = 2 * time.Second

	// forgetEvery is how often old rows are taken away.
	forgetEvery = 10 * time.Minute
)

// Run follows the table until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	pause, told := minRead, "not read yet"
	report := func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		if f.Report != nil && text != told {
			f.Report(err)
		}
		told = text
	}
	for ctx.Err() == nil {
		err := f.follow(ctx, func() { pause = minRead; report(nil) })
		if ctx.Err() != nil {
			return
		}
		report(err)
		if !rest(ctx, pause) {
			return
		}
		pause = min(2*pause, maxBackoff)
	}
}

// follow is one connection. It listens before it reads: nothing is written in between unseen.
func (f *Follower) follow(ctx context.Context, good func()) error {
	opening, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	conn, err := f.Table.Connect(opening)
	if err != nil {
		return fmt.Errorf("connect to the table of revocations: %w", err)
	}
	defer closeSoon(conn)
	if _, err := conn.Exec(opening, "LISTEN claimpool_revocation"); err != nil {
		return fmt.Errorf("listen for revocations: %w", err)
	}
	last, forgotten := int64(0), time.Time{}
	for {
		delete(conn.PgConn().CustomData(), told)
		if last, err = f.look(ctx, conn, last); err != nil {
			return err
		}
		good()
		if time.Since(forgotten) > forgetEvery {
			forgotten = time.Now()
			if err := f.forget(ctx, conn); err != nil {
				return err
			}
		}
		if !rest(ctx, minRead) {
			return ctx.Err()
		}
		if err := await(ctx, conn, f.Poll); err != nil {
			return fmt.Errorf("listen for revocations: %w", err)
		}
	}
}

// look reads what is new. Rows come in the order of their commits, so none appears behind one that has been read.
func (f *Follower) look(ctx context.Context, conn *pgx.Conn, last int64) (int64, error) {
	asOf := f.Set.opts.Clock()
	list, err := since(ctx, conn, last)
	if err != nil {
		return last, err
	}
	if len(list) > 0 {
		last = list[len(list)-1].ID
	}
	if f.Set.Add(list, asOf) && f.Changed != nil {
		f.Changed()
	}
	f.learn(list)
	return last, nil
}

// learn tells of what is new. A connection that is opened again reads everything once more.
func (f *Follower) learn(list []Entry) {
	first := f.newest == nil
	if first {
		f.newest = new(int64)
	}
	for i := range list {
		if list[i].ID > *f.newest {
			*f.newest = list[i].ID
			if !first && f.Learned != nil && (known(list[i].Kind) || list[i].Kind == KindUndo) {
				f.Learned(list[i : i+1])
			}
		}
	}
}

// forget drops what is too old to matter, here and in the table.
func (f *Follower) forget(ctx context.Context, conn *pgx.Conn) error {
	f.Set.Forget()
	ctx, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	_, err := conn.Exec(ctx, "select claimpool_revocation.forget($1)", f.Set.opts.Keep+margin)
	if err != nil {
		return fmt.Errorf("forget old revocations: %w", err)
	}
	return nil
}

// await waits for a notification, for as long as poll at most.
func await(ctx context.Context, conn *pgx.Conn, poll time.Duration) error {
	if conn.PgConn().CustomData()[told] != nil {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	err := conn.PgConn().WaitForNotification(waiting)
	var slow net.Error
	if err != nil && ctx.Err() == nil && waiting.Err() != nil && (pgconn.Timeout(err) || errors.As(err, &slow) && slow.Timeout()) && !conn.IsClosed() {
		return nil
	}
	return err
}

// rest waits, and reports whether ctx has not ended meanwhile.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
