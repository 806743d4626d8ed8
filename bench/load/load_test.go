//go:build linux

package load

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/claimpool/claimpool/bench/fakepg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fake(t *testing.T) string {
	s, err := fakepg.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

func TestWorkloadsRunAgainstTheFakeServer(t *testing.T) {
	addr := fake(t)
	for _, w := range Workloads() {
		t.Run(w[0], func(t *testing.T) {
			r, err := Run(&Options{Addr: addr, Workload: w[0], Clients: 20, User: "bench", Database: "bench",
				Time: time.Minute, Count: 50, PID: os.Getpid()})
			if err != nil {
				t.Fatal(err)
			}
			if want := 18; r.Transactions < want { // idle counts the clients behind the first tenth
				t.Errorf("%d transactions, want at least %d", r.Transactions, want)
			}
			if r.CPU <= 0 || r.Memory.RSS == 0 {
				t.Errorf("the costs were not read: %+v", r)
			}
		})
	}
}

// With few active ones, every client still has its turn.
func TestClientsTakeTurns(t *testing.T) {
	const all, active = 12, 3
	o := &Options{Addr: fake(t), Clients: all, Active: active, User: "bench", Database: "bench", Time: time.Minute, Count: 200}
	clients, err := connectAll(o, all)
	if err != nil {
		t.Fatal(err)
	}
	w, err := find("simple")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(o, w, clients)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if _, err := l.run(); err != nil {
		t.Fatal(err)
	}
	if len(l.waiting) != all-active {
		t.Errorf("%d wait, want %d", len(l.waiting), all-active)
	}
	for _, m := range l.members {
		if m != nil && m.began.IsZero() {
			t.Error("a client had no turn")
		}
	}
}

// The fake server takes every token, so a bad one that is taken must end the run.
func TestPacedHoldsThatBadTokensAreRefused(t *testing.T) {
	o := &Options{Addr: fake(t), Workload: "paced", Clients: 1, User: "bench", Database: "bench", Rate: 200, Time: time.Second, Tokens: []string{"good"}}
	if _, err := Run(o); err == nil {
		t.Error("it runs without bad tokens")
	}
	o.Bad = []string{"bad"}
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "a bad token was taken") {
		t.Errorf("a bad token was taken, and it says %v", err)
	}
}

// With a rate, the next transaction waits until it is due, however fast the server is.
func TestRate(t *testing.T) {
	r, err := Run(&Options{Addr: fake(t), Workload: "simple", Clients: 4, User: "bench", Database: "bench", Rate: 500, Time: time.Minute, Count: 50})
	if err != nil {
		t.Fatal(err)
	}
	if r.Transactions < 50 || r.Seconds < 0.09 {
		t.Errorf("%d transactions in %.3f seconds, at a rate of 500 a second", r.Transactions, r.Seconds)
	}
}

func TestErrorsOfTheServerEndTheRun(t *testing.T) {
	addr := fake(t)
	_, steps := prepared(1)
	w := &workload{steps: steps} // without the Parse in front
	o := &Options{Addr: addr, Clients: 1, User: "bench", Database: "bench", Time: time.Minute}
	clients, err := connectAll(o, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(o, w, clients)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if _, err := l.run(); err == nil || err.Error() != `26000 prepared statement "bench_1" does not exist` {
		t.Errorf("got error %v", err)
	}
}

// The fake server must look like PostgreSQL to a driver that nobody here has written.
func TestDriverTalksToTheFakeServer(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://bench@%s/bench?sslmode=prefer", fake(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for range 2 { // the second time with the statement prepared
		var one string
		if err := conn.QueryRow(ctx, "select 1").Scan(&one); err != nil || one != "1" {
			t.Fatalf("got %q, error %v", one, err)
		}
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status := conn.PgConn().TxStatus(); status != 'T' {
		t.Errorf("transaction status %q in a transaction", status)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(ctx, "select repeat('x', 10) from generate_series(1, 1000)")
	if err != nil {
		t.Fatal(err)
	}
	long, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(long) != 1000 || long[0] != "xxxxxxxxxx" {
		t.Errorf("got %d rows, error %v", len(long), err)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for us := 1; us <= 1000; us++ {
		h.add(time.Duration(us) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99} {
		t.Run(fmt.Sprint(q), func(t *testing.T) {
			if got, want := h.quantile(q), q*1000; math.Abs(got-want) > want*0.02+1 {
				t.Errorf("got %.1f µs, want %.1f", got, want)
			}
		})
	}
	for v := uint64(1); v < 1<<62; v = v*3 + 1 {
		if i := bucket(v); floor(i) > v || floor(i+1) <= v {
			t.Errorf("%d is in bucket %d, which holds %d to %d", v, i, floor(i), floor(i+1))
		}
	}
}

// The exchange of RFC 7677, section 3; there the client names its user, which PostgreSQL's clients leave out.
func TestSCRAMIsThatOfTheRFC(t *testing.T) {
	p := &proof{password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO", user: "user"}
	got, err := p.final("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	if err != nil {
		t.Fatal(err)
	}
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
