package proxy_test

import (
	"maps"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// handovers is what the only pool has counted, without what it has not.
func (f *plain) handovers(t *testing.T) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for kind, n := range f.state(t).Counts.Handovers {
		if n > 0 {
			seen[proxy.Handover(kind).String()] = int(n)
		}
	}
	return seen
}

// TestCountsOfTransactions: transactions, bytes and times are counted once for each, whatever the client does in them.
func TestCountsOfTransactions(t *testing.T) {
	t.Parallel()
	f := startPlain(t, poolOf(1))
	a := f.login(t)
	a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	before := f.state(t).Counts
	const rounds, query, answer = 5, 1 + 4 + len("SELECT 1") + 1, 34 + 12 + 14 + 6 // RowDescription, DataRow, CommandComplete, ReadyForQuery
	for range rounds {
		a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	}
	after := f.state(t).Counts
	if n := after.Transactions - before.Transactions; n != rounds {
		t.Errorf("%d transactions", n)
	}
	if in, out := after.ToServers-before.ToServers, after.ToClients-before.ToClients; in != rounds*uint64(query) || out != rounds*answer {
		t.Errorf("%d bytes to the server, %d to the client", in, out)
	}
	a.expect("BEGIN", "C(BEGIN) Z(T)")
	a.expect("SELECT 1/0", "E(22012) Z(E)")
	if n := f.state(t).Counts.Transactions - after.Transactions; n != 0 {
		t.Errorf("%d transactions within one", n)
	}
	a.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
	a.send(batch("SELECT 1"), batch("SELECT 2")) // one use of the server, or two
	a.answer()
	a.answer()
	last := f.state(t).Counts
	if n := last.Transactions - after.Transactions; n != 3 {
		t.Errorf("%d transactions", n)
	}
	held := uint64(0)
	for _, n := range last.Held.Counts {
		held += n
	}
	if held < 1+rounds+2 || held > 1+rounds+3 || last.Held.Sum <= 0 {
		t.Errorf("%d times: %+v", held, last.Held)
	}
	a.send(wire.AppendQuery(nil, "SELECT 1"), wire.AppendTerminate(nil)) // what is asked in front of a goodbye is a transaction, too
	soon(t, "it is counted", func() bool { return f.state(t).Counts.Transactions-last.Transactions == 1 })
}

// TestCountsOfHandovers: each begin of a transaction is counted by what it took. Other identities are in TestServeMetrics.
func TestCountsOfHandovers(t *testing.T) {
	t.Parallel()
	f := startPlain(t, poolOf(1))
	a, b := f.login(t), f.login(t, [2]string{"TimeZone", "Asia/Tokyo"})
	for _, p := range []*peer{a, a, b, b, a} {
		p.ask("SELECT 1")
	}
	if got, want := f.handovers(t), map[string]int{"first": 1, "none": 2, "renew": 2}; !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}

	f = startPlain(t, inMode(pool.Session, 1))
	p := f.login(t) // a session gets its server at its login
	p.ask("SELECT 1")
	p.leave()
	p = f.login(t)
	p.leave()
	f.login(t, [2]string{"datestyle", "german"}).leave()
	got := f.handovers(t)
	if got["first"]+got["reopen"] < 2 || got["reset"] != 1 || got["switch"] != 0 || got["reopen"] != 1 {
		t.Errorf("%v", got)
	}
}

// TestCountsOfRefusals: who waits, is refused, sent away, or goes by himself is counted with the class of what he was told.
func TestCountsOfRefusals(t *testing.T) {
	t.Parallel()
	f, holder := full(t, func(o *pgtest.ProxyOptions) { o.Pool.QueueWait = 50 * time.Millisecond })
	first, second := f.login(t), f.login(t)
	for _, p := range []*peer{first, second} {
		p.expect("SELECT 1", "E(53300) Z(I)")
	}
	f.dial(t).Close()
	if got := f.dial(t).start(wire.Version30, f.role, [2]string{"replication", "perhaps"}).answer(); got != "E(22023 fatal) EOF" {
		t.Errorf("told %s", got)
	}
	second.send([]byte("no message at all"))
	if got := second.gone(); got != "E(08P01 fatal) EOF" {
		t.Errorf("told %s", got)
	}
	var st *proxy.Stats
	soon(t, "all is counted", func() bool {
		var err error
		if st, err = f.Stats(t.Context()); err != nil {
			t.Fatal(err)
		}
		return st.Logins[""].Left == 1 && st.Logins[claimpool.MethodTrust].Accepted == 3 && st.CutOff["08"] == 1 && st.Clients == 2
	})
	p := st.Pools[0]
	if st.Refused["53"] != 2 || len(st.Refused) != 1 || len(st.CutOff) != 1 || p.Pool.Refused != 0 || p.Pool.TimedOut != 2 || st.Dropped != 0 {
		t.Errorf("%+v %+v", st, p)
	}
	if l := st.Logins[claimpool.MethodTrust]; l.Refused["22"] != 1 || len(l.Refused) != 1 || l.Took.Sum <= 0 {
		t.Errorf("%+v", l)
	}
	if p.Counts.Waits.Sum != 0 {
		t.Errorf("nobody has waited with success: %+v", p.Counts.Waits)
	}
	holder.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
}
