package proxy_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// startFaulty is a proxy in front of a cluster of its own, which the test may break.
func startFaulty(t *testing.T, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	c := pgtest.Start(t, pgtest.Newest(t), pgtest.WithSetting("synchronous_commit", "on")) // it survives a crash
	role, password := c.NewRole(t)
	return startOn(t, c, role, password, change)
}

func pidOf(t testing.TB, p *peer) int {
	t.Helper()
	pid, err := strconv.Atoi(p.one("SELECT pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// heals waits until a query works again, and holds the pool to be prompt from the moment that PostgreSQL can be reached.
func (f *plain) heals(t *testing.T, p *peer) {
	t.Helper()
	begin := time.Now()
	soon(t, "a query works again", func() bool {
		got := p.ask("SELECT 1")
		if strings.HasSuffix(got, "EOF") {
			t.Fatalf("the client was cut off: %s", got)
		}
		return got == "T D(1) C(SELECT 1) Z(I)"
	})
	if took := time.Since(begin); took > prompt {
		t.Errorf("healed after %v", took)
	}
}

func TestServerDies(t *testing.T) {
	t.Parallel() // it waits
	f := startFaulty(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 3 })
	busy, inside, quiet := f.login(t), f.login(t), f.login(t)

	t.Run("terminated by an administrator", func(t *testing.T) {
		inside.expect("BEGIN", "C(BEGIN) Z(T)")
		f.cluster.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pidOf(t, inside)))
		if got := inside.gone(); got != "E(57P01 fatal) EOF" {
			t.Errorf("the client in a transaction was told %s", got)
		}
		f.heals(t, quiet)
	})
	t.Run("terminated while idle", func(t *testing.T) {
		pid := pidOf(t, quiet)
		f.cluster.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
		soon(t, "the proxy has noticed", func() bool {
			return strings.Contains(f.Log.String(), fmt.Sprintf(`"server connection lost" pool=postgres/%s server=%d`, f.role, pid))
		})
		f.heals(t, quiet)
	})
	t.Run("killed", func(t *testing.T) {
		inside = f.login(t)
		inside.expect("BEGIN", "C(BEGIN) Z(T)")
		pid := pidOf(t, inside)
		busy.query("SELECT pg_sleep(100)")
		soon(t, "the query runs", func() bool { return f.serverBusy(t, "pg_sleep(100)") })
		syscall.Kill(pid, syscall.SIGKILL)
		if got := inside.gone(); got != "E(08006 fatal) EOF" {
			t.Errorf("the client of the killed server was told %s", got)
		}
		// PostgreSQL ends all other servers, with a warning (57P02) that it may or may not get out.
		if got := busy.gone(); !strings.HasSuffix(got, "E(08006 fatal) EOF") {
			t.Errorf("the client of another server was told %s", got)
		}
		f.awaitPostgres(t)
		f.heals(t, quiet)
	})
	t.Run("halted", func(t *testing.T) { f.halt(t, quiet) })
	t.Run("restarted", func(t *testing.T) {
		busy = f.login(t)
		busy.query("SELECT pg_sleep(100)")
		soon(t, "the query runs", func() bool { return f.serverBusy(t, "pg_sleep(100)") })
		if err := f.cluster.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := busy.gone(); got != "T E(57P01 fatal) EOF" {
			t.Errorf("the client in a query was told %s", got)
		}
		f.heals(t, quiet)
	})
	if n := f.Clients(); n != 1 {
		t.Errorf("%d clients are left", n)
	}
}

func (f *plain) halt(t *testing.T, quiet *peer) {
	if err := f.cluster.Halt(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		quiet.expect("SELECT 1", "E(57P03) Z(I)")
	}
	quiet.send(wire.AppendParse(nil, "", "SELECT 1"), wire.AppendSync(nil), wire.AppendQuery(nil, "SELECT 1"))
	if got := quiet.answer() + " " + quiet.answer(); got != "E(57P03) Z(I) E(57P03) Z(I)" {
		t.Errorf("a batch was answered with %s", got)
	}
	// What servers report is known, so clients can log in and wait for better times.
	early := f.login(t)
	if err := f.cluster.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.heals(t, quiet)
	f.heals(t, early)
	early.leave()
}

// serverBusy reports whether PostgreSQL runs a query with this text.
func (f *plain) serverBusy(t *testing.T, text string) bool {
	t.Helper()
	return f.count(t, "state = 'active' AND query LIKE '%"+text+"%'") > 0
}

// count counts server connections of the proxy's role.
func (f *plain) count(t *testing.T, condition string) (n int) {
	t.Helper()
	admin, err := pgconn.Connect(t.Context(), f.cluster.DSN("postgres", "postgres", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	sql := fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s' AND %s", f.role, condition)
	result, err := admin.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if n, err = strconv.Atoi(string(result[0].Rows[0][0])); err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitPostgres waits until PostgreSQL takes connections again.
func (f *plain) awaitPostgres(t *testing.T) {
	t.Helper()
	soon(t, "PostgreSQL is back", func() bool {
		c, err := pgconn.Connect(t.Context(), f.cluster.DSN("postgres", "postgres", ""))
		if err == nil {
			c.Close(t.Context())
		}
		return err == nil
	})
}

// TestServerHangs stops processes of PostgreSQL: their sockets stay open, and nothing comes.
func TestServerHangs(t *testing.T) {
	t.Parallel() // it waits
	f := startFaulty(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Size = 2
		o.Pool.CheckAfter = time.Nanosecond
		o.Pool.QueueWait = prompt
	})
	stuck, other := f.login(t), f.login(t)
	stuck.expect("BEGIN", "C(BEGIN) Z(T)")
	pid := pidOf(t, stuck)

	t.Run("one server: its client hangs, the others do not", func(t *testing.T) {
		syscall.Kill(pid, syscall.SIGSTOP)
		defer syscall.Kill(pid, syscall.SIGCONT)
		stuck.query("SELECT 1")
		other.expect("SELECT 2", "T D(2) C(SELECT 1) Z(I)")
		// Even when it leaves, and the way back into the pool is closed.
		stuck.Close()
		soon(t, "the client is gone", func() bool { return f.Clients() == 1 })
		third := f.login(t)
		other.expect("BEGIN", "C(BEGIN) Z(T)")
		third.expect("SELECT 3", "T D(3) C(SELECT 1) Z(I)")
		other.expect("COMMIT", "C(COMMIT) Z(I)")
		third.leave()
	})
	t.Run("a server that hung while idle gives no sign of life", func(t *testing.T) {
		pid := pidOf(t, other)
		syscall.Kill(pid, syscall.SIGSTOP)
		defer syscall.Kill(pid, syscall.SIGCONT)
		other.expect("SELECT 2", "T D(2) C(SELECT 1) Z(I)")
		if got := pidOf(t, other); got == pid {
			t.Error("the server that hangs was used")
		}
	})
}

// TestPostmasterHangs: no new connection comes to life, so clients in the queue hear of it.
func TestPostmasterHangs(t *testing.T) {
	t.Parallel() // it waits
	f := startFaulty(t, nil)
	cfg := f.options
	cfg.Pool.Size = 2
	f.Reload(cfg.Config(t))
	one, two := f.login(t), f.login(t)
	one.expect("BEGIN", "C(BEGIN) Z(T)")
	if err := f.cluster.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer f.cluster.Signal(syscall.SIGCONT)
	two.query("SELECT 2")
	one.expect("SELECT 1", "T D(1) C(SELECT 1) Z(T)")
	one.expect("COMMIT", "C(COMMIT) Z(I)")
	if got := two.answer(); got != "T D(2) C(SELECT 1) Z(I)" {
		t.Errorf("the client in the queue got %s", got)
	}
}

// TestServerLimitIsLifted: PostgreSQL refuses a second connection for a while. The client that waits for it gets it soon after
// the limit is gone, though the first one is not given back.
func TestServerLimitIsLifted(t *testing.T) {
	f := startPlain(t, nil)
	f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.role+" CONNECTION LIMIT 1")
	one, two := f.login(t), f.login(t)
	one.expect("BEGIN", "C(BEGIN) Z(T)")
	two.query("SELECT 2")
	soon(t, "the second connection is refused", func() bool { return strings.Contains(f.Log.String(), "sqlstate=53300") })
	f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.role+" CONNECTION LIMIT 5")
	begin := time.Now()
	if got := two.answer(); got != "T D(2) C(SELECT 1) Z(I)" {
		t.Errorf("the client in the queue got %s", got)
	}
	if took := time.Since(begin); took > prompt {
		t.Errorf("it waited for %v", took)
	}
	one.expect("COMMIT", "C(COMMIT) Z(I)")
}

// TestServerPasswordIsWrong: the server's refusal is told; a password that was put right works at once.
func TestServerPasswordIsWrong(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Password = "wrong" })
	if got := f.dial(t).start(wire.Version30, f.role).answer(); got != "E(28P01 fatal) EOF" {
		t.Errorf("the login was answered with %s", got)
	}
	f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.role+" PASSWORD 'wrong'")
	f.login(t).expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestStalledDatabaseHindersNoOther: logins to a database that does not answer take their time, and nobody else's.
func TestStalledDatabaseHindersNoOther(t *testing.T) {
	fake := startFake(t)
	fake.misbehave(hang, nil)
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 2, LoginTimeout: patience}
	})
	cfg := f.options.Config(t)
	stalled := pgtest.ProxyOptions{Database: "stalled", Role: "app", Server: fakeWay(fake)}
	stalled.Server.ConnectTimeout = time.Minute
	cfg.Databases["stalled"] = stalled.Config(t).Databases["stalled"]
	f.Reload(cfg)
	for range 20 {
		f.dial(t).start(wire.Version30, "app", [2]string{"database", "stalled"})
	}
	soon(t, "the logins are under way", func() bool { return f.Clients() == 20 })
	begin := time.Now()
	f.login(t).expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	if took := time.Since(begin); took > prompt {
		t.Errorf("a login to another database took %v", took)
	}
}
