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
	"runtime"
	"time"

	"github.com/claimpool/claimpool/bench/load"
	"github.com/claimpool/claimpool/bench/proc"
)

// loginTest is bench logins: what many logins, good and bad, do to those who are connected.
type loginTest struct {
	*stage
	rate    float64
	clients int
	time    time.Duration
}

// phase is what the clients that are connected have felt, and what the proxy has held.
type phase struct {
	name     string
	queries  *load.Result
	logins   *load.Result // nil: there were none
	resident int64        // the most, in bytes
}

// runLogins is bench logins.
func runLogins(args []string, out io.Writer) error {
	s := &settings{targets: []string{"claimpool"}, proxyCore: "0", loadCore: otherCores(), pool: 10, rounds: 1}
	t := &loginTest{}
	f := flag.NewFlagSet("bench logins", flag.ContinueOnError)
	path := f.String("claimpool", "", "claimpool's `program`")
	f.Float64Var(&t.rate, "rate", 1000, "logins per second, one half with good tokens and one with bad ones")
	f.IntVar(&t.clients, "clients", 16, "clients that run queries all the time")
	f.DurationVar(&t.time, "time", time.Minute, "how long the logins go on; without them it is measured for a third of it, before and after")
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
	if t.stage, err = newStage(ctx, s); err != nil {
		return err
	}
	defer t.close()
	fmt.Fprintf(out, "%s, commit %s, %s, %d clients with queries, %.0f logins per second for %v\n\n", machine(), commit(), t.about, t.clients, t.rate, t.time)
	fmt.Fprintf(out, "%-8s %10s %10s %10s %12s %10s %10s %10s %10s\n", "", "queries/s", "p50 µs", "p99 µs", "memory MiB", "logins/s", "p50 µs", "p99 µs", "refused")
	for _, p := range []phase{{name: "before"}, {name: "during", logins: &load.Result{}}, {name: "after"}} {
		if err := t.measure(ctx, &p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := t.report(out, &p); err != nil {
			return err
		}
	}
	return nil
}

// measure runs the queries, with logins beside them or without.
func (t *loginTest) measure(ctx context.Context, p *phase) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	took := t.time / 3
	if p.logins != nil {
		took = t.time
	}
	g := t.targets[0]
	memory := make(chan int64, 1)
	go func() { memory <- watchMemory(ctx, g.pid) }()
	failed := make(chan error, 1)
	if p.logins != nil {
		go func() {
			failed <- t.load(ctx, p.logins, "-workload", "paced", "-rate", fmt.Sprint(t.rate), "-bad", badTokens(t.dir), "-time", took.String())
		}()
	} else {
		failed <- nil
	}
	p.queries = &load.Result{}
	err := t.load(ctx, p.queries, "-workload", "simple", "-clients", fmt.Sprint(t.clients), "-time", took.String())
	if err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	cancel()
	p.resident = <-memory
	return nil
}

// load runs this program as a generator of load.
func (t *loginTest) load(ctx context.Context, r *load.Result, args ...string) error {
	g := t.targets[0]
	args = append([]string{"-c", t.s.loadCore, t.self, "load", "-addr", g.addr, "-user", "bench", "-database", "identity",
		"-pid", fmt.Sprint(g.pid), "-tokens", tokenFile(t.dir, maxTokens)}, args...)
	out, err := output(exec.CommandContext(ctx, "taskset", args...))
	if err != nil {
		return err
	}
	return json.Unmarshal(out, r)
}

// watchMemory gives the most memory that a process has until ctx ends.
func watchMemory(ctx context.Context, pid int) (most int64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if m, err := proc.ReadMemory(pid); err == nil {
			most = max(most, m.RSS)
		}
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

const loginsHeader = "date\tcommit\tmachine\tphase\tclients\trate\tqueries_per_s\tp50_us\tp99_us\tmemory_mib\tlogins_per_s\tlogin_p50_us\tlogin_p99_us\trefused\tversions\n"

// report prints a line and appends it to the history.
func (t *loginTest) report(out io.Writer, p *phase) error {
	logins := p.logins
	if logins == nil {
		logins = &load.Result{}
	}
	mib := float64(p.resident) / (1 << 20)
	fmt.Fprintf(out, "%-8s %10.0f %10.0f %10.0f %12.1f %10.0f %10.0f %10.0f %10d\n", p.name, p.queries.TPS, p.queries.P50, p.queries.P99, mib,
		logins.TPS, logins.P50, logins.P99, logins.Refused)
	if t.s.history == "" {
		return nil
	}
	f, err := os.OpenFile(t.s.history, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		if _, err := f.WriteString(loginsHeader); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.0f\t%d\t%s\n",
		time.Now().UTC().Format("2006-01-02T15:04Z"), commit(), machine(), p.name, t.clients, t.rate, p.queries.TPS, p.queries.P50, p.queries.P99, mib,
		logins.TPS, logins.P50, logins.P99, logins.Refused, t.targets[0].version+"; "+runtime.Version())
	return err
}
