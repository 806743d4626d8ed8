package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/claimpool/claimpool/config"
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
