package proxy_test

import (
	"fmt"
	"testing"

	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// TestOtherByItsName: a client may ask for a database called "*". That is one of the names for which Other stands: nothing that is learned
// of its servers is written where logins to other names read.
func TestOtherByItsName(t *testing.T) {
	t.Parallel()
	f := startPlain(t, nil)
	cfg := f.options.Config(t)
	cfg.Databases = map[string]*proxy.Database{proxy.Other: cfg.Databases["postgres"]}
	f.Reload(cfg)
	var peers []*peer
	for i := range 30 {
		name := proxy.Other
		if i > 0 {
			name = fmt.Sprint("tenant", i%3)
		}
		peers = append(peers, f.dial(t).start(wire.Version30, f.role, [2]string{"database", name}))
	}
	for _, p := range peers {
		p.ready().expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	}
	states, err := f.Pools(t.Context())
	if err != nil || len(states) != 4 {
		t.Fatalf("%d pools, %v", len(states), err)
	}
	for _, st := range states {
		if !st.Unlisted {
			t.Errorf("%q is taken for a database of the configuration", st.Database)
		}
	}
}
