package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
)

// TestShareByClaim: the people of one tenant have one part of the pool together. Those of another are served while it is used up, and a
// fresh token with another tenant is another part.
func TestShareByClaim(t *testing.T) {
	f := startTenants(t, pgtest.Newest(t), func(o *pgtest.ProxyOptions) {
		poolOf(3)(o)
		o.ShareBy, o.Pool.ShareSize = "tenant_id", 1
	})
	ann, bob, cid := f.rawWith(t, f.fresh("ann", "t1")), f.rawWith(t, f.fresh("bob", "t1")), f.rawWith(t, f.fresh("cid", "t2"))
	ann.expect("BEGIN", "C(BEGIN) Z(T)")
	bob.query(whoami)
	soon(t, "bob waits", func() bool { return f.PoolStats().Waiting == 1 })
	for range 3 {
		cid.expect(whoami, rowsOf("t2"))
	}
	cid.expect(renewal(f.fresh("cid", "t1")), "C(SET) Z(I)")
	cid.query(whoami)
	soon(t, "cid waits behind him", func() bool { return f.PoolStats().Waiting == 2 })
	ann.expect("COMMIT", "C(COMMIT) Z(I)")
	for name, p := range map[string]*peer{"bob": bob, "cid": cid} {
		if got := p.answer(); got != rowsOf("t1") {
			t.Errorf("%s got %s", name, got)
		}
	}
	ann.expect("BEGIN", "C(BEGIN) Z(T)")
	cid.expect(renewal(f.fresh("cid", "t3")), "C(SET) Z(I)")
	cid.expect(whoami, rowsOf("t3"))
	ann.expect("COMMIT", "C(COMMIT) Z(I)")
}

// TestQueueIsSharedByClaim: a tenant whose many people all wait delays another one's by turns, not by its whole queue.
func TestQueueIsSharedByClaim(t *testing.T) {
	const crowd = 12
	f := startTenants(t, pgtest.Newest(t), func(o *pgtest.ProxyOptions) {
		poolOf(1)(o)
		o.ShareBy = "tenant_id"
	})
	f.cluster.Exec(t, f.database, "CREATE SEQUENCE turn; GRANT ALL ON turn TO "+f.role)
	holder := f.raw(t, "t3")
	holder.expect("BEGIN", "C(BEGIN) Z(T)")
	var noisy []*peer
	wait := func(token string) *peer {
		p := f.rawWith(t, token)
		n := f.PoolStats().Waiting
		p.query("SELECT nextval('turn')")
		soon(t, "it waits", func() bool { return f.PoolStats().Waiting == n+1 })
		return p
	}
	for i := range crowd {
		noisy = append(noisy, wait(f.fresh(fmt.Sprint("one of many ", i), "t1")))
	}
	quiet := wait(f.fresh("alone", "t2"))
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	if got := quiet.answer(); !strings.HasPrefix(got, "T D(1) ") && !strings.HasPrefix(got, "T D(2) ") {
		t.Errorf("behind %d of another tenant the quiet one had its turn with %s", crowd, got)
	}
	for _, p := range noisy {
		if got := p.answer(); !strings.HasSuffix(got, "C(SELECT 1) Z(I)") {
			t.Errorf("one of many got %s", got)
		}
	}
}
