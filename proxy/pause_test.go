package proxy_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// pauses pauses a database, or ends that, and checks how many connections are in use.
func (f *plain) pauses(t *testing.T, database string, on bool, busy int) {
	t.Helper()
	if got, known, err := f.Pause(t.Context(), database, on); got != busy || !known || err != nil {
		t.Fatalf("in use: %d, want %d; %v %v", got, busy, known, err)
	}
}

// TestListenInAPause: who begins to listen waits for the end of the pause, within the bounds of the queue; what listens already goes on,
// and so does a transaction.
func TestListenInAPause(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		listening(o)
		o.Pool.Size = 2
	})
	a, b, gone := f.login(t), f.login(t), f.login(t)
	a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	f.pauses(t, "postgres", true, 0)
	for _, p := range []*peer{a, b, gone} {
		p.query("LISTEN news")
	}
	gone.Close()
	soon(t, "two wait", func() bool { return f.Clients() == 2 && f.Listeners() == 1 })
	soon(t, "no server is left", func() bool { return f.count(t, "true") == 0 })
	f.pauses(t, "postgres", true, 0)
	f.pauses(t, "postgres", false, 0)
	for _, p := range []*peer{a, b} {
		if got := p.answer(); got != "C(LISTEN) Z(I)" {
			t.Fatal(got)
		}
	}
	c := f.login(t)
	c.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	f.pauses(t, "postgres", true, 1) // the one that listens
	c.expect("LISTEN news", "C(LISTEN) Z(I)")
	f.cluster.Exec(t, "postgres", "NOTIFY news, 'one'")
	for _, p := range []*peer{a, b, c} {
		if got := p.news(); got != "news one" {
			t.Errorf("heard %q", got)
		}
	}

	f = startPlain(t, listening)
	a = f.login(t)
	a.expect("BEGIN", "C(BEGIN) Z(T)")
	f.pauses(t, "postgres", true, 1)
	a.expect("LISTEN news", "C(LISTEN) Z(T)")
	a.expect("COMMIT", "C(COMMIT) Z(I)")
	soon(t, "only the listener is left", func() bool { return f.PoolStats().Leased == 0 && f.count(t, "true") == 1 })
	f.pauses(t, "postgres", true, 1)

	f = startPlain(t, func(o *pgtest.ProxyOptions) {
		listening(o)
		o.Pool.QueueWait = 100 * time.Millisecond
	})
	a = f.login(t)
	f.pauses(t, "postgres", true, 0)
	a.expect("LISTEN news", "E(53300) Z(I)")
	if n := f.count(t, "true"); n != 0 {
		t.Errorf("%d connections", n)
	}
	f.pauses(t, "postgres", false, 0)
	a.expect("LISTEN news", "C(LISTEN) Z(I)")
}

// TestReplicationInAPause: a new connection for replication waits for the end of the pause, within the bounds of the queue; one that is there
// goes on.
func TestReplicationInAPause(t *testing.T) {
	t.Parallel() // it waits
	f := startReplication(t, pgtest.Newest(t), nil)
	there := f.replicate(t, "database").ready()
	f.pauses(t, "replication", true, 1)
	hasty := f.options.Config(t)
	hasty.Databases["replication"].Pool.QueueWait = 50 * time.Millisecond
	f.Reload(hasty)
	if got := f.replicate(t, "database").gone(); got != "E(53300 fatal) EOF" {
		t.Errorf("told %s", got)
	}
	f.Reload(f.options.Config(t))
	waits := f.replicate(t, "database")
	soon(t, "it waits", func() bool { return f.Clients() == 2 })
	there.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	f.pauses(t, "replication", true, 1)
	if n := f.count(t, "true"); n != 1 {
		t.Errorf("%d connections", n)
	}
	f.pauses(t, "replication", false, 0)
	waits.ready().expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	f.pauses(t, "replication", true, 2)
	there.expect("SELECT 2", "T D(2) C(SELECT 1) Z(I)")
}

// TestLoginTimeoutInAPause: a login that waits for the end of the pause until limits.login_timeout is told what it waits for.
func TestLoginTimeoutInAPause(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		limits(func(l *proxy.Limits) { l.LoginTimeout = 1500 * time.Millisecond })(o)
		o.Replication = proxy.ReplicationAllow
	})
	f.pauses(t, "postgres", true, 0)
	for name, start := range map[string]func(*peer) *peer{
		"a client":    func(p *peer) *peer { return p.start(wire.Version30, f.role) },
		"replication": func(p *peer) *peer { return p.start(wire.Version30, f.role, [2]string{"replication", "database"}) },
	} {
		if e := start(f.dial(t)).failure(); e.Severity != "FATAL" || e.Code != "57P03" || e.Message != "the database is paused" {
			t.Errorf("%s is told %+v", name, e)
		}
	}
}

// TestHostsInAPause: nobody looks at the servers of a paused database.
func TestHostsInAPause(t *testing.T) {
	t.Parallel() // it waits
	var looks atomic.Int64
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		one := &twoServers{primary: o.Cluster, standby: o.Cluster, password: o.Password}
		o.Server = one.way(server.Policy{Attrs: server.AttrsPrimary, CheckInterval: time.Second, Lookup: func(context.Context, string) ([]netip.Addr, error) {
			looks.Add(1)
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}})
		o.Server.TLS.Mode = server.ModeDisable
		o.Server.Hosts = []string{"db.example.com" + strings.TrimPrefix(o.Cluster.Address(), "127.0.0.1")}
	})
	p := f.login(t)
	again := func() {
		t.Helper()
		from := looks.Load()
		soon(t, "two looks", func() bool { return looks.Load() > from+1 })
	}
	again()
	f.pauses(t, "postgres", true, 0)
	from, since := looks.Load(), time.Now()
	soon(t, "there was time for some", func() bool { return time.Since(since) > 4*time.Second })
	if n := looks.Load() - from; n > 1 { // one may have been under way
		t.Errorf("%d looks in a pause", n)
	}
	f.pauses(t, "postgres", false, 0)
	again()
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}
