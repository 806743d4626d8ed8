package proxy_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// eachOwnCluster runs an attack in both dialects on every version, on a cluster that it may break.
func eachOwnCluster(t *testing.T, change func(*pgtest.ProxyOptions), attack func(t *testing.T, f *tenants, inst cluster.Installation)) {
	t.Helper()
	t.Run(sql, func(t *testing.T) {
		pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
			t.Parallel()
			attack(t, tenantsOn(t, pgtest.Start(t, inst, survives), change), inst)
		})
	})
	t.Run(native, func(t *testing.T) {
		pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
			t.Parallel()
			attack(t, nativeOn(t, pgtest.StartNative(t, inst, survives), change), inst)
		})
	})
}

// survives lets what was committed survive a crash.
var survives = pgtest.WithSetting("synchronous_commit", "on")

// TestAttackCrash: the database crashes again and again while identities take turns on two server connections, before, in and
// behind hand-overs. Process ids come again, counters and challenges begin anew; the attacker hopes that a new server connection
// is taken for the old one, with somebody's context on it.
//
// Must: Requests may fail while there is no database; every answer is the client's own, and when the database is back, so is
// the service, for clients that have stayed and for new ones.
// Dialects: sql, native
// Not pgbouncer: there is no hand-over that a crash could hit
func TestAttackCrash(t *testing.T) {
	eachOwnCluster(t, poolOf(2), func(t *testing.T, f *tenants, _ cluster.Installation) {
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		answers := make([]int, 6)
		var mu sync.Mutex
		count := func(i int) int {
			mu.Lock()
			defer mu.Unlock()
			return answers[i]
		}
		for i := range answers {
			work.Go(func() {
				tenant := fmt.Sprintf("t%d", i)
				token := f.issuer.Mint("user-of-"+tenant, map[string]any{"tenant_id": tenant})
				var c *pgx.Conn
				for ctx.Err() == nil {
					if c == nil || c.IsClosed() {
						var err error
						if c, err = f.dial(ctx, f.role, token); err != nil {
							c = nil
							continue
						}
					}
					got, err := fetch(ctx, c, whoami)
					if err == nil && deref(got) != own(tenant) {
						t.Errorf("tenant %s sees %q", tenant, deref(got))
					}
					if err == nil {
						mu.Lock()
						answers[i]++
						mu.Unlock()
					}
				}
				if c != nil {
					c.Close(context.Background())
				}
			})
		}
		all := func(what string) {
			t.Helper()
			var before [6]int
			for i := range before {
				before[i] = count(i)
			}
			soon(t, "for everybody to be served "+what, func() bool {
				for i, n := range before {
					if count(i) < n+3 {
						return false
					}
				}
				return true
			})
		}
		all("before a crash")
		for range 3 {
			if err := f.cluster.Halt(); err != nil {
				t.Error(err)
			}
			if err := f.cluster.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			all("after a crash")
		}
		stop()
		work.Wait()
	})
}

// TestAttackStandby: behind the proxy is a hot standby, where nothing can be written: whatever keeps a note of a hand-over in a
// table fails there, and the attacker hopes for the context of the one before him.
//
// Must: Hand-overs, jwt() and row-level security are as on the primary; writes are 25006.
// Dialects: sql, native
// Not pgbouncer: it keeps no note of anything
func TestAttackStandby(t *testing.T) {
	eachOwnCluster(t, poolOf(1), func(t *testing.T, f *tenants, inst cluster.Installation) {
		mustBe(t, f.connect(t, "t1"), "t1")
		primary := f.cluster
		if err := primary.Shutdown(); err != nil {
			t.Fatal(err)
		}
		standby := *f
		copied := []pgtest.Option{pgtest.WithCopy(primary), pgtest.WithFile("standby.signal", nil)}
		if f.dialect == native {
			n := pgtest.StartNative(t, inst, copied...)
			standby.cluster, standby.options.Dialect = n.Cluster, &trusted.Native{Key: n.Key}
		} else {
			standby.cluster = pgtest.Start(t, inst, copied...)
		}
		if err := primary.Resume(t.Context()); err != nil { // for the clean-up
			t.Fatal(err)
		}
		standby.options.Cluster = standby.cluster
		s := standby.again(t)
		a, b := s.connect(t, "t1"), s.connect(t, "t2")
		if got := value(t, a, "SELECT pg_is_in_recovery()::text"); got != "true" {
			t.Fatalf("in recovery: %s", got)
		}
		for range 5 {
			mustBe(t, a, "t1")
			mustBe(t, b, "t2")
			if backend(t, a) != backend(t, b) {
				t.Error("they are not on one server connection: nothing was tested")
			}
		}
		if c := code(t, a, "INSERT INTO note VALUES (1000, 't1', 'mine')"); c != "25006" {
			t.Errorf("a write: %s", c)
		}
		if c := code(t, a, "BEGIN; SELECT 1/0"); c != "22012" {
			t.Errorf("a failing transaction: %s", c)
		}
		run(t, a, "ROLLBACK")
		mustBe(t, b, "t2")
		mustBe(t, a, "t1")
	})
}
