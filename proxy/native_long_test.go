package proxy_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool/proxy"
)

// TestNativeFirstRequestTakesItsTime: the answers to a hand-over come together with the answer to the request that has gone along.
// That may take longer than any hand-over, and is held to the limits of requests.
func TestNativeFirstRequestTakesItsTime(t *testing.T) {
	eachDialect(t, []string{native}, func(t *testing.T, start starter) {
		f := start(t, poolOf(1))
		a, b, admin := f.raw(t, "t1"), f.raw(t, "t2"), f.admin(t)
		a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		b.expect("SELECT 'long' FROM pg_sleep(6)", "T D(long) C(SELECT 1) Z(I)")
		a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		b.query("SELECT pg_sleep(60)")
		f.busy(t)
		b.Close()
		soon(t, "for what nobody waits for to end", func() bool {
			return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND usename = $1", f.role) == "0"
		})
		a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		a.leave()

		f.options.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 10, LoginTimeout: patience, QueryTimeout: 3 * time.Second}
		f = f.again(t)
		f.raw(t, "t1").expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		f.raw(t, "t2").expect("SELECT pg_sleep(60)", "T E(57014) Z(I)")
	})
}
