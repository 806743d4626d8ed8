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

	// forgetEvery is how often old rows are taken away, and maxForgets how many thousands then: more than logouts make.
	forgetEvery = 10 * time.Minute
	maxForgets  = 50
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
	last, forgotten := Entry{}, time.Time{}
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

// look reads what is new. Rows come in the order of their commits, so none appears behind one that has been read. The last one that is
// known is read again: a table in which it is another one, or is not there, counts anew (it was emptied, or restored), and everything
// in it is.
func (f *Follower) look(ctx context.Context, conn *pgx.Conn, last Entry) (Entry, error) {
	asOf := f.Set.opts.Clock()
	list, err := since(ctx, conn, max(0, last.ID-1))
	switch {
	case err != nil:
		return last, err
	case last.ID == 0:
	case len(list) > 0 && list[0].ID == last.ID && list[0].Mark == last.Mark && list[0].Made.Equal(last.Made):
		list = list[1:]
	default:
		if list, err = since(ctx, conn, 0); err != nil {
			return last, err
		}
		if last.Made.Add(f.Set.opts.Keep).After(asOf) { // it is not that its time was over
			*f.newest = 0
		}
		last = Entry{}
	}
	if len(list) > 0 {
		last = list[len(list)-1]
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
	for range maxForgets {
		gone, err := forgetSome(ctx, conn, f.Set.opts.Keep+margin)
		if err != nil {
			return fmt.Errorf("forget old revocations: %w", err)
		}
		if gone < batch {
			break
		}
	}
	return nil
}

func forgetSome(ctx context.Context, conn *pgx.Conn, keep time.Duration) (gone int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	err = conn.QueryRow(ctx, "select claimpool_revocation.forget($1)", keep).Scan(&gone)
	return gone, err
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
