//go:build linux

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
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
	active := f.Int("active", 64, "clients that have a transaction at the same time")
	f.StringVar(&s.history, "history", "", "`file` to append the results to")
	f.BoolVar(&s.keep, "keep", false, "keep the folder with configurations and logs, and say where it is")
	if err := f.Parse(args); err != nil {
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
	runs, err := b.handOver(ctx, *active)
	if err != nil {
		return err
	}
	for i, h := range handovers {
		if err := h.report(out, s, b, *active, runs[i]); err != nil {
			return err
		}
	}
	return nil
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
func (b *stage) handOver(ctx context.Context, active int) ([][]*load.Result, error) {
	runs := make([][]*load.Result, len(handovers))
	for round := range b.s.rounds {
		for i := range handovers {
			i = (round + i) % len(handovers)
			r, err := b.serve(ctx, handovers[i], active)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, %d identities: %w", handovers[i].name, handovers[i].target, handovers[i].identities, err)
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
	args := []string{"-c", b.s.loadCore, b.self, "load", "-addr", g.addr, "-workload", h.workload, "-database", h.database, "-user", "bench",
		"-clients", fmt.Sprint(handoverClients), "-active", fmt.Sprint(active), "-pid", fmt.Sprint(g.pid), "-server-pid", fmt.Sprint(top),
		"-warmup", b.s.warmup.String(), "-time", b.s.time.String()}
	if h.identities > 0 {
		args = append(args, "-tokens", tokenFile(b.dir, h.identities))
	}
	ctx, cancel := context.WithTimeout(ctx, b.s.time+5*time.Minute)
	defer cancel()
	out, err := output(exec.CommandContext(ctx, "taskset", args...))
	if err != nil {
		return nil, err
	}
	r := &load.Result{}
	return r, json.Unmarshal(out, r)
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
	if s.history == "" {
		return nil
	}
	f, err := os.OpenFile(s.history, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		if _, err := f.WriteString(handoverHeader); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%s\n",
		time.Now().UTC().Format("2006-01-02T15:04Z"), commit(), machine(), b.about, h.name, h.target, h.identities, handoverClients, active, s.pool,
		median(tps), least, most, median(sum.values(p50Of)), median(sum.values(p99Of)), median(sum.values(cpuOf)), server,
		sum.target.version+"; "+runtime.Version())
	return err
}
