package extension_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackFailedHandOver: t1's neighbour cancels the hand-over to t2 when the session has been reset for it, so that PostgreSQL takes the
// reset back with the rest of the transaction. Then t2 is handed the connection once more.
//
// Must: t2 finds nothing that t1 has set.
// Dialects: native
// Not sql: a hand-over is more than one transaction there, and the connection is closed when one of them fails
func TestAttackFailedHandOver(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		stop, done := make(chan struct{}), sync.WaitGroup{}
		hammer := s.login(t, "postgres")
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					hammer.exec(fmt.Sprintf("select pg_cancel_backend(%d) from generate_series(1, 50)", c.pid))
				}
			}
		})
		// until says how often something had to be tried.
		until := func(try func() reply) (tries int) {
			for r := try(); r.code() != ""; r = try() {
				if tries++; r.dead {
					t.Fatal(describe(r))
				}
			}
			return tries
		}
		handOver := func(tenant string) int { return until(func() reply { return c.handOver(c.next(tenant)) }) }
		failed := 0
		for deadline := time.Now().Add(time.Minute); failed < 40; {
			if time.Now().After(deadline) {
				t.Fatalf("%d hand-overs have failed", failed)
			}
			until(func() reply { handOver("t1"); return c.exec("set my.own = 'of t1'") })
			if handOver("t2") == 0 {
				continue
			}
			failed++
			var r reply
			until(func() reply { r = c.exec("select current_setting('my.own', true)"); handOver("t2"); return r })
			if got := r.rows[0][0]; got != "NULL" && got != "" {
				t.Errorf("t2 finds what is left over %s", got)
				break
			}
		}
		close(stop)
		done.Wait()
	})
}
