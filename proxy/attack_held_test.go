package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackLeaveBehindAHeldRequest: in the native dialect a request waits for the answer to the one before it. The attacker
// sends one that waits for an answer which never comes, behind a batch without its Sync, and closes the connection.
//
// Must: The server must be free for the next client.
// Dialects: native
// Not sql: no request of a client waits for another there
// Not pgbouncer: no request of a client waits for another there
func TestAttackLeaveBehindAHeldRequest(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, poolOf(1))
		b := f.connect(t, "t2")
		parse := wire.AppendParse(nil, "", "SELECT 1")
		for name, messages := range map[string][]byte{
			"the answer does not end the batch":    join(parse, wire.AppendQuery(nil, "SELECT 2"), parse),
			"a failed batch swallows the query":    join(extended("SELECT 1/0"), wire.AppendQuery(nil, "SELECT 2"), wire.AppendQuery(nil, "SELECT 3")),
			"a query behind the beginning of COPY": join(wire.AppendQuery(nil, "COPY note FROM STDIN"), wire.AppendQuery(nil, "SELECT 3")),
		} {
			a := f.raw(t, "t1")
			a.send(wire.AppendQuery(nil, "SELECT 0"))
			a.answer()
			a.send(messages)
			for word := ""; !strings.HasPrefix(word, "Z") && !strings.HasPrefix(word, "E") && word != "G"; {
				word, _ = a.message()
			}
			a.Close()
			began := time.Now()
			mustBe(t, b, "t2")
			if held := time.Since(began); held > 5*time.Second {
				t.Errorf("%s: the next client waited for %v", name, held)
			}
		}
	})
}

// TestNativeTakesHalfOfTheNextRequest: behind the request that goes along with a hand-over comes the first half of another one.
// Its second half must be read, although the first request has been answered meanwhile.
func TestNativeTakesHalfOfTheNextRequest(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, poolOf(1))
		for _, tenant := range []string{"t1", "t2", "t1", "t2"} {
			p := f.raw(t, tenant)
			first, second := wire.AppendQuery(nil, whoami), wire.AppendQuery(nil, "SELECT 'the second'")
			for range 3 {
				p.send(first, second[:9])
				p.answer()
				p.send(second[9:])
				if got := p.answer(); got != "T D(the second) C(SELECT 1) Z(I)" {
					t.Fatalf("the second request is answered %s", got)
				}
			}
			p.leave()
		}
	})
}

// TestAttackExpiryInTheQueue: the attacker's request waits for a server when his token ends.
//
// Must: It must not begin behind that.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackExpiryInTheQueue(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		b := f.connect(t, "t2")
		run(t, b, "BEGIN")
		token := f.shortLived(2)
		ends := time.Now().Add(2 * time.Second)
		a := f.rawWith(t, token)
		a.query(whoami)
		soon(t, "for the token to end", func() bool { return time.Now().After(ends) })
		run(t, b, "COMMIT")
		if got := everything(a); !strings.Contains(got, "E(28000 fatal)") || strings.Contains(got, "D(") {
			t.Errorf("a request that began to run behind its token's end is answered %s", got)
		}
		mustBe(t, b, "t2")
	})
}
