//go:build linux

package main

import (
	"io"
	"testing"

	"github.com/claimpool/claimpool/bench/load"
)

func TestVerdictOfLogins(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name   string
		change func(during, after *phase)
		fails  bool
	}{
		{"nothing is felt", func(_, _ *phase) {}, false},
		{"queries wait", func(d, _ *phase) { d.queries.P99 = 20_000 }, true},
		{"queries do not come through", func(d, _ *phase) { d.queries.TPS = 1900 }, true},
		{"fewer logins than were asked for", func(d, _ *phase) { d.logins.Refused = 29_000 }, true},
		{"memory grows", func(d, _ *phase) { d.memory = []int64{30 * mb, 32 * mb, 40 * mb} }, true},
		{"memory grows by little", func(d, _ *phase) { d.memory = []int64{33 * mb, 34 * mb, 35 * mb, 36 * mb, 37 * mb, 39 * mb} }, false},
		{"memory is taken for a moment", func(d, _ *phase) {
			d.memory = []int64{33 * mb, 34 * mb, 33 * mb, 34 * mb, 33 * mb, 34 * mb, 33 * mb, 60 * mb, 34 * mb}
		}, false},
		{"memory jumps", func(d, _ *phase) { d.memory = []int64{90 * mb, 90 * mb, 40 * mb} }, true},
		{"memory stays", func(_, a *phase) { a.memory = []int64{60 * mb} }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			quiet := func() *phase {
				return &phase{queries: &load.Result{TPS: 2000, P50: 200, P99: 2000}, memory: []int64{30 * mb}}
			}
			before, during, after := quiet(), quiet(), quiet()
			during.logins = &load.Result{TPS: 500, Refused: 30_000, Seconds: 60}
			during.memory = []int64{34 * mb, 40 * mb, 38 * mb}
			test.change(during, after)
			err := (&loginTest{rate: 1000, queries: 2000}).judge(io.Discard, before, during, after)
			if (err != nil) != test.fails {
				t.Errorf("the verdict is %v", err)
			}
		})
	}
}
