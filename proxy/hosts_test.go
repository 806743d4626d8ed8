package proxy_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// twoServers is a primary and its streaming standby, with a role that both know.
type twoServers struct {
	primary, standby *pgtest.Cluster
	role, password   string
}

func startTwo(t *testing.T, inst cluster.Installation) *twoServers {
	t.Helper()
	two := &twoServers{primary: pgtest.Start(t, inst)}
	two.role, two.password = two.primary.NewRole(t)
	two.primary.Exec(t, "postgres", "CREATE TABLE story (n int); GRANT ALL ON story TO "+two.role)
	two.standby = pgtest.StartStandby(t, two.primary)
	two.standby.Caught(t, two.primary)
	return two
}

// way leads to both servers.
func (two *twoServers) way(p server.Policy) *server.Config {
	return &server.Config{
		Hosts: []string{two.primary.Address(), two.standby.Address()}, Group: server.NewGroup(p), Database: "postgres",
		ConnectTimeout: 10 * time.Second,
		Password:       func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(two.password), nil },
	}
}

func (two *twoServers) start(t *testing.T, p server.Policy, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	return startOn(t, two.primary, two.role, two.password, func(o *pgtest.ProxyOptions) {
		o.Server = two.way(p)
		if change != nil {
			change(o)
		}
	})
}

// TestSwitchOver: a standby is promoted and the primary stopped, as an administrator would, while clients write. They go on at the
// other server; a request is lost only where the old primary has cut it off, and says so.
func TestSwitchOver(t *testing.T) {
	t.Parallel()
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		t.Parallel()
		two := startTwo(t, inst)
		f := two.start(t, server.Policy{Attrs: server.AttrsPrimary, CheckInterval: time.Second, LoginRetry: time.Second},
			func(o *pgtest.ProxyOptions) { o.FailoverWait = patience })
		const writers = 4
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var done, lost atomic.Int64
		for i := range writers {
			c, err := pgx.Connect(ctx, f.DSN("postgres", two.role, "", "disable"))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer func() { c.Close(context.Background()) }()
				for n := 0; ctx.Err() == nil; n++ {
					_, err := c.Exec(context.Background(), "INSERT INTO story VALUES ("+strconv.Itoa(i)+")")
					switch code := sqlState(err); {
					case err == nil:
						done.Add(1)
					case strings.Contains("57P01 08006", code): // the old primary ends its sessions, or the proxy says that it has
						lost.Add(1)
						if c, err = pgx.Connect(context.Background(), f.DSN("postgres", two.role, "", "disable")); err != nil {
							t.Errorf("a client could not come back: %v", err)
							return
						}
					default:
						t.Errorf("a writer got %v", err)
						return
					}
				}
			})
		}
		soon(t, "they write", func() bool { return done.Load() > 100 })
		if err := two.primary.Shutdown(); err != nil {
			t.Error(err)
		}
		two.standby.Promote(t)
		before := done.Load()
		soon(t, "they write at the other server", func() bool { return done.Load() > before+100 })
		stop()
		wg.Wait()
		t.Logf("%d writes, %d lost in flight", done.Load(), lost.Load())
		if lost.Load() > 2*writers {
			t.Errorf("%d requests were lost", lost.Load())
		}
	})
}

// TestFormerPrimary: when another server has become the primary although the old one still runs, connections to the old one are
// closed: at once when idle, else when their transaction is over.
func TestFormerPrimary(t *testing.T) {
	t.Parallel()
	two := startTwo(t, pgtest.Newest(t))
	f := two.start(t, server.Policy{Attrs: server.AttrsStandby, CheckInterval: 200 * time.Millisecond}, nil)
	a, b := f.login(t), f.login(t)
	const port = "SELECT current_setting('port') || ' ' || pg_is_in_recovery()"
	if got, want := a.one(port), strconv.Itoa(two.standby.Port)+" true"; got != want {
		t.Fatalf("served by %s, want %s", got, want)
	}
	a.expect("BEGIN", "C(BEGIN) Z(T)")
	b.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)") // a second connection, which becomes idle
	two.standby.Promote(t)
	soon(t, "the idle connection is closed", func() bool { return f.PoolStats().Closed[pool.HostChanged] >= 1 })
	if got := a.one("SELECT pg_is_in_recovery()"); got != "f" {
		t.Errorf("in its transaction: %s", got)
	}
	a.expect("COMMIT", "C(COMMIT) Z(I)")
	soon(t, "the other one, too", func() bool { return f.PoolStats().Closed[pool.HostChanged] >= 2 })
	if got := b.ask("SELECT 1"); got != "E(57P03) Z(I)" {
		t.Errorf("without any standby: %s", got)
	}
}

// TestReadOnlyPool: reads go to the standby while there is one, and come back to it.
func TestReadOnlyPool(t *testing.T) {
	t.Parallel()
	two := startTwo(t, pgtest.Newest(t))
	f := two.start(t, server.Policy{Attrs: server.AttrsPreferStandby, CheckInterval: 200 * time.Millisecond, LoginRetry: 200 * time.Millisecond},
		func(o *pgtest.ProxyOptions) { o.FailoverWait = patience })
	p := f.login(t)
	where := func() string {
		for range 10 { // the connection that breaks takes its request along
			p.query("SELECT pg_is_in_recovery()")
			switch got := p.answer(); {
			case strings.HasPrefix(got, "T D("):
				return got[4:5]
			case strings.HasSuffix(got, "EOF"):
				p = f.login(t)
			}
		}
		return "?"
	}
	if got := where(); got != "t" {
		t.Fatalf("reads at %s", got)
	}
	p.expect("INSERT INTO story VALUES (1)", "E(25006) Z(I)")
	if err := two.standby.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if got := where(); got != "f" {
		t.Errorf("without a standby: reads at %s", got)
	}
	if err := two.standby.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "reads are at the standby again", func() bool { return where() == "t" })
}

// TestWriteRefused: a server that answers a write with 25006 is looked at again, although no check is due, and is left when it is a
// standby now.
func TestWriteRefused(t *testing.T) {
	fakes := []*fakePG{startFake(t), startFake(t)}
	say := func(fake *fakePG, standby string) {
		fake.mu.Lock()
		fake.says = [][2]string{{"in_hot_standby", standby}}
		fake.mu.Unlock()
	}
	say(fakes[0], "off")
	say(fakes[1], "on")
	way := fakeWay(fakes[0])
	way.Hosts = append(way.Hosts, fakes[1].Addr().String())
	way.Group = server.NewGroup(server.Policy{Attrs: server.AttrsPrimary, CheckInterval: time.Hour})
	f := startBefore(t, fakes[0], func(o *pgtest.ProxyOptions) { o.Server = way })
	p := f.login(t)
	p.expect("SELECT 1", "C(SELECT 1) Z(I)")
	soon(t, "the first look is over", func() bool { return strings.Contains(way.Group.String(), " standby") })
	say(fakes[0], "on")
	say(fakes[1], "off")
	fakes[0].misbehave(nil, func(c net.Conn, sql string) bool {
		c.Write(wire.AppendReadyForQuery(report("ERROR", "25006"), 'I'))
		return true
	})
	soon(t, "the new primary serves", func() bool { return p.ask("INSERT") == "C(INSERT) Z(I)" })
	if n := f.PoolStats().Closed[pool.HostChanged]; n != 1 {
		t.Errorf("%d connections were closed because of their host", n)
	}
}

// TestWaitForFailOver: without failover_wait clients hear at once that there is no server; with it they wait, but not for what will
// not change.
func TestWaitForFailOver(t *testing.T) {
	for _, test := range []struct {
		name       string
		wait, room time.Duration
		refusal    claimpool.Code
		want       string
	}{
		{"no wait", 0, patience, "57P03", "E(57P03) Z(I)"},
		{"the wait is over", 300 * time.Millisecond, patience, "57P03", "E(57P03) Z(I)"},
		{"the queue's time is over first", patience, 300 * time.Millisecond, "57P03", "E(57P03) Z(I)"},
		{"a wrong password", patience, patience, "28P01", "E(28P01) Z(I)"},
		{"the server comes back", patience, patience, "", "C(SELECT 1) Z(I)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake := startFake(t)
			f := startBefore(t, fake, func(o *pgtest.ProxyOptions) { o.FailoverWait, o.Pool.QueueWait = test.wait, test.room })
			p := f.login(t)
			refuse := func(code claimpool.Code) func(net.Conn) bool {
				return func(c net.Conn) bool { c.Write(report("FATAL", code)); return true }
			}
			if test.refusal != "" {
				fake.misbehave(refuse(test.refusal), nil)
			} else {
				fake.misbehave(refuse("57P03"), nil)
			}
			fake.drop()
			soon(t, "the connection is lost", func() bool { return f.PoolStats().Idle == 0 })
			p.query("SELECT 1")
			if test.refusal == "" {
				f.awaitWaiting(t, 1)
				fake.misbehave(nil, nil)
			}
			if got := p.answer(); got != test.want {
				t.Errorf("told %s, want %s", got, test.want)
			}
		})
	}
}

// TestClaimsOnAStandby: the extension hands a standby over as it does a primary. (The SQL dialect: database.TestHotStandby.)
func TestClaimsOnAStandby(t *testing.T) {
	inst := pgtest.Newest(t)
	if pgtest.Headers(inst.Major) == "" {
		t.Fatalf("no headers of PostgreSQL %d: run scripts/setup.sh test", inst.Major)
	}
	n := pgtest.StartNative(t, inst)
	f := nativeOn(t, n, nil)
	c := n.Connect(t, "postgres", cluster.Superuser, "")
	library := value(t, c, "SHOW shared_preload_libraries")
	standby := pgtest.StartStandby(t, n.Cluster, pgtest.WithSetting("shared_preload_libraries", library),
		pgtest.WithSetting("claimpool.proxy_keys", n.Key.Setting()))
	standby.Caught(t, n.Cluster)
	o := f.options
	o.Cluster, o.Pool = standby, pgtest.DefaultPool()
	o.Pool.Size = 1
	f.Proxy = pgtest.StartProxy(t, o)
	for _, tenant := range []string{"t1", "t2", "t1"} {
		got := value(t, f.connect(t, tenant), "SELECT pg_is_in_recovery() || ' ' || string_agg(DISTINCT tenant, ',') || ' ' || count(*) FROM note")
		if want := "true " + tenant + " 10"; got != want {
			t.Errorf("tenant %s saw %q, want %q", tenant, got, want)
		}
	}
}
