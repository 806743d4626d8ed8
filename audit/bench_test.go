package audit_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/audit"
)

// BenchmarkRow is what the stream's own goroutine does for a row, before it is sent.
func BenchmarkRow(b *testing.B) {
	var t audit.Table
	e := claimpool.Event{
		Kind: claimpool.EventTransaction, Client: 7, Addr: "192.0.2.1:5", Database: "shop", Pool: "shop/app", Identity: identity("ann"), Server: 4711,
		Outcome: claimpool.OutcomeCommit, Rows: 12, Transactions: 1, Held: time.Millisecond,
	}
	b.ReportAllocs()
	for b.Loop() {
		t.Rows(e)
	}
}
