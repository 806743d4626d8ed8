package proxy_test

import (
	"context"
	"slices"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
)

// TestAttackListenBehindAReload: the attacker listens to the channels of another tenant where templates do not yet forbid it, and stays
// connected while they begin to.
//
// Must: From the reload on he hears nothing that the templates do not give to his claims, or is sent away.
// Dialects: sql, native
// Not pgbouncer: it knows no claims
func TestAttackListenBehindAReload(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for name, choose := range listenChoices {
			for _, before := range [][]string{nil, {"tenant_${tenant_id}_*", "tenant_t2_*"}} {
				if before == nil && name != "session" {
					continue // nobody may listen
				}
				f := start(t, func(o *pgtest.ProxyOptions) {
					choose(o)
					o.Channels = before
				})
				thief := f.connect(t, "t1")
				if _, err := thief.Exec(t.Context(), "LISTEN tenant_t2_orders; LISTEN tenant_t1_orders"); err != nil {
					t.Fatal(err)
				}
				news := func() (heard []string, err error) { // he asks for nothing meanwhile
					f.cluster.Exec(t, f.database, "NOTIFY tenant_t2_orders, 'secret'; NOTIFY tenant_t1_orders, 'mine'")
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					for !slices.Contains(heard, "tenant_t1_orders mine") {
						n, err := thief.WaitForNotification(ctx)
						if err != nil {
							return heard, err
						}
						heard = append(heard, n.Channel+" "+n.Payload)
					}
					return heard, nil
				}
				if got, err := news(); !slices.Contains(got, "tenant_t2_orders secret") {
					t.Fatalf("%s: the attack is broken: %q %v", name, got, err)
				}
				o := f.options
				o.Channels = []string{"tenant_${tenant_id}_*"}
				f.Reload(o.Config(t))
				f.PoolStats() // behind it
				got, err := news()
				if sentAway := name == "shared"; slices.Contains(got, "tenant_t2_orders secret") || (err != nil) != sentAway {
					t.Errorf("%s: heard %q, %v", name, got, err)
				}
			}
		}
	})
}
