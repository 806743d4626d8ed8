package proxy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackConsoleFullOfReaders: the attacker may read in the console. He takes all of its seats, so that nobody can revoke his tokens there.
//
// Must: He is refused (53300) before they are full, and an administrator comes in.
// Dialects: none
func TestAttackConsoleFullOfReaders(t *testing.T) {
	t.Parallel()
	f := startConsole(t, nil)
	for n := 0; ; n++ {
		if n == 32 {
			t.Fatal("he has all seats")
		}
		p := f.steer(t, "rea", map[string]any{"n": n}) // by as many tokens
		if got := p.answer(); got != "R Z(I)" && got != "E(53300 fatal) EOF" {
			t.Fatal(got)
		} else if got != "R Z(I)" {
			break
		}
	}
	f.steer(t, "ann", nil).ready().expect("SHOW VERSION", "T D(claimpool test) C(SHOW) Z(I)")
}

// TestAttackLoginsInAPause: the attackers log in while an administrator has paused the database, to have connections to it opened behind his
// back. And an opening that was under way fails, as it does when the database stops.
//
// Must: No connection must be opened, and nobody who waits must be refused; behind the pause all go on.
// Dialects: none
func TestAttackLoginsInAPause(t *testing.T) {
	t.Parallel()
	var v *pgtest.Valve
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		v = pgtest.StartValve(t, o.Cluster.Address())
		password := o.Password
		o.Pool.Size = 1
		o.Server = &server.Config{
			Hosts: []string{v.Addr().String()}, Database: "postgres", ConnectTimeout: 3 * time.Second, TLS: server.TLS{Mode: server.ModeDisable},
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil },
		}
	})
	pause := func(on bool) {
		t.Helper()
		if _, known, err := f.Pause(t.Context(), "postgres", on); !known || err != nil {
			t.Fatalf("%v %v", known, err)
		}
	}
	pause(true)
	early := []*peer{f.dial(t).start(wire.Version30, f.role), f.dial(t).start(wire.Version30, f.role)}
	soon(t, "they log in", func() bool { return f.Asking() == 2 })
	if st := f.PoolStats(); st.Opened+uint64(st.Opening) != 0 {
		t.Errorf("opened: %+v", st)
	}
	pause(false)
	for _, p := range early {
		p.ready()
	}
	early[0].expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	pause(true)
	early[1].query("SELECT 2")
	f.awaitWaiting(t, 1)
	v.Shut()
	pause(false)
	if st := f.PoolStats(); st.Opening != 1 {
		t.Fatalf("%+v", st)
	}
	pause(true)
	soon(t, "the opening fails", func() bool { return f.PoolStats().Opening == 0 })
	if st := f.PoolStats(); st.Waiting != 1 {
		t.Errorf("who has waited was told %s", early[1].answer())
	}
	v.Open()
	pause(false)
	if got := early[1].answer(); got != "T D(2) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
}

// TestAttackPauseThatNobodyEnds: the attacker may do nothing but wait, while administrators pause and resume the database at the same time, or
// from a connection that ends meanwhile; and then the proxy is stopped in a pause.
//
// Must: What SHOW DATABASES says must be so; and the proxy must not wait for those who wait in vain, but tell them (57P01).
// Dialects: none
func TestAttackPauseThatNobodyEnds(t *testing.T) {
	t.Parallel()
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Mode = pool.Transaction })
	p := f.login(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	for round := range 20 {
		var both sync.WaitGroup
		both.Go(func() { f.Pause(gone, "postgres", true) })
		both.Go(func() { f.Pause(t.Context(), "postgres", false) })
		both.Wait()
		p.query("SELECT 1")
		if f.IsPaused("postgres") {
			f.awaitWaiting(t, 1)
			f.Pause(gone, "postgres", false)
		}
		if got := p.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
			t.Fatalf("round %d: %s", round, got)
		}
	}
	if _, _, err := f.Pause(t.Context(), "postgres", true); err != nil {
		t.Fatal(err)
	}
	p.query("SELECT 2")
	f.awaitWaiting(t, 1)
	ctx, stop := context.WithTimeout(t.Context(), prompt)
	defer stop()
	if err := f.Shutdown(ctx); err != nil {
		t.Errorf("the proxy does not stop: %v", err)
	}
	if got := p.gone(); got != "E(57P01 fatal) EOF" {
		t.Errorf("he is told %s", got)
	}
}

// TestAttackPauseInVain: the attacker counts on an administrator who believes that nothing uses the database any more: "*" was paused, or a
// connection that listens has stayed.
//
// Must: Nothing must be said to be paused that is not, and what stays must be counted.
// Dialects: none
func TestAttackPauseInVain(t *testing.T) {
	t.Parallel()
	f := startPlain(t, listening)
	cfg := f.options.Config(t)
	cfg.Databases[proxy.Other] = cfg.Databases["postgres"]
	f.Reload(cfg)
	f.login(t).expect("LISTEN news", "C(LISTEN) Z(I)")
	if _, known, err := f.Pause(t.Context(), proxy.Other, true); known || err != nil || f.IsPaused(proxy.Other) {
		t.Errorf("all others are paused: %v %v", known, err)
	}
	if busy, known, err := f.Pause(t.Context(), "postgres", true); busy != 1 || !known || err != nil {
		t.Errorf("%d in use, %v %v", busy, known, err)
	}
}
