//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/load"
	"github.com/claimpool/claimpool/cluster"
)

// handover is one line of the comparison of hand-overs.
type handover struct {
	name       string
	target     string // claimpool, pgbouncer or pgbouncer-reset
	database   string
	workload   string
	identities int // 0: nobody is told from anybody else
}

// handovers are what is compared: who changes identity and how, against those who do not.
var handovers = []handover{
	{"no identities", "pgbouncer", "bench", "account", 0},
	{"no identities", "claimpool", "bench", "account", 0},
	{"reset always", "pgbouncer-reset", "bench", "account", 0},
	{"clients bring claims", "pgbouncer", "bench", "account-context", 0},
	{"clients bring claims", "claimpool", "bench", "account-context", 0},
	{"native", "claimpool", "native", "account", 1},
	{"native", "claimpool", "native", "account", 10},
	{"native", "claimpool", "native", "account", 200},
	{"sql", "claimpool", "identity", "account", 1},
	{"sql", "claimpool", "identity", "account", 10},
	{"sql", "claimpool", "identity", "account", 200},
	{"pgbench -N, reset", "pgbouncer-reset", "bench", "update", 0},
	{"pgbench -N, native", "claimpool", "native", "update", 1},
	{"pgbench -N, native", "claimpool", "native", "update", 200},
}

// goals are pairs of lines that are compared round by round: on a machine whose speed changes, their medians alone say little.
var goals = []struct{ what, line, against string }{
	{"native: 200 identities against one", "native claimpool 200", "native claimpool 1"},
	{"native: 10 identities against one", "native claimpool 10", "native claimpool 1"},
	{"native: 200 identities against PgBouncer with resets", "native claimpool 200", "reset always pgbouncer-reset 0"},
	{"native: 200 identities against clients that bring claims", "native claimpool 200", "clients bring claims pgbouncer 0"},
	{"sql: 200 identities against one", "sql claimpool 200", "sql claimpool 1"},
	{"pgbench -N: 200 identities against one", "pgbench -N, native claimpool 200", "pgbench -N, native claimpool 1"},
	{"pgbench -N: 200 identities against PgBouncer with resets", "pgbench -N, native claimpool 200", "pgbench -N, reset pgbouncer-reset 0"},
}

// handoverClients is how many clients log in: as many as there are identities at most. Only some have a transaction at a time.
const handoverClients = 200

// runHandover is bench handover.
func runHandover(args []string, out io.Writer) error {
	s := &settings{real: true, targets: []string{"pgbouncer", "claimpool"}, proxyCore: "0", loadCore: otherCores()}
	f := flag.NewFlagSet("bench handover", flag.ContinueOnError)
	path := f.String("claimpool", "", "claimpool's `program`")
	f.StringVar(&s.pgbouncer, "pgbouncer", "pgbouncer", "PgBouncer's program")
	f.IntVar(&s.rounds, "rounds", 5, "rounds; every line runs once in each")
	f.DurationVar(&s.warmup, "warmup", 500*time.Millisecond, "time before measuring, per run")
	f.DurationVar(&s.time, "time", 3*time.Second, "time to measure, per run")
	f.IntVar(&s.pool, "pool", 10, "server connections")
	f.IntVar(&s.postgres, "postgres", 0, "major `version` of PostgreSQL; the newest of the system by default")
	active := f.Int("active", 64, "clients that have a transaction at the same time")
	f.StringVar(&s.history, "history", "", "`file` to append the results to")
	f.BoolVar(&s.keep, "keep", false, "keep the folder with configurations and logs, and say where it is")
	only := f.String("only", "", "regular expression of the lines to measure, as \"native claimpool 200\"; all by default")
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, err := chooseHandovers(*only)
	if err != nil {
		return err
	}
	ctx, stop, err := s.begin(*path)
	if err != nil {
		return err
	}
	defer stop()
	b, err := newHandoverStage(ctx, s)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprintf(out, "%s, commit %s, %s, pool %d, %d clients of %d at a time, %d rounds of %v, medians (smallest-largest)\n\n",
		machine(), commit(), b.about, s.pool, *active, handoverClients, s.rounds, s.time)
	fmt.Fprintf(out, "%-20s %-15s %10s %8s %17s %8s %8s %11s %11s\n", "context", "target", "identities", "tps", "", "p50 µs", "p99 µs",
		"proxy µs/tx", "server µs/tx")
	runs, err := b.handOver(ctx, chosen, *active)
	if err != nil {
		return err
	}
	for i, h := range chosen {
		if err := h.report(out, s, b, *active, runs[i]); err != nil {
			return err
		}
	}
	reportGoals(out, chosen, runs)
	return nil
}

// reportGoals prints the throughput of lines against that of others in the same round.
func reportGoals(out io.Writer, chosen []handover, runs [][]*load.Result) {
	find := func(line string) int {
		return slices.IndexFunc(chosen, func(h handover) bool { return h.String() == line })
	}
	fmt.Fprintf(out, "\n%-60s %6s\n", "transactions per second, round by round", "ratio")
	for _, g := range goals {
		line, against := find(g.line), find(g.against)
		if line < 0 || against < 0 {
			continue
		}
		var ratios []float64
		for i, r := range runs[line] {
			ratios = append(ratios, tpsOf(r)/tpsOf(runs[against][i]))
		}
		fmt.Fprintf(out, "%-60s %6.2f (%.2f-%.2f)\n", g.what, median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
}

func (h handover) String() string { return fmt.Sprintf("%s %s %d", h.name, h.target, h.identities) }

// chooseHandovers gives the lines that fit a regular expression.
func chooseHandovers(only string) (chosen []handover, err error) {
	fits, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	for _, h := range handovers {
		if fits.MatchString(h.String()) {
			chosen = append(chosen, h)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only %q: there is no such line; the first is %q", only, handovers[0])
	}
	return chosen, nil
}

// begin makes ready for a comparison with one build of claimpool. The context ends with an interrupt.
func (s *settings) begin(path string) (ctx context.Context, stop func(), err error) {
	if path == "" {
		return nil, nil, fmt.Errorf("-claimpool is needed (bench/run.sh builds it)")
	}
	s.builds = []build{{"claimpool", path}}
	if err := pinSelf(s.loadCore); err != nil {
		return nil, nil, err
	}
	raiseLimit()
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt)
	return ctx, stop, nil
}

// handOver runs all lines in turn, and that again for every round. Who begins changes from round to round.
func (b *stage) handOver(ctx context.Context, chosen []handover, active int) ([][]*load.Result, error) {
	runs := make([][]*load.Result, len(chosen))
	for round := range b.s.rounds {
		for i := range chosen {
			i = (round + i) % len(chosen)
			r, err := b.serve(ctx, chosen[i], active)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", chosen[i], err)
			}
			runs[i] = append(runs[i], r)
		}
	}
	return runs, nil
}

// serve measures one line once.
func (b *stage) serve(ctx context.Context, h handover, active int) (*load.Result, error) {
	g := b.targets[slices.IndexFunc(b.targets, func(g *target) bool { return g.name == h.target })]
	behind := b.real
	if h.database == "native" {
		behind = b.native
	}
	top, err := postmaster(behind)
	if err != nil {
		return nil, err
	}
	args := []string{"-addr", g.addr, "-workload", h.workload, "-database", h.database, "-user", "bench",
		"-clients", fmt.Sprint(handoverClients), "-active", fmt.Sprint(active), "-pid", fmt.Sprint(g.pid), "-server-pid", fmt.Sprint(top),
		"-warmup", b.s.warmup.String(), "-time", b.s.time.String()}
	if h.identities > 0 {
		args = append(args, "-tokens", tokenFile(b.dir, h.identities))
	}
	return b.generate(ctx, args)
}

// postmaster is PostgreSQL's first process, the parent of all others.
func postmaster(c *cluster.Cluster) (int, error) {
	text, err := os.ReadFile(c.DataDir() + "/postmaster.pid")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

const handoverHeader = "date\tcommit\tmachine\tserver\tcontext\ttarget\tidentities\tclients\tactive\tpool\ttps\ttps_min\ttps_max\tp50_us\tp99_us\t" +
	"proxy_us_per_tx\tserver_us_per_tx\tversions\n"

// report prints a line and appends it to the history.
func (h handover) report(out io.Writer, s *settings, b *stage, active int, runs []*load.Result) error {
	sum := &summary{runs: runs, target: b.targets[slices.IndexFunc(b.targets, func(g *target) bool { return g.name == h.target })]}
	tps := sum.values(tpsOf)
	least, most := slices.Min(tps), slices.Max(tps)
	server := median(sum.values(func(r *load.Result) float64 { return r.Server }))
	fmt.Fprintf(out, "%-20s %-15s %10d %8.0f %17s %8.0f %8.0f %11.1f %11.1f\n", h.name, h.target, h.identities, median(tps),
		fmt.Sprintf("(%.0f-%.0f)", least, most), median(sum.values(p50Of)), median(sum.values(p99Of)), median(sum.values(cpuOf)), server)
	return s.record(handoverHeader, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%s\n",
		time.Now().UTC().Format("2006-01-02T15:04Z"), commit(), machine(), b.about, h.name, h.target, h.identities, handoverClients, active, s.pool,
		median(tps), least, most, median(sum.values(p50Of)), median(sum.values(p99Of)), median(sum.values(cpuOf)), server,
		sum.target.version+"; "+runtime.Version())
}
