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
		failed := 0
		for deadline := time.Now().Add(time.Minute); failed < 40; {
			if time.Now().After(deadline) {
				t.Fatalf("%d hand-overs have failed", failed)
			}
			failed += failHandOvers(t, s, 40-failed)
		}
	})
}

// failHandOvers lets as many hand-overs fail, or fewer, when the connection is closed by that: nothing is left over then.
func failHandOvers(t *testing.T, s *server, most int) (failed int) {
	t.Helper()
	c, stop := hammered(t, s)
	defer stop()
	// handOver says how often it had to be tried, and whether the connection is still there.
	handOver := func(tenant string) (tries int, there bool) {
		r := c.handOver(c.next(tenant))
		for ; r.code() != "" && !r.dead; r = c.handOver(c.next(tenant)) {
			tries++
		}
		return tries, !cut(t, r)
	}
	// run hands the connection over before each try.
	run := func(tenant, sql string) (r reply, there bool) {
		for {
			if _, there = handOver(tenant); !there {
				return r, false
			}
			if r = c.exec(sql); r.code() == "" || r.dead {
				return r, !cut(t, r)
			}
		}
	}
	for failed < most {
		if _, there := run("t1", "set my.own = 'of t1'"); !there {
			return failed
		}
		tries, there := handOver("t2")
		if !there {
			return failed
		}
		if tries == 0 {
			continue
		}
		failed++
		const ask = "select current_setting('my.own', true)"
		r := c.exec(ask)
		if there = !cut(t, r); there && r.code() != "" {
			r, there = run("t2", ask)
		}
		if !there {
			return failed
		}
		if got := r.rows[0][0]; got != "NULL" && got != "" {
			t.Errorf("t2 finds what is left over %s", got)
			return most
		}
	}
	return failed
}

// hammered gives a connection that somebody cancels all the time, until stop.
func hammered(t *testing.T, s *server) (c *client, stop func()) {
	t.Helper()
	c = s.pooled(t)
	c.become("t0")
	end, done := make(chan struct{}), sync.WaitGroup{}
	hammer := s.login(t, "postgres")
	done.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				hammer.exec(fmt.Sprintf("select pg_cancel_backend(%d) from generate_series(1, 50)", c.pid))
			}
		}
	})
	return c, func() { close(end); done.Wait() }
}

// cut says that a cancel has ended the connection, as one does that hits the reset.
func cut(t *testing.T, r reply) bool {
	t.Helper()
	if r.dead && r.code() != "57014" {
		t.Error(describe(r))
	}
	return r.dead
}
