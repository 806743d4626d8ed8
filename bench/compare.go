//go:build linux

package main

import (
	"context"
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
)

// settings are the flags of bench compare.
type settings struct {
	targets   []string
	builds    []build // of claimpool
	pgbouncer string  // its program
	postgres  int     // major version of PostgreSQL; 0: the newest of the system
	extra     []string
	trials    []string
	clients   []int
	rounds    int
	warmup    time.Duration
	time      time.Duration
	count     int
	idle      int
	pool      int
	real      bool
	quick     bool
	history   string
	keep      bool
	proxyCore string
	loadCore  string
}

// build is one claimpool program under a name of its own, so that two can be compared.
type build struct{ name, path string }

func parse(args []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	words := func(list *[]string) func(string) error {
		return func(v string) error {
			*list = strings.Split(v, ",")
			return nil
		}
	}
	f.Func("targets", "any of direct,pgbouncer,claimpool (default all)", words(&s.targets))
	f.Func("claimpool", "`[name=]path` of a claimpool program; may be repeated to compare builds", func(v string) error {
		name, path, named := strings.Cut(v, "=")
		if !named {
			name, path = "claimpool", v
		}
		s.builds = append(s.builds, build{name, path})
		return nil
	})
	f.StringVar(&s.pgbouncer, "pgbouncer", "pgbouncer", "PgBouncer's program")
	f.Func("pgbouncer-set", "`key=value` for pgbouncer.ini; may be repeated", func(v string) error {
		s.extra = append(s.extra, v)
		return nil
	})
	f.Func("workloads", "trials by name, such as simple,simple-tls (default all; see bench workloads and -list)", words(&s.trials))
	f.Func("clients", "client counts (default 1,8,64,512 for the basic workloads)", func(v string) error {
		for word := range strings.SplitSeq(v, ",") {
			n, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			s.clients = append(s.clients, n)
		}
		return nil
	})
	f.IntVar(&s.rounds, "rounds", 5, "rounds; every target runs once in each")
	f.DurationVar(&s.warmup, "warmup", 300*time.Millisecond, "time before measuring, per run")
	f.DurationVar(&s.time, "time", 1500*time.Millisecond, "time to measure, per run")
	f.IntVar(&s.count, "count", 0, "transactions to measure at most, per run; 0 is no bound")
	f.IntVar(&s.idle, "idle", 20_000, "idle clients")
	f.IntVar(&s.pool, "pool", 20, "server connections")
	f.BoolVar(&s.real, "real", false, "a real PostgreSQL and pgbench in place of the fake server and our own clients")
	f.BoolVar(&s.quick, "quick", false, "64 clients, 3 short rounds, the main workloads; nothing is written to the history")
	f.StringVar(&s.history, "history", "", "`file` to append the results to")
	f.BoolVar(&s.keep, "keep", false, "keep the folder with configurations and logs, and say where it is")
	f.StringVar(&s.proxyCore, "proxy-core", "0", "core for the proxies")
	f.StringVar(&s.loadCore, "load-core", otherCores(), "cores for everything else")
	list := f.Bool("list", false, "list the trials and end")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *list {
		s.rounds = 0
	}
	if s.quick {
		s.rounds, s.time, s.history, s.idle = min(s.rounds, 3), min(s.time, time.Second), "", min(s.idle, 5000)
	}
	if s.targets == nil {
		s.targets = []string{"direct", "pgbouncer", "claimpool"}
	}
	if slices.Contains(s.targets, "claimpool") && s.builds == nil && !*list {
		return nil, fmt.Errorf("-claimpool is needed (bench/run.sh builds it), or -targets without it")
	}
	return s, nil
}

func runCompare(args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	trials, err := s.plan()
	if err != nil {
		return err
	}
	if s.rounds == 0 {
		for _, t := range trials {
			fmt.Fprintf(out, "%-18s %4d clients\n", t.name, t.clients)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := pinSelf(s.loadCore); err != nil {
		return err
	}
	raiseLimit()
	b, err := newStage(ctx, s)
	if err != nil {
		return err
	}
	defer b.close()
	report := newReport(out, s, b)
	for _, t := range trials {
		sums, err := b.try(ctx, t)
		if err != nil {
			return fmt.Errorf("%s with %d clients: %w", t.name, t.clients, err)
		}
		if err := report.add(t, sums); err != nil {
			return err
		}
	}
	report.footnotes()
	return nil
}

// otherCores are all but the first, as taskset writes them.
func otherCores() string {
	switch last := runtime.NumCPU() - 1; last {
	case 0:
		return "0" // there is no other
	case 1:
		return "1"
	default:
		return fmt.Sprintf("1-%d", last)
	}
}

// pinSelf keeps this process, and all that it starts without saying otherwise, off the proxies' core.
func pinSelf(cores string) error {
	cmd := exec.Command("taskset", "-a", "-c", "-p", cores, strconv.Itoa(os.Getpid()))
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pin to core %s: %w: %s", cores, err, strings.TrimSpace(string(b)))
	}
	return nil
}
