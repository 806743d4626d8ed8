package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// fresh is a token of the person that rawWith and connect log in for a tenant, with the claims of perhaps another tenant.
func (f *tenants) fresh(person, tenant string) string {
	return f.issuer.Mint("user-of-"+person, map[string]any{"tenant_id": tenant})
}

func renewal(token string) string { return "SET jwt.context = '" + token + "'" }

// renewalBatch is the same by the extended protocol, as pgjdbc and Npgsql send it.
func renewalBatch(sql string) []byte {
	b := wire.AppendBind(wire.AppendParse(nil, "", sql), "", "", nil)
	return wire.AppendSync(wire.AppendExecute(wire.AppendDescribe(b, wire.KindPortal, ""), "", 0))
}

// rowsOf is what whoami answers on the wire.
func rowsOf(tenant string) string { return "T D(" + own(tenant) + ") C(SELECT 1) Z(I)" }

// eachMode runs a test in both dialects on every version, in transaction and in session mode.
func eachMode(t *testing.T, change func(*proxy.Limits), test func(t *testing.T, f *tenants, mode pool.Mode)) {
	t.Helper()
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
			t.Run(string(mode), func(t *testing.T) { test(t, start(t, withTokens(mode, change)), mode) })
		}
	})
}

// TestFreshToken: a client hands in a fresh token between two transactions, and has its claims from the next one on. A session
// goes on where it was.
func TestFreshToken(t *testing.T) {
	eachMode(t, func(*proxy.Limits) {}, func(t *testing.T, f *tenants, mode pool.Mode) {
		other := f.raw(t, "t3")
		p, end := f.ending(t, 3)
		p.expect(whoami, rowsOf("t1"))
		if mode == pool.Session {
			p.expect("PREPARE p AS SELECT 1; SET my.thing = 'left'", "C(PREPARE) C(SET) Z(I)")
		}
		p.expect(renewal(f.fresh("t1", "t1")), "C(SET) Z(I)")
		p.expect(whoami, rowsOf("t1"))
		p.expect(renewal(f.fresh("t1", "t2")), "C(SET) Z(I)")
		p.expect(whoami, rowsOf("t2"))
		other.expect(whoami, rowsOf("t3"))
		p.expect("set /* to */ SESSION \"jwt\".Context to '"+f.fresh("t1", "t4")+"' ; -- now", "C(SET) Z(I)")
		p.expect(whoami, rowsOf("t4"))
		p.send(renewalBatch(renewal(f.fresh("t1", "t5"))))
		if got := p.answer(); got != "1 2 n C(SET) Z(I)" {
			t.Errorf("by the extended protocol: %s", got)
		}
		p.expect(whoami, rowsOf("t5"))
		if mode == pool.Session {
			p.expect("EXECUTE p", "T D(1) C(SELECT 1) Z(I)")
			p.expect("SHOW my.thing", "T D(left) C(SHOW) Z(I)")
		}
		soon(t, "the end of the first token", func() bool { return time.Now().After(end) })
		p.expect(whoami, rowsOf("t5"))
		other.expect(whoami, rowsOf("t3"))
	})
}

// TestFreshTokenInAPipeline: what was asked before has the old claims, what is asked behind has the new ones.
func TestFreshTokenInAPipeline(t *testing.T) {
	eachMode(t, func(*proxy.Limits) {}, func(t *testing.T, f *tenants, _ pool.Mode) {
		p := f.raw(t, "t1")
		ask := wire.AppendQuery(nil, whoami)
		for _, piece := range []int{1, 7, 100_000} {
			all := [][]byte{ask, wire.AppendQuery(nil, renewal(f.fresh("t1", "t2"))), ask, ask, renewalBatch(renewal(f.fresh("t1", "t1"))), ask}
			var b []byte
			for _, m := range all {
				b = append(b, m...)
			}
			for len(b) > 0 {
				n := min(piece, len(b))
				p.send(b[:n])
				b = b[n:]
			}
			for i, want := range []string{rowsOf("t1"), "C(SET) Z(I)", rowsOf("t2"), rowsOf("t2"), "1 2 n C(SET) Z(I)", rowsOf("t1")} {
				if got := p.answer(); got != want {
					t.Fatalf("pieces of %d, answer %d: %s, want %s", piece, i, got, want)
				}
			}
		}
		p.send(wire.AppendQuery(nil, renewal(f.fresh("t1", "t2"))), ask, wire.AppendTerminate(nil))
		for i, want := range []string{"C(SET) Z(I)", rowsOf("t2"), "EOF"} {
			if got := p.answer(); got != want {
				t.Errorf("before a goodbye, answer %d: %s, want %s", i, got, want)
			}
		}
	})
}

// TestFreshTokenInTheGrace: a token that has ended can be followed by a fresh one while the grace lasts.
func TestFreshTokenInTheGrace(t *testing.T) {
	eachMode(t, func(l *proxy.Limits) { l.TokenGrace = patience }, func(t *testing.T, f *tenants, _ pool.Mode) {
		p, _ := f.ending(t, 2)
		soon(t, "the end of the token", func() bool { return p.ask("SELECT 1") == "E(28000) Z(I)" })
		p.expect(renewal(f.fresh("t2", "t2")), "E(28000) Z(I)")
		p.expect(renewal(f.fresh("t1", "t1")), "C(SET) Z(I)")
		p.expect(whoami, rowsOf("t1"))
	})
}

// TestContextOfOthers: where clients have no token and the database has no context, jwt.context is PostgreSQL's business.
func TestContextOfOthers(t *testing.T) {
	f := startPlain(t, nil)
	p := f.login(t)
	p.expect("SET jwt.context = 'anything at all'; SHOW jwt.context", "C(SET) T D(anything at all) C(SHOW) Z(I)")
}

// TestFreshTokenOfNobody: a client that has logged in without a token has nothing to renew.
func TestFreshTokenOfNobody(t *testing.T) {
	f := startTenants(t, pgtest.Newest(t), passwordsToo(""))
	p := f.withPassword(t)
	p.expect(renewal(f.fresh("t1", "t1")), "E(28000) Z(I)")
	p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestManyFreshTokens: clients that renew all the time, beside others that work.
func TestManyFreshTokens(t *testing.T) {
	f := startTenants(t, pgtest.Newest(t), poolOf(2))
	errs := make(chan error, 8)
	for i := range 8 {
		p := f.raw(t, "t1")
		go func() {
			errs <- func() error {
				for n := range 30 {
					tenant := fmt.Sprintf("t%d", (i+n)%50)
					if got := p.ask(renewal(f.fresh("t1", tenant))); got != "C(SET) Z(I)" {
						return fmt.Errorf("renewal %d: %s", n, got)
					}
					if got := p.ask(whoami); got != rowsOf(tenant) {
						return fmt.Errorf("as %s: %s", tenant, got)
					}
				}
				return nil
			}()
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestFreshTokenKeepsStatements: what a client has prepared under a name is there under its new claims, and gives their rows; a
// neighbour with the old claims, who shares texts with it, sees the old ones.
func TestFreshTokenKeepsStatements(t *testing.T) {
	f := startTenants(t, pgtest.Newest(t), poolOf(1))
	p, neighbour := f.raw(t, "t1"), f.raw(t, "t1")
	execute := wire.AppendSync(wire.AppendExecute(wire.AppendBind(nil, "", "who", nil), "", 0))
	for _, c := range []*peer{p, neighbour} {
		c.send(wire.AppendSync(wire.AppendParse(nil, "who", whoami)))
		if got := c.answer(); got != "1 Z(I)" {
			t.Fatal(got)
		}
	}
	sees := func(c *peer, tenant string) {
		t.Helper()
		c.send(execute)
		if got := c.answer(); got != "2 D("+own(tenant)+") C(SELECT 1) Z(I)" {
			t.Errorf("as %s: %s", tenant, got)
		}
	}
	sees(p, "t1")
	for _, tenant := range []string{"t2", "t1", "t3"} {
		p.expect(renewal(f.fresh("t1", tenant)), "C(SET) Z(I)")
		sees(p, tenant)
		sees(neighbour, "t1")
		sees(p, tenant)
	}
}
