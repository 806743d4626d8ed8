package main

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
)

// TestEveryLimitReachesTheProxy gives each limit a value of its own and looks for it where the proxy reads its limits. Only
// the time for draining is not the proxy's.
func TestEveryLimitReachesTheProxy(t *testing.T) {
	cfg := config.Default()
	cfg.Rules = []config.Rule{{Name: "r", Method: "reject", TLS: "any"}}
	limits := reflect.ValueOf(&cfg.Limits).Elem()
	for i := range limits.NumField() {
		limits.Field(i).SetInt(int64(4711 + i))
	}
	b, err := build(cfg, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	have := map[int64]bool{}
	taken := reflect.ValueOf(b.proxy.Limits)
	for i := range taken.NumField() {
		have[taken.Field(i).Int()] = true
	}
	for i := range limits.NumField() {
		if name := limits.Type().Field(i).Name; !have[limits.Field(i).Int()] && name != "DrainTimeout" {
			t.Errorf("%s is read by nobody", name)
		}
	}
}

// TestTargetsReachTheProxy: a database's other choices of servers differ from it in the way alone, and live on over a reload that does not
// change them.
func TestTargetsReachTheProxy(t *testing.T) {
	parse := func(attrs string) *config.Config {
		cfg, err := config.Parse("c.yaml", []byte(`
rules: {method: reject}
databases:
  app:
    hosts: [one, two]
    role: web
    target_session_attrs: primary
    targets: {reads: {target_session_attrs: `+attrs+`, load_balance_hosts: random, hosts: three, parameters: {work_mem: 1MB}}}
`))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	b, err := build(parse("standby"), time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	db := b.proxy.Databases["app"]
	reads := db.Targets["reads"]
	way, err := reads.Server("web")
	if err != nil {
		t.Fatal(err)
	}
	policy := way.Group.Policy()
	if !slices.Equal(way.Hosts, []string{"three:5432"}) || policy.Attrs != server.AttrsStandby || policy.Balance != server.BalanceRandom ||
		way.Database != "app" || reads.Name != "app" || reads.Role != "web" || !slices.Equal(reads.Parameters, [][2]string{{"work_mem", "1MB"}}) {
		t.Errorf("the target is %+v by %+v with %+v", reads, way, policy)
	}
	if way, err = db.Server("web"); err != nil || !slices.Equal(way.Hosts, []string{"one:5432", "two:5432"}) || way.Group.Policy().Attrs != server.AttrsPrimary {
		t.Errorf("the database is by %+v %v", way, err)
	}
	if again, err := build(parse("standby"), time.Now, b); err != nil || again.proxy.Databases["app"] != db {
		t.Errorf("a reload without a change made another database (%v)", err)
	}
	if again, err := build(parse("any"), time.Now, b); err != nil || again.proxy.Databases["app"] == db || again.proxy.Databases["app"].Targets["reads"] == reads {
		t.Errorf("a reload that changed the target left it as it was (%v)", err)
	}
}

func TestTenantsReachTheProxy(t *testing.T) {
	cfg, err := config.Parse("c.yaml", []byte(`
rules: {method: reject}
tenants_by: [options, sni]
tenant_claim: tenant_id
databases: {app: {hosts: one, tenant: abc}, other: {hosts: one}}
`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := build(cfg, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := proxy.Tenants{Databases: map[string]string{"abc": "app"}, Options: true, SNI: true, Claim: "tenant_id"}
	if !reflect.DeepEqual(b.proxy.Tenants, want) {
		t.Errorf("%+v", b.proxy.Tenants)
	}
}
