package proxy_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// ledger keeps the events of transactions.
type ledger struct {
	mu   sync.Mutex
	list []claimpool.Event
}

func (l *ledger) Record(e *claimpool.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == claimpool.EventTransaction {
		l.list = append(l.list, *e)
	}
	return nil
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// take gives the events in words, and forgets them.
func (l *ledger) take(t *testing.T, role string) (words string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		words += fmt.Sprintf("%d %s%s; ", e.Rows, e.Outcome, e.Code)
		if e.Identity == nil || e.Identity.Role != role || e.Client == 0 || e.Addr == "" || e.Server == 0 || e.Held <= 0 || e.Pool != e.Database+"/"+role {
			t.Errorf("%+v", e)
		}
	}
	l.list = nil
	return words
}

// Every transaction is recorded with its rows and its outcome, where one in one is.
func TestTransactionsAreRecorded(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
			l := new(ledger)
			f := start(t, func(o *pgtest.ProxyOptions) {
				inMode(mode, 1)(o)
				o.Audit, o.AuditTransactions = l, 1
			})
			conn, err := f.dial(t.Context(), f.role, f.fresh("t1", "t1"))
			if err != nil {
				t.Fatal(err)
			}
			l.take(t, f.role) // of the start of a session
			for _, test := range []struct{ sql, want string }{
				{"select generate_series(1, 5000)", "5000 commit; "},
				{"select 1; select 2", "2 commit; "},
				{"begin; select 1; rollback", "1 rollback; "},
				{"select 1/0", "0 error22012; "},
				{"begin; create temp table x (i int) on commit drop; insert into x select generate_series(1, 4); commit", "4 commit; "},
				{"begin; savepoint a", ""},
				{"select 1/0", ""},
				{"rollback to a", ""},
				{"select 7", ""},
				{"commit", "1 commit; "},
			} {
				_, err := conn.Exec(t.Context(), test.sql, pgx.QueryExecModeSimpleProtocol)
				if test.want != "" {
					soon(t, test.sql, func() bool { return l.len() > 0 })
				}
				if got := l.take(t, f.role); got != test.want {
					t.Errorf("%s, %s: got %q, want %q (%v)", mode, test.sql, got, test.want, err)
				}
			}
			var n int
			if err := conn.QueryRow(t.Context(), "select $1::int", 1).Scan(&n); err != nil { // prepared first, which is no transaction
				t.Fatal(err)
			}
			soon(t, "the prepared one", func() bool { return l.len() > 0 })
			if got := l.take(t, f.role); got != "1 commit; " {
				t.Errorf("%s, prepared: %q", mode, got)
			}
			if _, err := conn.Exec(t.Context(), "begin; select 1", pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			conn.PgConn().Conn().Close() // in the middle of it
			soon(t, "the one that was cut off", func() bool { return l.len() > 0 })
			if got := l.take(t, f.role); got != "1 unknown; " {
				t.Errorf("%s, cut off: %q", mode, got)
			}
		}
	})
}

// One in so many is recorded.
func TestSampledTransactions(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		l := new(ledger)
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			o.Audit, o.AuditTransactions = l, 10
		})
		p := f.raw(t, "t1")
		for range 1000 {
			p.expect("select", "T D() C(SELECT 1) Z(I)")
		}
		// The gaps are even between 0 and 18: the number of records has the mean 100 and the deviation 6.
		if n := l.len(); n < 55 || n > 170 {
			t.Errorf("%d of 1000 are recorded", n)
		}
	})
}
