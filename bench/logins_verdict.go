//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// What a storm of logins may do to those who are connected. The logins take most of the proxy's only core, so a query that comes
// waits for the slice of time that the kernel has given to one of them.
const (
	leastShare   = 0.99   // of the rates asked for
	moreP50      = 1_000  // µs over the slower one of before and after
	moreP99      = 10_000 // µs, likewise
	moreMemory   = 32     // MiB over before: the logins that are under way, and what the collector lets lie
	growth       = 4      // MiB, the median of the last third over that of the first two: a leak of 200 bytes per login would show
	restMemory   = 16     // MiB after the storm over before
	verdictTable = "%-48s %10.1f %10.1f  %s\n"
)

// check is one line of the verdict.
type check struct {
	what       string
	got, limit float64
	least      bool // the limit is the least, and not the most
}

func (c *check) holds() bool { return c.got <= c.limit && !c.least || c.got >= c.limit && c.least }

// judge says what held, and fails when something did not. That good tokens are taken and bad ones refused, each of them, has ended the
// run before this if it was not so.
func (t *loginTest) judge(out io.Writer, before, during, after *phase) error {
	logins, cut := during.logins, len(during.memory)*2/3
	p50, p99 := max(before.queries.P50, after.queries.P50), max(before.queries.P99, after.queries.P99)
	all := logins.TPS + float64(logins.Refused)/logins.Seconds
	fmt.Fprintf(out, "\nprocessor time for each login, good or bad: %.0f µs of the proxy, %.0f µs of its generator\n\n%-48s %10s %10s\n",
		1e6*(during.busy-(before.busy+after.busy)/2)/all, logins.LoadCPU*logins.TPS/all, "during the logins", "measured", "limit")
	failed := false
	for _, c := range []check{
		{"logins per second, good and bad, at least", all, leastShare * t.rate, true},
		{"queries per second, at least", during.queries.TPS, leastShare * t.queries, true},
		{"p50 of queries, µs more than without", during.queries.P50 - p50, moreP50, false},
		{"p99 of queries, µs more than without", during.queries.P99 - p99, moreP99, false},
		{"memory, MiB more than before", mib(during.memory) - mib(before.memory), moreMemory, false},
		{"memory in the last third, MiB more than earlier", middle(during.memory[cut:]) - middle(during.memory[:cut]), growth, false},
		{"memory at the end, MiB more than before", mib(after.memory[len(after.memory)-1:]) - mib(before.memory), restMemory, false},
	} {
		word := "pass"
		if !c.holds() {
			word, failed = "FAIL", true
		}
		fmt.Fprintf(out, verdictTable, c.what, c.got, c.limit, word)
	}
	if failed {
		return errors.New("the logins were felt: see the table")
	}
	return nil
}

// middle is the median of what was seen: one burst of logins behind a pause of the machine is no growth.
func middle(seen []int64) float64 {
	if len(seen) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(seen))
	return mib(sorted[:len(sorted)/2+1])
}

// mib is the most of what was seen.
func mib(seen []int64) float64 {
	if len(seen) == 0 {
		return 0
	}
	return float64(slices.Max(seen)) / (1 << 20)
}
