package proxy_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackLongNameOfADatabase: databases that are not listed are open, and one that is listed is closed. PostgreSQL cuts the names of
// databases at 63 bytes: the attacker asks for the closed one by its name, and one letter more.
//
// Must: There is no such database (3D000).
// Dialects: none
func TestAttackLongNameOfADatabase(t *testing.T) {
	t.Parallel()
	f := startPlain(t, nil)
	closed := "closed_" + strings.Repeat("x", 56)
	f.cluster.Exec(t, "postgres", "CREATE DATABASE "+closed)
	t.Cleanup(func() { f.cluster.Exec(t, "postgres", "DROP DATABASE "+closed+" WITH (FORCE)") })
	o := f.options
	o.Database, o.Rules = proxy.Other, []auth.Rule{
		{Name: "closed", Databases: []string{closed}, Method: claimpool.MethodReject},
		{Name: "trust", TLS: auth.TLSAny, Method: claimpool.MethodTrust},
	}
	cfg := o.Config(t)
	o.Database = closed
	maps.Copy(cfg.Databases, o.Config(t).Databases)
	f.Reload(cfg)
	for name, want := range map[string]string{"template1": "R Z(I)", closed: "E(28000 fatal) EOF", closed + "y": "R E(3D000 fatal) EOF", closed + "xyz": "R E(3D000 fatal) EOF"} {
		got := f.dial(t).start(wire.Version30, f.role, [2]string{"database", name}).answer()
		if got != want && got != strings.TrimPrefix(want, "R ") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
