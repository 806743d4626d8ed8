//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/bench/load"
	"github.com/claimpool/claimpool/bench/proc"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
)

// scripts are the workloads of pgbench; "select" is its own select-only one.
var scripts = map[string]string{
	"simple":      "select 1;\n",
	"extended":    "select 1;\n",
	"prepared":    "select 1;\n",
	"transaction": "begin;\nselect 1;\nselect 1;\nselect 1;\ncommit;\n",
}

// startReal starts a private cluster on the cores of the load, with a role, a database and pgbench's tables.
func (b *stage) startReal(ctx context.Context) (err error) {
	b.real, err = cluster.Start(ctx, cluster.Options{
		HBA:      "host all all 127.0.0.0/8 trust\nlocal all all trust\n",
		Settings: map[string]string{"max_connections": "600"},
	})
	if err != nil {
		return err
	}
	b.server, b.about = b.real.Address(), "PostgreSQL "+b.real.Installation.Version
	for _, sql := range []string{"create role bench login", "create database bench owner bench", "create database identity"} {
		if _, err := b.psql(ctx, "psql", "-U", cluster.Superuser, "-d", "postgres", "-X", "-q", "-c", sql); err != nil {
			return fmt.Errorf("set up database: %w", err)
		}
	}
	if err := b.installContext(ctx); err != nil {
		return fmt.Errorf("install trusted context: %w", err)
	}
	if _, err := b.psql(ctx, "pgbench", "-U", "bench", "-i", "-q", "-s", "5", "bench"); err != nil {
		return fmt.Errorf("set up database: %w", err)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(b.dir, name+".sql"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// installContext does what claimpool db install does, and gives the key to the proxy.
func (b *stage) installContext(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.real.DSN("identity", cluster.Superuser, ""))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	plan, err := database.PlanInstall(ctx, conn, database.Options{})
	if err != nil {
		return err
	}
	key, err := plan.Run(ctx, conn)
	if err != nil {
		return err
	}
	_, err = put(b.dir, "context.key", key.File(), 0o600)
	return err
}

// psql runs a client program straight at the cluster.
func (b *stage) psql(ctx context.Context, program string, args ...string) ([]byte, error) {
	return b.psqlAt(ctx, b.real, program, args...)
}

func (b *stage) psqlAt(ctx context.Context, c *cluster.Cluster, program string, args ...string) ([]byte, error) {
	args = append([]string{"-h", "127.0.0.1", "-p", fmt.Sprint(c.Port)}, args...)
	return output(exec.CommandContext(ctx, b.client(program), args...))
}

// client finds a client program: beside the server's, or else in PATH.
func (b *stage) client(program string) string {
	path := filepath.Join(b.real.Installation.BinDir, program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return program
}

var processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)

// pgbench measures one target once. Unlike our own clients it counts the logins in, a small part of some seconds.
func (b *stage) pgbench(ctx context.Context, t trial, g *target) (*load.Result, error) {
	host, port, _ := strings.Cut(g.addr, ":")
	seconds := max(1, int((b.s.time + b.s.warmup).Round(time.Second).Seconds()))
	mode, work := "simple", []string{"-f", filepath.Join(b.dir, t.workload+".sql")}
	switch t.workload {
	case "extended", "prepared":
		mode = t.workload
	case "select":
		work = []string{"-S"}
	}
	prefix := filepath.Join(b.dir, "pgbench")
	args := append([]string{"-c", b.s.loadCore, b.client("pgbench"), "-h", host, "-p", port, "-U", "bench", "-n",
		"-M", mode, "-c", fmt.Sprint(t.clients), "-T", fmt.Sprint(seconds),
		"-l", "--log-prefix", prefix, "--sampling-rate", "0.2"}, work...)
	cmd := exec.CommandContext(ctx, "taskset", append(args, "bench")...)
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable")
	before, err := proc.ReadCPU(g.pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	out, err := output(cmd)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	after, err := proc.ReadCPU(g.pid)
	if err != nil {
		return nil, err
	}
	m := processed.FindSubmatch(out)
	if m == nil {
		return nil, errors.New("pgbench does not say how many transactions it processed")
	}
	n, _ := strconv.Atoi(string(m[1]))
	if n == 0 {
		return nil, errors.New("pgbench completed no transaction")
	}
	memory, err := proc.ReadMemory(g.pid)
	if err != nil {
		return nil, err
	}
	p50, p99, err := latencies(prefix)
	spent := after.Since(before)
	return &load.Result{
		Clients: t.clients, Transactions: n, Seconds: took.Seconds(), TPS: float64(n) / took.Seconds(), P50: p50, P99: p99,
		CPU: float64(spent.Nanoseconds()) / 1e3 / float64(n), Busy: spent.Seconds() / took.Seconds(), Memory: memory,
	}, err
}

// latencies reads pgbench's per-transaction logs, third column, in microseconds, and removes them.
func latencies(prefix string) (p50, p99 float64, err error) {
	files, err := filepath.Glob(prefix + ".*")
	if err != nil {
		return 0, 0, err
	}
	var all []float64
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return 0, 0, err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if fields := strings.Fields(s.Text()); len(fields) > 2 {
				us, _ := strconv.ParseFloat(fields[2], 64)
				all = append(all, us)
			}
		}
		f.Close()
		if err := os.Remove(name); err != nil {
			return 0, 0, err
		}
	}
	if len(all) == 0 {
		return 0, 0, nil
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}
