//go:build linux

// Command bench measures what the proxy costs: it starts a fake instant PostgreSQL, PgBouncer and claimpool, sends them
// the same load in turn, and prints medians.
//
// It does not know how any of them works; it only reads /proc.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/fakepg"
	"github.com/claimpool/claimpool/bench/load"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const usage = `bench compare [flags]   run targets side by side and print a table (see -help)
bench handover [flags]  what serving another identity costs (see -help)
bench logins [flags]    what many logins do to those who are connected (see -help)
bench load [flags]      one load against one address; prints JSON
bench fakepg [flags]    the fake server alone
bench workloads         what the workloads do
`

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(out, usage)
		return nil
	}
	switch args[0] {
	case "compare":
		return runCompare(args[1:], out)
	case "handover":
		return runHandover(args[1:], out)
	case "logins":
		return runLogins(args[1:], out)
	case "load":
		return runLoad(args[1:], out)
	case "fakepg":
		return runFake(args[1:], out)
	case "workloads":
		for _, w := range load.Workloads() {
			fmt.Fprintf(out, "%-12s %s\n", w[0], w[1])
		}
		return nil
	}
	return fmt.Errorf("no command %q\n%s", args[0], usage)
}

func runFake(args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench fakepg", flag.ExitOnError)
	port := f.Int("port", 0, "`port` on 127.0.0.1; 0 chooses a free one")
	_ = f.Parse(args)
	s, err := fakepg.Listen(*port)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, s.Addr())
	return s.Serve()
}

func runLoad(args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench load", flag.ExitOnError)
	o := &load.Options{}
	f.StringVar(&o.Addr, "addr", "127.0.0.1:5432", "`host:port`, or the path of a unix socket")
	f.StringVar(&o.Workload, "workload", "simple", "what each client does: see bench workloads")
	f.IntVar(&o.Clients, "clients", 64, "connections at the same time")
	f.BoolVar(&o.TLS, "tls", false, "connect with TLS")
	f.StringVar(&o.User, "user", "bench", "who logs in; %d stands for the client's number")
	f.StringVar(&o.Database, "database", "bench", "where to")
	f.StringVar(&o.Password, "password", "", "the password, if one is asked for")
	tokens := f.String("tokens", "", "`file` with one token per line, sent as passwords in turn")
	bad := f.String("bad", "", "`file` with one bad token per line; for paced")
	f.Float64Var(&o.Rate, "rate", 0, "logins per second, for paced; else transactions per second, 0 is as many as possible")
	f.BoolVar(&o.X25519, "x25519", false, "TLS without ML-KEM, as libpq does it with OpenSSL before 3.5")
	f.DurationVar(&o.Warmup, "warmup", 300*time.Millisecond, "time before measuring; with idle, the time to settle")
	f.DurationVar(&o.Time, "time", 2*time.Second, "time to measure")
	f.IntVar(&o.Count, "count", 0, "transactions to measure at most; 0 is no bound")
	f.IntVar(&o.PID, "pid", 0, "the process whose cost is read from /proc")
	f.IntVar(&o.Server, "server-pid", 0, "PostgreSQL's first process, whose cost and whose children's is read too")
	f.IntVar(&o.Active, "active", 0, "clients that have a transaction at the same time; 0 is all")
	_ = f.Parse(args)
	for name, to := range map[string]*[]string{*tokens: &o.Tokens, *bad: &o.Bad} {
		if name == "" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read tokens: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			*to = append(*to, strings.TrimSpace(line))
		}
	}
	r, err := load.Run(o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}
