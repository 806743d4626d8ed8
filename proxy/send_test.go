package proxy_test

import (
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestSendChannels: what a statement's text shows is held to the client's claims, in every form of a request, and refused like an error of
// PostgreSQL; what it does not show is sent, as the documentation says.
func TestSendChannels(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			listening(o)
			o.Channels = []string{"tenant_${tenant_id}_*"}
			o.SendChannels = []string{"tenant_${tenant_id}_*", "jobs"}
		})
		ear, p := f.raw(t, "t2"), f.raw(t, "t1")
		ear.expect("listen tenant_t2_orders", "C(LISTEN) Z(I)")
		for _, allowed := range []string{"notify jobs", "notify tenant_t1_orders, 'x'", "NOTIFY Tenant_T1_Orders"} {
			p.expect(allowed, "C(NOTIFY) Z(I)")
			p.tell("1 2 C(NOTIFY) Z(I)", wire.AppendParse(nil, "", allowed), execute(""))
		}
		p.expect("select pg_notify('tenant_t1_orders', 'x')", "T D() C(SELECT 1) Z(I)")
		for _, refused := range []string{
			"notify news", "notify tenant_t2_orders", "select 1; notify tenant_t2_orders", "select pg_notify('tenant_t2_orders', 'x')",
			"select pg_notify('jobs', ''), pg_catalog.pg_notify('tenant_t2_orders', '')",
		} {
			p.expect(refused, "E(42501) Z(I)")
			p.tell("E(42501) Z(I)", wire.AppendParse(nil, "", refused), execute(""))
			p.tell("E(42501) Z(I)", prepare("named", refused))
			p.expect("begin", "C(BEGIN) Z(T)")
			p.expect(refused, "E(42501) Z(E)")
			p.expect("rollback", "C(ROLLBACK) Z(I)")
		}
		p.expect("select 'notify news'", "T D(notify news) C(SELECT 1) Z(I)")
		ear.quiet("nothing was sent to it")
		p.expect("do $$begin perform pg_notify('tenant_t2_orders', 'unseen'); end$$", "C(DO) Z(I)")
		if got := ear.news(); got != "tenant_t2_orders unseen" {
			t.Errorf("heard %q", got)
		}
	})
}
