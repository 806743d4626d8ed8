package proxy_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// auditor counts events, and refuses to keep any when it is told to.
type auditor struct {
	full   atomic.Bool
	events [2]atomic.Int64 // logins, ends
}

func (a *auditor) Record(e *claimpool.Event) error {
	if a.full.Load() {
		return errors.New("the disk is full")
	}
	switch e.Kind {
	case claimpool.EventLogin:
		a.events[0].Add(1)
	case claimpool.EventEnd:
		a.events[1].Add(1)
	}
	return nil
}

// TestAttackUnrecorded: the attacker has filled the disk, so that nothing of what he does next is recorded.
//
// Must: Where the stream is to be complete, he must not get in (57P03), nor with a fresh token to other claims; who is in goes on.
// Dialects: sql
// Not native: who logs in is recorded before a dialect takes part
// Not pgbouncer: it has no audit stream
func TestAttackUnrecorded(t *testing.T) {
	eachDialect(t, []string{sql}, func(t *testing.T, start starter) {
		a := new(auditor)
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			o.Audit = a
		})
		p := f.raw(t, "t1")
		a.full.Store(true)
		p.expect(renewal(f.fresh("t1", "t2")), "E(57P03) Z(I)")
		p.expect(whoami, rowsOf("t1"))
		if _, err := f.dial(t.Context(), f.role, f.fresh("t3", "t3")); sqlState(err) != "57P03" {
			t.Errorf("the login: %v", err)
		}
		a.full.Store(false)
		p.expect(renewal(f.fresh("t1", "t2")), "C(SET) Z(I)")
		p.send(wire.AppendTerminate(nil))
		soon(t, "the end", func() bool { return a.events[0].Load() == 1 && a.events[1].Load() == 1 })
	})
}
