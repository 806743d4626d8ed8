//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/load"
)

// report prints a line per trial and target as soon as it is known, and appends it to the history.
type report struct {
	out     io.Writer
	s       *settings
	date    string
	commit  string
	machine string
	server  string
	notes   []string
}

func newReport(out io.Writer, s *settings, b *stage) *report {
	r := &report{out: out, s: s, date: time.Now().UTC().Format("2006-01-02T15:04Z"), server: b.about,
		commit: commit(), machine: machine()}
	fmt.Fprintf(out, "%s, commit %s, server %s, pool %d, %d rounds of %v, medians (smallest-largest)\n",
		r.machine, r.commit, r.server, s.pool, s.rounds, s.time)
	for _, g := range b.targets {
		fmt.Fprintf(out, "%s: %s\n", g.name, g.version)
	}
	fmt.Fprintf(out, "\n%-18s %7s %-12s %8s %-15s %6s %5s %9s %9s %9s %7s\n", "workload", "clients", "target",
		"cpu µs", "per tx", "ratio", "busy", "tps", "p50 µs", "p99 µs", "RSS MB")
	return r
}

// add prints and keeps what a trial gave.
func (r *report) add(t trial, sums []*summary) error {
	for _, sum := range sums {
		if sum.err != nil {
			fmt.Fprintf(r.out, "%-18s %7d %-12s %8s [%d]\n", t.name, t.clients, sum.target.name, "-", len(r.notes)+1)
			r.notes = append(r.notes, fmt.Sprintf("%s, %s: %v", t.name, sum.target.name, sum.err))
			continue
		}
		if len(sum.runs) == 0 {
			continue
		}
		r.line(t, sum, ratio(sum, sums))
		if err := r.keep(t, sum); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
	}
	return nil
}

func (r *report) line(t trial, sum *summary, ratio string) {
	cpu, spread, busy := "-", "", "-"
	if sum.target.pid != 0 {
		all := sum.values(cpuOf)
		cpu = fmt.Sprintf("%.1f", median(all))
		spread = fmt.Sprintf("(%.1f-%.1f)", slices.Min(all), slices.Max(all))
		busy = fmt.Sprintf("%.0f%%", 100*median(sum.values(func(x *load.Result) float64 { return x.Busy })))
	}
	fmt.Fprintf(r.out, "%-18s %7d %-12s %8s %-15s %6s %5s %9.0f %9.0f %9.0f %7.1f", t.name, sum.runs[0].Clients, sum.target.name,
		cpu, spread, ratio, busy, median(sum.values(tpsOf)), median(sum.values(p50Of)), median(sum.values(p99Of)),
		median(sum.values(rssOf))/(1<<20))
	if t.alone {
		fmt.Fprintf(r.out, "  %.2f kB per client", sum.runs[0].PerClient/1024)
	}
	fmt.Fprintln(r.out)
}

// footnotes explains the dashes.
func (r *report) footnotes() {
	for i, n := range r.notes {
		fmt.Fprintf(r.out, "[%d] %s\n", i+1, n)
	}
}

const header = "date\tcommit\tmachine\tserver\tworkload\tclients\ttarget\tcpu_us_per_tx\tcpu_min\tcpu_max\ttps\tp50_us\tp99_us\t" +
	"rss_kb\tidle_bytes_per_client\tversions\n"

// keep appends a row to the history.
func (r *report) keep(t trial, sum *summary) error {
	all := sum.values(cpuOf)
	return r.s.record(header, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%s\n",
		r.date, r.commit, r.machine, r.server, t.name, sum.runs[0].Clients, sum.target.name,
		median(all), slices.Min(all), slices.Max(all), median(sum.values(tpsOf)), median(sum.values(p50Of)),
		median(sum.values(p99Of)), median(sum.values(rssOf))/1024, sum.runs[0].PerClient,
		sum.target.version+"; "+runtime.Version())
}

// record appends a row to the history, when there is one; header begins an empty file.
func (s *settings) record(header, row string, values ...any) error {
	if s.history == "" {
		return nil
	}
	f, err := os.OpenFile(s.history, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		row = header + row
	}
	_, err = fmt.Fprintf(f, row, values...)
	return err
}

// ratio is a target's cost in units of PgBouncer's, round by round: neighbours on the machine disturb both alike.
func ratio(sum *summary, sums []*summary) string {
	i := slices.IndexFunc(sums, func(o *summary) bool { return o.target.name == "pgbouncer" })
	if i < 0 || sums[i].err != nil || sum.target.pid == 0 {
		return ""
	}
	var all []float64
	for round, r := range sum.runs {
		if base := sums[i].runs[round].CPU; base > 0 {
			all = append(all, r.CPU/base)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(all))
}

func cpuOf(r *load.Result) float64 { return r.CPU }
func tpsOf(r *load.Result) float64 { return r.TPS }
func p50Of(r *load.Result) float64 { return r.P50 }
func p99Of(r *load.Result) float64 { return r.P99 }
func rssOf(r *load.Result) float64 { return float64(r.Memory.RSS) }

// values picks one figure out of all rounds.
func (s *summary) values(of func(*load.Result) float64) []float64 {
	var all []float64
	for _, r := range s.runs {
		all = append(all, of(r))
	}
	return all
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// machine names the processor and the kernel, not the host.
func machine() string {
	model := "unknown processor"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d x %s, Linux %s", strings.Count(string(b), "processor\t"), model, firstLine("uname", "-r"))
}

func commit() string {
	c := firstLine("git", "rev-parse", "--short", "HEAD")
	if firstLine("git", "status", "--porcelain", "--untracked-files=no") != "unknown" {
		c += "+" // with changes that are not committed
	}
	return c
}
