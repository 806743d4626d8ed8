package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// TestRoster: administrators see what each client and each server does.
func TestRoster(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(_ *consoled, o *pgtest.ProxyOptions) {
		o.Pool = pgtest.DefaultPool()
		o.Pool.Size = 2
	})
	idle, working, inTransaction, waiting := f.login(t), f.login(t), f.login(t), f.login(t)
	inTransaction.expect("BEGIN", "C(BEGIN) Z(T)")
	working.query("SELECT pg_sleep(60)")
	soon(t, "the query runs", func() bool { return f.PoolStats().Leased == 2 })
	waiting.query("SELECT 1")
	f.steer(t, "ann", nil).ready()
	seen := func() (states []string) {
		list, more, err := f.Roster(t.Context(), 100)
		if err != nil || more {
			t.Fatalf("%v %v", more, err)
		}
		for _, c := range list {
			if !strings.HasPrefix(c.Addr, "127.0.0.1:") || c.Identity == nil || c.Login.IsZero() || (c.Server != 0) != (c.Doing == "active" || c.Doing == "idle in transaction") {
				t.Errorf("%+v", c)
			}
			states = append(states, c.Doing)
		}
		return states
	}
	want := "[idle active idle in transaction waiting console]"
	soon(t, want, func() bool { return fmt.Sprint(seen()) == want })
	servers, err := f.Servers(t.Context())
	if err != nil || len(servers) != 2 {
		t.Fatalf("%+v %v", servers, err)
	}
	for _, s := range servers {
		if s.PID == 0 || s.Client == 0 || s.Addr != f.cluster.Address() || s.Doing != "active" && s.Doing != "idle in transaction" || s.Born.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	list, more, err := f.Roster(t.Context(), 2)
	if err != nil || !more || len(list) != 2 {
		t.Errorf("%d, %v, %v", len(list), more, err)
	}
	inTransaction.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
	if got := waiting.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
	idle.leave()
	soon(t, "they are idle", func() bool { return fmt.Sprint(seen()) == "[active idle idle console]" })
}

// TestRosterOfMany: more clients than are written down at once, while others come and go.
func TestRosterOfMany(t *testing.T) {
	t.Parallel()
	f := startPlain(t, nil)
	const clients = 1100
	stay := map[string]bool{}
	var leavers []*peer
	for i := range clients {
		if p := f.login(t); i%10 == 0 {
			leavers = append(leavers, p)
		} else {
			stay[p.LocalAddr().String()] = true
		}
	}
	soon(t, "the last one is there, who has heard of it before", func() bool {
		list, _, err := f.Roster(t.Context(), 10_000)
		return err != nil || len(list) == clients
	})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, p := range leavers {
			p.Close()
		}
	}()
	for ended := false; !ended; {
		select {
		case <-over:
			ended = true
		default:
		}
		list, _, err := f.Roster(t.Context(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		there, last := 0, uint64(0)
		for _, c := range list {
			if c.Number <= last {
				t.Fatalf("%d behind %d", c.Number, last)
			}
			if last = c.Number; stay[c.Addr] {
				there++
			}
		}
		if there != len(stay) {
			t.Errorf("%d of %d clients are there", there, len(stay))
		}
	}
}

// TestPause: who asks for a server waits, the free ones are closed at once and the others when their transaction is over; then all goes on.
func TestPause(t *testing.T) {
	t.Parallel()
	f := startPlain(t, nil)
	a, b := f.login(t), f.login(t)
	a.expect("BEGIN", "C(BEGIN) Z(T)")
	pid := a.one("SELECT pg_backend_pid()")
	b.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	pause := func(on bool, want int) {
		t.Helper()
		if busy, known, err := f.Pause(t.Context(), "postgres", on); busy != want || !known || err != nil || f.IsPaused("postgres") != on {
			t.Errorf("%d %v %v", busy, known, err)
		}
	}
	pause(true, 1)
	b.query("SELECT 2")
	c := f.login(t) // the proxy knows what servers report
	c.query("SELECT 3")
	f.Reload(f.options.Config(t)) // forgets no pause
	if got := a.one("SELECT pg_backend_pid()"); got != pid {
		t.Errorf("a transaction has changed its server: %s, %s", got, pid)
	}
	a.expect("COMMIT", "C(COMMIT) Z(I)")
	soon(t, "no server is left", func() bool { st := f.PoolStats(); return st.Leased+st.Idle+st.Opening == 0 && st.Waiting == 2 })
	pause(false, 0)
	if got := b.answer(); got != "T D(2) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
	if got := c.answer(); got != "T D(3) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
	a.expect("SELECT 4", "T D(4) C(SELECT 1) Z(I)")
	if _, known, err := f.Pause(t.Context(), "none", true); known || err != nil || f.IsPaused("none") {
		t.Errorf("%v %v", known, err)
	}
}

// TestKill: one client, or those of a database or a role; what they have not committed is rolled back, and others go on.
func TestKill(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(_ *consoled, o *pgtest.ProxyOptions) {
		o.Pool = pgtest.DefaultPool()
		o.Pool.Mode = pool.Transaction
	})
	a, b, c := f.login(t), f.login(t), f.login(t)
	guest := f.steer(t, "ann", nil).ready()
	b.query("SELECT pg_sleep(60)")
	soon(t, "the query runs", func() bool { return f.PoolStats().Leased == 1 })
	var list []proxy.ClientState
	soon(t, "all are there, who have heard of it before", func() bool {
		var err error
		list, _, err = f.Roster(t.Context(), 10)
		return err != nil || len(list) == 4
	})
	if len(list) != 4 {
		t.Fatalf("%+v", list)
	}
	kill := func(number uint64, database, role string, want int) {
		t.Helper()
		if n, err := f.Kill(t.Context(), number, database, role); n != want || err != nil {
			t.Errorf("%d %s/%s: %d, %v", number, database, role, n, err)
		}
	}
	kill(list[1].Number, "", "", 1)
	if got := b.gone(); !strings.HasSuffix(got, "E(57P01 fatal) EOF") {
		t.Error(got)
	}
	kill(list[1].Number, "", "", 0)
	kill(1<<40, "", "", 0)
	kill(0, "other", "", 0)
	kill(0, "postgres", "other", 0)
	a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	kill(0, "postgres", f.role, 2)
	for _, p := range []*peer{a, c} {
		if got := p.gone(); got != "E(57P01 fatal) EOF" {
			t.Error(got)
		}
	}
	guest.expect("SHOW VERSION", "T D(claimpool test) C(SHOW) Z(I)")
	kill(list[3].Number, "", "", 1)
	if got := guest.gone(); got != "E(57P01 fatal) EOF" {
		t.Error(got)
	}
	f.dial(t).start(wire.Version30, f.role).ready()
}
