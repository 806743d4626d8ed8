package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// full is a proxy whose only server is held by a client in a transaction.
func full(t *testing.T, change func(*pgtest.ProxyOptions)) (f *plain, holder *peer) {
	t.Helper()
	f = startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Pool.Size = 1
		change(o)
	})
	holder = f.login(t)
	holder.expect("BEGIN", "C(BEGIN) Z(T)")
	return f, holder
}

// batch is one request of the extended protocol.
func batch(sql string) []byte {
	b := wire.AppendBind(wire.AppendParse(nil, "", sql), "", "", nil)
	return wire.AppendSync(wire.AppendExecute(b, "", 0))
}

// TestQueueRefuses: a client that gets no server reads why, once for each of its requests and at the place where PostgreSQL
// would say it, and its connection goes on.
func TestQueueRefuses(t *testing.T) {
	ways := map[string]func(*pgtest.ProxyOptions){
		"full": func(o *pgtest.ProxyOptions) { o.Pool.QueueLength = 0 },
		"slow": func(o *pgtest.ProxyOptions) { o.Pool.QueueWait = 30 * time.Millisecond },
	}
	for name, change := range ways {
		t.Run(name, func(t *testing.T) {
			f, holder := full(t, change)
			p := f.login(t)
			tests := map[string]struct {
				sent []byte
				want string
			}{
				"simple":             {wire.AppendQuery(nil, "SELECT 1"), "E(53300) Z(I)"},
				"extended":           {batch("SELECT 1"), "E(53300) Z(I)"},
				"Sync alone":         {wire.AppendSync(nil), "E(53300) Z(I)"},
				"a function":         {wire.AppendFunctionCall(nil, 2078, []byte("a.b"), []byte("c"), []byte("f")), "E(53300) Z(I)"},
				"two queries":        {append(wire.AppendQuery(nil, "SELECT 1"), wire.AppendQuery(nil, "SELECT 2")...), "E(53300) Z(I) E(53300) Z(I)"},
				"a query of 100 kB":  {wire.AppendQuery(nil, "SELECT '"+strings.Repeat("x", 100_000)+"'"), "E(53300) Z(I)"},
				"a batch of 100":     {append(manyParses(100), wire.AppendSync(nil)...), "E(53300) Z(I)"},
				"query in a batch":   {append(append(wire.AppendParse(nil, "", "SELECT 1"), wire.AppendQuery(nil, "SELECT 2")...), wire.AppendSync(nil)...), "E(53300) Z(I)"},
				"a batch with Flush": {append(wire.AppendFlush(wire.AppendParse(nil, "", "SELECT 1")), batch("SELECT 1")...), "E(53300) Z(I)"},
			}
			for name, tt := range tests {
				t.Run(name, func(t *testing.T) {
					p.send(tt.sent)
					got := p.answer()
					for strings.Count(got, "Z(") < strings.Count(tt.want, "Z(") && !strings.HasSuffix(got, "EOF") {
						got += " " + p.answer()
					}
					if got != tt.want {
						t.Errorf("answered %s, want %s", got, tt.want)
					}
				})
			}
			t.Run("a batch whose Sync comes later", func(t *testing.T) {
				p.send(wire.AppendFlush(wire.AppendParse(nil, "", "SELECT 1")))
				if word, _ := p.message(); word != "E(53300)" {
					t.Errorf("answered %s", word)
				}
				p.send(wire.AppendBind(nil, "", "", nil), wire.AppendExecute(nil, "", 0))
				p.send(wire.AppendSync(nil))
				if got := p.answer(); got != "Z(I)" {
					t.Errorf("behind the Sync came %s", got)
				}
			})
			t.Run("one message in pieces", func(t *testing.T) {
				for _, b := range wire.AppendQuery(nil, "SELECT 1") {
					p.send([]byte{b})
				}
				if got := p.answer(); got != "E(53300) Z(I)" {
					t.Errorf("answered %s", got)
				}
			})
			holder.expect("COMMIT", "C(COMMIT) Z(I)")
			p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			p.send(batch("SELECT 1"))
			if got := p.answer(); got != "1 2 D(1) C(SELECT 1) Z(I)" {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
}

func manyParses(n int) (b []byte) {
	for range n {
		b = wire.AppendParse(b, "", "SELECT 1")
	}
	return b
}

// TestQueueIsFair: clients get the one server in the order in which they came; those who leave or cancel are passed over.
func TestQueueIsFair(t *testing.T) {
	f, holder := full(t, func(*pgtest.ProxyOptions) {})
	holder.expect("CREATE TEMP SEQUENCE turn", "C(CREATE SEQUENCE) Z(T)")
	var line []*peer
	for i := range 10 {
		p := f.login(t)
		p.query("SELECT nextval('turn')")
		line = append(line, p)
		f.awaitWaiting(t, i+1)
	}
	line[3].Close()
	f.awaitWaiting(t, 9)
	f.cancel(t, line[7])
	if got := line[7].answer(); got != "E(57014) Z(I)" {
		t.Errorf("the wait that was cancelled ended with %s", got)
	}
	f.awaitWaiting(t, 8)
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	turn := 0
	for i, p := range line {
		if i == 3 || i == 7 {
			continue
		}
		turn++
		if got, want := p.answer(), fmt.Sprintf("T D(%d) C(SELECT 1) Z(I)", turn); got != want {
			t.Errorf("client %d got %s, want %s", i, got, want)
		}
	}
	line[7].expect("SELECT nextval('turn')", "T D(9) C(SELECT 1) Z(I)")
}

// awaitWaiting waits until n clients are in the queue.
func (f *plain) awaitWaiting(t *testing.T, n int) {
	t.Helper()
	soon(t, fmt.Sprintf("%d clients are in the queue", n), func() bool { return f.PoolStats().Waiting == n })
}

// TestQueueOfManyIdentities: those who wait are served with the right identity, whoever had the server before.
func TestQueueOfManyIdentities(t *testing.T) {
	f, holder := full(t, func(*pgtest.ProxyOptions) {})
	users := []string{"ann", "bob", "cid", "dan", "eve"}
	var line []*peer
	for i, user := range users {
		p := f.dial(t).start(wire.Version30, user, [2]string{"application_name", user}).ready()
		p.query("SELECT current_setting('application_name')")
		line = append(line, p)
		f.awaitWaiting(t, i+1)
	}
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	for i, p := range line {
		if got, want := p.answer(), "T D("+users[i]+") C(SELECT 1) Z(I)"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestShareSize: an identity that has all the server connections of its share waits, though there are idle ones, and others
// do not; it goes on when it has given one back.
func TestShareSize(t *testing.T) {
	f, holder := full(t, func(o *pgtest.ProxyOptions) { o.Pool.Size, o.Pool.ShareSize = 3, 1 })
	second := f.login(t)
	second.query("SELECT 'second'")
	f.awaitWaiting(t, 1)
	for range 3 {
		f.dial(t).start(wire.Version30, "somebody", [2]string{}).ready().expect("SELECT 'other'", "T D(other) C(SELECT 1) Z(I)")
	}
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	if got := second.answer(); got != "T D(second) C(SELECT 1) Z(I)" {
		t.Errorf("got %s", got)
	}
	holder.expect("SELECT 'again'", "T D(again) C(SELECT 1) Z(I)")
}
