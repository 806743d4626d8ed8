package proxy_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackCancelBackends: PostgreSQL lets a role cancel what its other sessions do, so the attacker calls pg_cancel_backend
// on every server connection of the pool, without end, while two identities take turns on one of them. The cancels hit the
// hand-over at every point.
//
// Must: Queries may fail with 57014, and a request may have to be tried again; nobody ever sees foreign rows, or none where
// there are some.
// Dialects: sql, native, pgbouncer
func TestAttackCancelBackends(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		a := f.connect(t, "t9")
		run(t, a, "BEGIN")
		wg.Go(func() {
			for ctx.Err() == nil {
				a.Exec(ctx, `DO $$ BEGIN FOR i IN 1..500 LOOP
					PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() AND backend_type = 'client backend';
					PERFORM pg_stat_clear_snapshot(); PERFORM pg_sleep(0.002);
				END LOOP; END $$`)
			}
		})
		conns := map[string]*pgx.Conn{"t1": f.connect(t, "t1"), "t2": f.connect(t, "t2"), "t3": f.connect(t, "t3")}
		turns := pgtest.Leases(t, 300) / 3
		cancelled := func(err error) bool { return strings.Contains("57014 57P03", sqlState(err)) }
		hits, err := alternate(t.Context(), conns, turns, cancelled)
		for end := time.Now().Add(patience); hits == 0 && err == nil && time.Now().Before(end); { // a busy machine may be slow to attack
			hits, err = alternate(t.Context(), conns, 10, cancelled)
		}
		stop()
		wg.Wait()
		if err != nil {
			t.Error(err)
		}
		failed := strings.Count(f.Log.String(), "reason=handover_failed")
		t.Logf("%d leases: %d queries cancelled, %d hand-overs failed", turns*len(conns), hits, failed)
		if hits == 0 {
			t.Error("the attack did not hit anything")
		}
	})
}

// TestAttackCancelRequests: the attacker has a key for cancelling his own queries. He sends it thousands of times, while he
// works, while he does nothing, and with every bit changed, and hopes to hit the client that has his server next.
//
// Must: Nobody else's query may be cancelled.
// Dialects: sql, native, pgbouncer
func TestAttackCancelRequests(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		ctx, stop := context.WithCancel(t.Context())
		a := f.raw(t, "t9")
		a.SetDeadline(time.Time{}) // he attacks for as long as it takes
		pid, secret := a.pid, a.secret
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					key := append([]byte(nil), secret...)
					if i == 0 && n%2 == 0 { // a key that is wrong
						key[n%len(key)] ^= 1 << (n % 8)
					}
					cancelOnce(f, pid, key)
				}
			})
		}
		var cancelled atomic.Int32
		wg.Go(func() { // so that there is something to cancel, at all times
			for ctx.Err() == nil {
				a.Write(wire.AppendQuery(nil, "SELECT count(*) FROM generate_series(1, 5000)"))
				if strings.Contains(a.answer(), "57014") {
					cancelled.Add(1)
				}
			}
		})
		conns := map[string]*pgx.Conn{"t1": f.connect(t, "t1"), "t2": f.connect(t, "t2")}
		turns := pgtest.Leases(t, 120) / 2
		if _, err := alternate(t.Context(), conns, turns, nil); err != nil {
			t.Error(err)
		}
		soon(t, "for a cancel request to hit the attacker's own query", func() bool { return cancelled.Load() > 0 })
		stop()
		wg.Wait()
		t.Logf("%d queries of the neighbours, %d of the attacker cancelled", turns*len(conns), cancelled.Load())
		for _, c := range conns {
			c.Close(t.Context())
		}
		a.leave()
		cancelOnce(f, pid, secret) // the key of a client that has left
	})
}

// cancelOnce sends a CancelRequest and waits until the proxy has dealt with it.
func cancelOnce(f *tenants, pid uint32, secret []byte) {
	c, err := net.Dial("tcp", f.Address())
	if err != nil {
		return
	}
	defer c.Close()
	c.Write(wire.AppendCancelRequest(nil, pid, secret))
	c.Read(make([]byte, 1)) // EOF
}
