package proxy_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// state is that of the only pool.
func (f *plain) state(t testing.TB) proxy.PoolState {
	t.Helper()
	list, err := f.Pools(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

// TestPools: who pins what, who waits and for how long is seen while it lasts, and not behind it.
func TestPools(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		chosen(pinned, 2, 2)(o)
		o.PinTimeout = time.Hour
	})
	a, b, c := f.login(t), f.login(t), f.login(t)
	a.expect("select pg_advisory_lock(7)", "T D() C(SELECT 1) Z(I)")
	a.expect("create temp table scratch (a int)", "C(CREATE TABLE) Z(I)")
	soon(t, "two features", func() bool { return len(f.state(t).PinnedBy) == 2 })
	b.expect("begin", "C(BEGIN) Z(T)")
	c.query("select 1")
	soon(t, "somebody waits", func() bool {
		s := f.state(t)
		return s.Waiting == 1 && s.LongestWait > 0 && s.OldestPin > s.LongestWait
	})
	s := f.state(t)
	want := map[string]int{"advisory_locks": 1, "temporary_tables": 1}
	if s.Active != 2 || s.Idle != 0 || s.Pinned != 1 || !maps.Equal(s.PinnedBy, want) || s.Pool.Pins != 1 || s.Counts.PinsTimedOut != 0 || s.Unsure != 0 {
		t.Errorf("servers: %+v", s)
	}
	if s.Clients != 3 || s.Working != 1 {
		t.Errorf("clients: %+v", s)
	}
	if s.Limits.Mode != pool.Transaction || s.Limits.Size != 2 || s.PinTimeout != time.Hour || s.Database == "" || s.Role == "" {
		t.Errorf("%+v", s)
	}
	b.expect("commit", "C(COMMIT) Z(I)")
	if got := c.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
	a.ask("discard all")
	soon(t, "nothing is under way", func() bool {
		s := f.state(t)
		return s.Active == 0 && s.Idle == 2 && s.Pinned == 0 && len(s.PinnedBy) == 0 && s.OldestPin == 0 && s.Waiting == 0 && s.LongestWait == 0 && s.Working == 0
	})

	b.send(extended("select 1"), wire.AppendQuery(nil, "select 2"))
	soon(t, "nobody can tell what is still to be answered", func() bool { return f.state(t).Unsure == 1 })
	b.Close()
	soon(t, "its server goes with it", func() bool { s := f.state(t); return s.Unsure == 0 && s.Clients == 2 })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if list, err := f.Pools(ctx); err != nil && !errors.Is(err, context.Canceled) || err == nil && len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	f.Close()
	if list, err := f.Pools(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("behind the end: %v, %v", list, err)
	}
}
