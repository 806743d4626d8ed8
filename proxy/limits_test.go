package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

func limits(change func(*proxy.Limits)) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		o.Limits = proxy.Limits{MaxClients: 1000, MaxLogins: 64, LoginTimeout: patience}
		change(&o.Limits)
	}
}

func TestMaxClients(t *testing.T) {
	f := startPlain(t, limits(func(l *proxy.Limits) { l.MaxClients = 3 }))
	a, _, _ := f.login(t), f.loginTLS(t), f.login(t)
	for range 3 {
		if got := f.dial(t).start(wire.Version30, f.role).answer(); got != "E(53300 fatal) EOF" {
			t.Errorf("a client too many was told %s", got)
		}
	}
	f.cancel(t, a) // a cancel request is not a client
	a.leave()
	soon(t, "there is room again", func() bool { return f.dial(t).start(wire.Version30, f.role).answer() == "R Z(I)" })
}

func TestIdleTimeouts(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, limits(func(l *proxy.Limits) {
		l.IdleTimeout, l.TransactionIdleTimeout = 3*time.Second, 300*time.Millisecond // the first is longer than four logins take on a busy machine
	}))
	idle, inside, failed, busy := f.login(t), f.loginTLS(t), f.login(t), f.login(t)
	inside.expect("BEGIN", "C(BEGIN) Z(T)")
	failed.send(wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 1/0"))
	if got := failed.answer() + " " + failed.answer(); got != "C(BEGIN) Z(T) E(22012) Z(E)" {
		t.Fatal(got)
	}
	busy.query("SELECT 1 FROM pg_sleep(6)")
	for name, want := range map[*peer]string{idle: "57P05", inside: "25P03", failed: "25P03"} {
		if got := name.gone(); got != "E("+want+" fatal) EOF" {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	soon(t, "the transactions are rolled back", func() bool { return f.count(t, "state LIKE 'idle in%'") == 0 })
	if got := busy.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
		t.Errorf("a client in a query got %s", got)
	}
}

// TestLivesOfServers: the minimum stays open, what is idle or old goes.
func TestLivesOfServers(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Size, o.Pool.Min, o.Pool.IdleTimeout = 4, 2, 300*time.Millisecond
	})
	p := f.login(t)
	soon(t, "the minimum is open", func() bool { return f.PoolStats().Idle >= 2 })
	var inside []*peer
	for range 4 {
		c := f.login(t)
		c.expect("BEGIN", "C(BEGIN) Z(T)")
		inside = append(inside, c)
	}
	for _, c := range inside {
		c.leave()
	}
	soon(t, "the minimum is left", func() bool { st := f.PoolStats(); return st.Idle == 2 && st.Leased+st.Opening == 0 })
	p.leave()

	f = startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Lifetime = 500 * time.Millisecond })
	p = f.login(t)
	pid := pidOf(t, p)
	p.expect("BEGIN", "C(BEGIN) Z(T)")
	soon(t, "the server is old", func() bool {
		return p.one("SELECT clock_timestamp() > backend_start + interval '2 s' FROM pg_stat_activity WHERE pid = pg_backend_pid()") == "t"
	})
	p.expect("COMMIT", "C(COMMIT) Z(I)")
	if got := pidOf(t, p); got == pid {
		t.Error("a server outlived its time")
	}
	soon(t, "the old one is closed", func() bool { return f.PoolStats().Closed[pool.Lifetime] >= 1 })
}

// TestReserve: a client that has waited long enough gets a server beyond the pool's size, which goes again.
func TestReserve(t *testing.T) {
	f, holder := full(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Reserve, o.Pool.ReserveAfter, o.Pool.IdleTimeout = 1, 50*time.Millisecond, 200*time.Millisecond
	})
	p := f.login(t)
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	soon(t, "the reserve is closed", func() bool { return f.PoolStats().Idle <= 1 })
}

func TestStatementMode(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Mode, o.Pool.Size = pool.Statement, 1 })
	p := f.login(t)
	p.expect("SELECT 1; SELECT 2", "T D(1) C(SELECT 1) T D(2) C(SELECT 1) Z(I)")
	p.expect("BEGIN; SELECT 1; COMMIT", "C(BEGIN) T D(1) C(SELECT 1) C(COMMIT) Z(I)")
	p.send(batch("SELECT 1"))
	if got := p.answer(); got != "1 2 D(1) C(SELECT 1) Z(I)" {
		t.Errorf("a batch got %s", got)
	}
	for _, begin := range []string{"BEGIN", "SELECT 1; BEGIN", "START TRANSACTION"} {
		p := f.login(t)
		p.query(begin)
		if got := p.gone(); got[max(0, len(got)-18):] != "E(0A000 fatal) EOF" {
			t.Errorf("%s got %s", begin, got)
		}
	}
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestSessionMode: a client keeps its server and all that it has made there, and nothing of it is left for the next one.
func TestSessionMode(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Mode, o.Pool.Size, o.Pool.QueueWait = pool.Session, 1, 5*time.Second // longer than opening a server takes on a busy machine
	})
	p := f.login(t)
	p.expect("CREATE TEMP TABLE mine AS SELECT 7 AS n; SET statement_timeout = '7s'; SELECT pg_advisory_lock(7); LISTEN seven; PREPARE seven AS SELECT 7",
		"C(SELECT 1) C(SET) T D() C(SELECT 1) C(LISTEN) C(PREPARE) Z(I)")
	p.expect("SELECT n FROM mine", "T D(7) C(SELECT 1) Z(I)")
	f.cluster.Exec(t, "postgres", "NOTIFY seven")
	if word, _ := p.message(); word != "A" {
		t.Errorf("the notification came as %s", word)
	}
	if got := f.dial(t).start(wire.Version30, f.role).gone(); got != "R E(53300 fatal) EOF" {
		t.Errorf("a client too many got %s", got)
	}
	p.leave()
	next := f.login(t)
	next.expect("SELECT n FROM mine", "E(42P01) Z(I)")
	next.expect("EXECUTE seven", "E(26000) Z(I)")
	next.expect("SHOW statement_timeout", "T D(0) C(SHOW) Z(I)")
	next.expect("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "T D(0) C(SELECT 1) Z(I)")
	next.expect("SELECT count(*) FROM pg_listening_channels()", "T D(0) C(SELECT 1) Z(I)")
}

// TestSeveralLoops: clients of several roles over several loops, each in its own pool.
func TestSeveralLoops(t *testing.T) {
	const roles = 5
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Loops, o.Pool.Size, o.Role, o.Password = 2, 2, "", "same" })
	var names []string
	for range roles {
		name, _ := f.cluster.NewRole(t)
		f.cluster.Exec(t, "postgres", "ALTER ROLE "+name+" PASSWORD 'same'")
		names = append(names, name)
	}
	ended := make(chan error, 4*roles)
	for i := range cap(ended) {
		name := names[i%roles]
		p := f.dial(t)
		if i%3 == 0 {
			p = f.dialTLS(t)
		}
		p.start(wire.Version30, name).ready()
		go func() {
			for range 50 {
				if got := p.ask("SELECT current_user"); got != "T D("+name+") C(SELECT 1) Z(I)" {
					ended <- fmt.Errorf("%s was %s", name, got)
					return
				}
			}
			ended <- nil
		}()
	}
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if st := f.PoolStats(); st.Idle > 2*roles || st.Idle < roles {
		t.Errorf("%d servers for %d pools of 2", st.Idle, roles)
	}
}

// TestClientLimits: each limit counts its own kind of clients, refuses the one too many, and counts down again.
func TestClientLimits(t *testing.T) {
	for want, change := range map[string]func(*proxy.Limits){
		"too many connections for database": func(l *proxy.Limits) { l.ClientsPerDatabase = 2 },
		"too many connections for role":     func(l *proxy.Limits) { l.ClientsPerRole = 2 },
		"too many connections for this id":  func(l *proxy.Limits) { l.ClientsPerIdentity = 2 },
		"too many connections from this ad": func(l *proxy.Limits) { l.ClientsPerAddress = 2 },
	} {
		t.Run(want, func(t *testing.T) {
			f := startPlain(t, limits(change))
			a, _ := f.login(t), f.login(t)
			for range 3 {
				if got := f.dial(t).start(wire.Version30, f.role).answer(); got != "E(53300 fatal) EOF" {
					t.Errorf("a client too many was told %s", got)
				}
			}
			if !strings.Contains(f.Log.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
			f.cancel(t, a) // a cancel request is not a client
			a.leave()
			soon(t, "there is room again", func() bool { return f.dial(t).start(wire.Version30, f.role).answer() == "R Z(I)" })
		})
	}
}

// TestClientLimitsTellIdentitiesApart: one identity at its limit leaves room for another.
func TestClientLimitsTellIdentitiesApart(t *testing.T) {
	f := startPlain(t, limits(func(l *proxy.Limits) { l.ClientsPerIdentity = 1 }))
	f.dial(t).start(wire.Version30, "ann").ready()
	if got := f.dial(t).start(wire.Version30, "ann").answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("ann's second was told %s", got)
	}
	f.dial(t).start(wire.Version30, "bob").ready()
}
