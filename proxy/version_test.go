package proxy_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestVersionIsLearnedOnce: a server older than PostgreSQL 17 refuses the first connection, which pins more than it knows, with a
// line in its log. That happens once for a database, not for each pool.
func TestVersionIsLearnedOnce(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		var roles []string
		for range 3 {
			role, _ := c.NewRole(t)
			c.Exec(t, "postgres", "ALTER ROLE "+role+" PASSWORD 'the same'")
			roles = append(roles, role)
		}
		f := &plain{cluster: c}
		f.options = pgtest.ProxyOptions{Cluster: c, Password: "the same", Pool: pgtest.DefaultPool()}
		f.Proxy = pgtest.StartProxy(t, f.options)
		for _, role := range roles {
			f.dial(t).start(wire.Version30, role).ready().expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		}
		log, err := c.Log()
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for line := range strings.Lines(string(log)) {
			for _, role := range roles {
				if strings.Contains(line, role+"@") && strings.Contains(line, "unrecognized configuration parameter") {
					refused++
				}
			}
		}
		want := 1
		if inst.Major >= 17 {
			want = 0
		}
		if refused != want {
			t.Errorf("%d connections were refused, not %d", refused, want)
		}
	})
}
