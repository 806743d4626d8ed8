package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/wire"
)

// nothing keeps no event.
type nothing struct{}

func (nothing) Record(*claimpool.Event) error { return nil }

// audited is a client whose transactions are recorded, one in n; without an audit stream when n is below 0.
func audited(tb testing.TB, n int) *client {
	l, err := loop.New(loop.Auto)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Stop(); l.Run() })
	p := &Proxy{audit: nothing{}, transactions: uint64(max(0, n))}
	c := &client{
		pool:     &sharedPool{hub: &hub{proxy: p, loop: l, unchosen: uint64(max(0, n))}, key: poolKey{database: "app", role: "web"}},
		identity: claimpool.NewIdentity(claimpool.MethodJWT, "i", "s", "web", nil, nil, time.Time{}),
	}
	if n >= 0 {
		c.trail = &trail{addr: "192.0.2.1:5"}
	}
	return c
}

var answered = wire.AppendReadyForQuery(wire.AppendCommandComplete(append([]byte("T\x00\x00\x00\x06\x00\x00"), "D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01a"...), "SELECT 1"), wire.StatusIdle)

// transaction is all that the audit stream costs one, as lease, deliver and transactionOver do it.
func (c *client) transaction() {
	if c.trail != nil {
		c.choose()
	}
	if t := c.sampled(); t != nil {
		t.Take(answered)
	}
	c.recordTransaction(true)
}

func TestATransactionThatIsNotChosenAllocatesNothing(t *testing.T) {
	for _, n := range []int{-1, 0, 1_000_000} {
		c := audited(t, n)
		if allocations := testing.AllocsPerRun(1000, c.transaction); allocations != 0 {
			t.Errorf("one in %d: %v allocations", n, allocations)
		}
	}
}

// BenchmarkSample is what records of transactions cost each transaction. -1: no audit stream; 0: none are recorded.
func BenchmarkSample(b *testing.B) {
	for _, n := range []int{-1, 0, 1000, 100, 1} {
		b.Run(fmt.Sprintf("one in %d", n), func(b *testing.B) {
			c := audited(b, n)
			b.ReportAllocs()
			for b.Loop() {
				c.transaction()
			}
		})
	}
}
