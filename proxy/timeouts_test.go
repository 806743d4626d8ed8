package proxy_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// TestQueryTimeout: a query that takes too long is cancelled, with an error that says why, and its connection goes on.
func TestQueryTimeout(t *testing.T) {
	t.Parallel()
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			f := startPlain(t, func(o *pgtest.ProxyOptions) {
				limits(func(l *proxy.Limits) { l.QueryTimeout = time.Second })(o)
				o.Pool.Mode = mode
			})
			const slow = "SELECT pg_sleep(100)"
			for name, test := range map[string]struct {
				sent []byte
				want string
			}{
				"simple":           {wire.AppendQuery(nil, slow), "E(57014) Z(I)"},
				"extended":         {batch(slow), "E(57014) Z(I)"},
				"a query behind":   {append(wire.AppendQuery(nil, slow), wire.AppendQuery(nil, "SELECT 1")...), "E(57014) Z(I) T D(1) C(SELECT 1) Z(I)"},
				"in a transaction": {append(wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, slow)...), "C(BEGIN) Z(T) E(57014) Z(E)"},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					p := f.login(t)
					p.send(test.sent)
					got := p.answer()
					for strings.Count(got, "Z(") < strings.Count(test.want, "Z(") && !strings.HasSuffix(got, "EOF") {
						got += " " + p.answer()
					}
					for _, begin := range []string{"T ", "2 ", "1 "} { // what came before the cancel
						got = strings.Replace(got, begin+"E(", "E(", 1)
					}
					if got != test.want {
						t.Errorf("answered %s, want %s", got, test.want)
					}
					if strings.HasSuffix(got, "Z(E)") {
						p.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
					}
					p.query(slow)
					if e := p.failure(); e.Message != "canceling statement due to query timeout" || e.Hint == "" {
						t.Errorf("the client is told %q, %q", e.Message, e.Hint)
					}
				})
			}
		})
	}
}

// failure reads up to the next ErrorResponse.
func (p *peer) failure() wire.ErrorFields {
	p.t.Helper()
	for {
		typ, body, err := wire.ReadMessage(p, 1<<20)
		if err != nil {
			p.t.Fatal(err)
		}
		if typ == wire.MsgErrorResponse || typ == wire.MsgNoticeResponse {
			e, err := wire.ParseError(body)
			if err != nil {
				p.t.Fatal(err)
			}
			return e
		}
	}
}

// TestQueryTimeoutSparesThePatient: neither many short queries in one pipeline nor a client that thinks between two of them meets the
// timeout, and a cancel by the client itself is called that.
func TestQueryTimeoutSparesThePatient(t *testing.T) {
	t.Parallel()
	f := startPlain(t, limits(func(l *proxy.Limits) { l.QueryTimeout = 3 * time.Second }))
	p, q := f.login(t), f.login(t)
	q.expect("BEGIN", "C(BEGIN) Z(T)")
	for range 8 {
		p.query("SELECT 1 FROM pg_sleep(0.5)")
	}
	for range 8 {
		if got := p.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
			t.Fatalf("answered %s", got)
		}
	}
	q.expect("SELECT 1", "T D(1) C(SELECT 1) Z(T)")
	q.query("SELECT pg_sleep(100)")
	soon(t, "it runs", func() bool { return f.count(t, "wait_event = 'PgSleep'") > 0 })
	f.cancel(t, q)
	if e := q.failure(); e.Message != "canceling statement due to user request" {
		t.Errorf("the client is told %q", e.Message)
	}
}

// TestQueryThatDoesNotEnd: a query that catches its cancel costs its client the connection, and is cancelled once more.
func TestQueryThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	f := startPlain(t, limits(func(l *proxy.Limits) { l.QueryTimeout, l.CancelTimeout = 300*time.Millisecond, 300*time.Millisecond }))
	p := f.login(t)
	p.query(`DO $$ BEGIN FOR i IN 1..2 LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$`)
	if got := p.gone(); got != "E(57014 fatal) EOF" {
		t.Errorf("told %s", got)
	}
	soon(t, "the query has ended", func() bool { return f.count(t, "wait_event = 'PgSleep'") == 0 })
	if !strings.Contains(f.Log.String(), "reason=left_in_query") {
		t.Error("its server connection was kept")
	}
}

// TestQueryTimeoutOfTheGone: what a client has asked before its goodbye is carried out, but not for ever.
func TestQueryTimeoutOfTheGone(t *testing.T) {
	t.Parallel()
	f := startPlain(t, limits(func(l *proxy.Limits) { l.QueryTimeout = 300 * time.Millisecond }))
	p := f.login(t)
	f.sleeps(t, p)
	p.leave()
	soon(t, "the query has ended", func() bool { return f.count(t, "wait_event = 'PgSleep'") == 0 })
	soon(t, "nothing is left", func() bool { return f.Clients() == 0 && f.PoolStats().Leased == 0 })
}

func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	f := startPlain(t, limits(func(l *proxy.Limits) { l.TransactionTimeout = 2500 * time.Millisecond }))
	inside, failed, busy, alone, fine := f.login(t), f.loginTLS(t), f.login(t), f.login(t), f.login(t)
	inside.expect("BEGIN", "C(BEGIN) Z(T)")
	failed.send(wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 1/0"))
	busy.send(wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 1 FROM pg_sleep(100)"))
	alone.query("SELECT 1 FROM pg_sleep(100)")
	for range 6 { // many transactions, one pipeline
		fine.query("SELECT 1 FROM pg_sleep(0.5)")
	}
	for range 6 {
		if got := fine.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
			t.Fatalf("a pipeline of short transactions got %s", got)
		}
	}
	for name, p := range map[string]*peer{"idle": inside, "failed": failed, "busy": busy, "alone": alone} {
		if got := p.gone(); !strings.HasSuffix(got, "E(25P04 fatal) EOF") {
			t.Errorf("%s: told %s", name, got)
		}
	}
	soon(t, "the transactions are over", func() bool { return f.count(t, "state LIKE 'idle in%' OR wait_event = 'PgSleep'") == 0 })
}

// TestQueueNotice: a client that waits is told so, once for each wait, in front of its answer.
func TestQueueNotice(t *testing.T) {
	t.Parallel()
	f, holder := full(t, func(o *pgtest.ProxyOptions) { o.QueueNotice = 100 * time.Millisecond })
	for range 2 {
		p := f.login(t)
		p.send(batch("SELECT 1"))
		if e := p.failure(); e.Severity != "NOTICE" || e.Code != "00000" || e.Message != "waiting for a server connection" {
			t.Errorf("the client is told %+v", e)
		}
		p.SetReadDeadline(time.Now().Add(2500 * time.Millisecond)) // more than two sweeps
		if word, _ := p.message(); word != "TIMEOUT" {
			t.Errorf("a second notice: %s", word)
		}
		p.SetReadDeadline(time.Now().Add(patience))
		holder.expect("COMMIT", "C(COMMIT) Z(I)")
		if got := p.answer(); got != "1 2 D(1) C(SELECT 1) Z(I)" {
			t.Errorf("answered %s", got)
		}
		p.leave()
		holder.expect("BEGIN", "C(BEGIN) Z(T)")
	}
}

// TestCancelTimeout: a cancel request that does not get through in time costs the server connection, not the query's client.
func TestCancelTimeout(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	f := startBefore(t, fake, limits(func(l *proxy.Limits) { l.CancelTimeout = 2 * time.Second }))
	a, b := f.login(t), f.login(t)
	began, end := make(chan struct{}), make(chan struct{})
	fake.mu.Lock()
	fake.onCancel = func(c net.Conn) { close(end); io.Copy(io.Discard, c) } // a black hole
	fake.query = func(_ net.Conn, sql string) bool {
		if sql == "a" {
			close(began)
			<-end
		}
		return false
	}
	fake.mu.Unlock()
	a.query("a")
	<-began
	f.cancel(t, a)
	if got := a.answer(); got != "C(a) Z(I)" {
		t.Errorf("the query got %s", got)
	}
	b.expect("b", "C(b) Z(I)")
	if st := f.PoolStats(); st.Closed[pool.CancelUnsure] != 1 || fake.opened.Load() != 2 {
		t.Errorf("%d servers were closed, %d opened", st.Closed[pool.CancelUnsure], fake.opened.Load())
	}
}
