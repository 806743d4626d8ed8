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
	rate    float64 // logins per second
	queries float64 // queries per second
	clients int
	tls     bool
	time    time.Duration
}

// phase is what the clients that are connected have felt, and what the proxy has held.
type phase struct {
	name    string
	queries *load.Result
	logins  *load.Result // nil: there were none
	memory  []int64      // resident, in bytes, ten times a second
	busy    float64      // the share of its core that the proxy used
}

// runLogins is bench logins.
func runLogins(args []string, out io.Writer) error {
	s := &settings{targets: []string{"claimpool"}, proxyCore: "0", loadCore: otherCores(), pool: 20, rounds: 1}
	t := &loginTest{}
	f := flag.NewFlagSet("bench logins", flag.ContinueOnError)
	path := f.String("claimpool", "", "claimpool's `program`")
	f.Float64Var(&t.rate, "rate", 1000, "logins per second, one half with good tokens and one with bad ones")
	f.Float64Var(&t.queries, "queries", 2000, "queries per second of the clients that are connected")
	f.IntVar(&t.clients, "clients", 16, "clients that run queries all the time")
	f.BoolVar(&t.tls, "tls", true, "everybody uses TLS; each login is a full handshake")
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
	favour(t.fake.pid())
	fmt.Fprintf(out, "%s, commit %s, %s, %d clients with %.0f queries per second, %.0f logins per second for %v, TLS %v\n\n",
		machine(), commit(), t.about, t.clients, t.queries, t.rate, t.time, t.tls)
	fmt.Fprintf(out, phaseHeader, "", "queries/s", "p50 µs", "p99 µs", "p99.9 µs", "RSS MiB", "busy", "logins/s", "p50 µs", "p99 µs", "refused/s")
	phases := []*phase{{name: "before"}, {name: "during", logins: &load.Result{}}, {name: "after"}}
	for _, p := range phases {
		if err := t.measure(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := t.report(out, p); err != nil {
			return err
		}
	}
	return t.judge(out, phases[0], phases[1], phases[2])
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
	memory := make(chan []int64, 1)
	go func() { memory <- watchMemory(ctx, g.pid) }()
	failed := make(chan error, 1)
	if p.logins != nil {
		go func() {
			failed <- t.load(ctx, p.logins, nil, "-workload", "paced", "-rate", fmt.Sprint(t.rate), "-bad", badTokens(t.dir), "-time", took.String())
		}()
	} else {
		failed <- nil
	}
	p.queries = &load.Result{}
	err := t.load(ctx, p.queries, urgently(), "-workload", "simple", "-clients", fmt.Sprint(t.clients), "-rate", fmt.Sprint(t.queries), "-time", took.String())
	if err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	cancel()
	p.memory, p.busy = <-memory, p.queries.Busy
	return nil
}

// load runs this program as a generator of load, behind the words of how.
func (t *loginTest) load(ctx context.Context, r *load.Result, how []string, args ...string) error {
	g := t.targets[0]
	words := append([]string{"-c", t.s.loadCore}, how...)
	words = append(words, t.self, "load", "-addr", g.addr, "-user", "bench", "-database", "identity", "-x25519",
		fmt.Sprintf("-tls=%v", t.tls), "-pid", fmt.Sprint(g.pid), "-tokens", tokenFile(t.dir, maxTokens))
	out, err := output(exec.CommandContext(ctx, "taskset", append(words, args...)...))
	if err != nil {
		return err
	}
	return json.Unmarshal(out, r)
}

// urgently are the words in front of a program that is never to wait for its core: the generator of logins is on the same one, and
// its share of that core is not what a query takes. Only root may say them.
func urgently() []string {
	if os.Geteuid() != 0 || exec.Command("chrt", "-f", "1", "true").Run() != nil {
		return nil
	}
	return []string{"chrt", "-f", "1"}
}

// favour does the same for a process that runs.
func favour(pid int) {
	if words := urgently(); words != nil {
		_ = exec.Command("chrt", "-a", "-f", "-p", "1", fmt.Sprint(pid)).Run() // without it the figures are worse, and no others
	}
}

// watchMemory gives the memory that a process has had until ctx ended.
func watchMemory(ctx context.Context, pid int) (seen []int64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if m, err := proc.ReadMemory(pid); err == nil {
			seen = append(seen, m.RSS)
		}
		select {
		case <-ctx.Done():
			return seen
		case <-tick.C:
		}
	}
}

const (
	phaseHeader = "%-8s %10s %8s %8s %9s %8s %6s %9s %8s %8s %9s\n"
	phaseLine   = "%-8s %10.0f %8.0f %8.0f %9.0f %8.1f %6.2f %9.0f %8.0f %8.0f %9.0f\n"

	loginsHeader = "date\tcommit\tmachine\tphase\tclients\trate\tqueries_per_s\tp50_us\tp99_us\tp999_us\trss_mib\tbusy\tlogins_per_s\tlogin_p50_us\tlogin_p99_us\trefused_per_s\ttls\tversions\n"
)

// report prints a line and appends it to the history.
func (t *loginTest) report(out io.Writer, p *phase) error {
	logins, q := p.logins, p.queries
	if logins == nil {
		logins = &load.Result{Seconds: 1}
	}
	rss, refused := mib(p.memory), float64(logins.Refused)/logins.Seconds
	fmt.Fprintf(out, phaseLine, p.name, q.TPS, q.P50, q.P99, q.P999, rss, p.busy, logins.TPS, logins.P50, logins.P99, refused)
	return t.s.record(loginsHeader, "%s\t%s\t%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%v\t%s\n",
		time.Now().UTC().Format("2006-01-02T15:04Z"), commit(), machine(), p.name, t.clients, t.rate, q.TPS, q.P50, q.P99, q.P999, rss, p.busy,
		logins.TPS, logins.P50, logins.P99, refused, t.tls, t.targets[0].version+"; "+runtime.Version())
}
