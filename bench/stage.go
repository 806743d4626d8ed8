//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/load"
	"github.com/claimpool/claimpool/cluster"
)

// stage is all that runs during a comparison.
type stage struct {
	s       *settings
	dir     string // configurations, credentials, logs
	self    string // this program
	server  string // the address of the fake or real PostgreSQL
	about   string // what that is
	fake    *process
	real    *cluster.Cluster
	native  *cluster.Cluster // with the extension: there the settings of the SQL dialect are refused
	targets []*target
}

// newStage starts everything, or nothing.
func newStage(ctx context.Context, s *settings) (*stage, error) {
	b := &stage{s: s}
	if err := b.open(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// prepare makes the folder and what logins need.
func (b *stage) prepare() (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "claimpool-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	return writeCredentials(b.dir)
}

func (b *stage) open(ctx context.Context) (err error) {
	s := b.s
	if err := b.prepare(); err != nil {
		return err
	}
	if s.real {
		err = b.startReal(ctx)
	} else {
		err = b.startFake(ctx)
	}
	if err != nil {
		return err
	}
	if s.wanted("direct") {
		b.targets = append(b.targets, &target{name: "direct", addr: b.server, version: b.about})
	}
	if s.wanted("pgbouncer") {
		b.targets = append(b.targets, b.pgbouncer("pgbouncer", s))
	}
	if s.wanted("claimpool") {
		for _, u := range s.builds {
			b.targets = append(b.targets, b.claimpool(s, u))
		}
	}
	for _, g := range b.targets {
		if err := g.restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *stage) startFake(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	program, err := install(b.dir, "bench", b.self)
	if err != nil {
		return err
	}
	b.server, b.about = fmt.Sprintf("127.0.0.1:%d", port), "fake"
	if b.fake, err = start(b.dir, "fakepg", b.s.loadCore, program, "fakepg", "-port", fmt.Sprint(port)); err != nil {
		return err
	}
	return b.fake.await(ctx, b.server)
}

// close stops everything and removes the folder, unless it is to be kept.
func (b *stage) close() {
	for _, g := range b.targets {
		g.process.stop()
	}
	b.fake.stop()
	for _, c := range []*cluster.Cluster{b.real, b.native} {
		if c != nil {
			_ = c.Stop()
		}
	}
	switch {
	case b.dir == "":
	case b.s.keep:
		fmt.Fprintln(os.Stderr, "configurations and logs are in", b.dir)
	default:
		_ = os.RemoveAll(b.dir)
	}
}

// summary is what one target did in all rounds of a trial.
type summary struct {
	target *target
	runs   []*load.Result
	err    error // why it cannot do this
}

// try runs a trial: every target in turn, and that again for every round. Who begins changes from round to round.
func (b *stage) try(ctx context.Context, t trial) ([]*summary, error) {
	var sums []*summary
	for _, g := range b.targets {
		if t.fits(g) {
			sums = append(sums, &summary{target: g})
		}
	}
	rounds := b.s.rounds
	if t.alone {
		rounds = 1
	}
	for round := range rounds {
		for i := range sums {
			sum := sums[(round+i)%len(sums)]
			if sum.err != nil {
				continue
			}
			if t.alone {
				if err := sum.target.restart(ctx); err != nil {
					return nil, err
				}
			}
			r, err := b.run(ctx, t, sum.target)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				sum.err = err
				continue
			}
			sum.runs = append(sum.runs, r)
		}
	}
	return sums, nil
}

// run measures one target once.
func (b *stage) run(ctx context.Context, t trial, g *target) (*load.Result, error) {
	if b.s.real && t.login == "" { // pgbench has one password for all
		return b.pgbench(ctx, t, g)
	}
	warmup := b.s.warmup
	if t.alone {
		warmup = 3 * time.Second // for garbage to be collected
	}
	args := []string{"-addr", g.addr, "-workload", t.workload,
		"-clients", fmt.Sprint(t.clients), fmt.Sprintf("-tls=%v", t.tls), "-user", t.user(), "-database", t.database(), "-pid", fmt.Sprint(g.pid),
		"-warmup", warmup.String(), "-time", b.s.time.String(), "-count", fmt.Sprint(b.s.count), "-password", scramPassword}
	if t.tokens > 0 {
		args = append(args, "-tokens", tokenFile(b.dir, t.tokens))
	}
	return b.generate(ctx, args)
}

// generate runs this program as a generator of load, beside PostgreSQL.
func (b *stage) generate(ctx context.Context, args []string) (*load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.s.time+5*time.Minute)
	defer cancel()
	out, err := output(exec.CommandContext(ctx, "taskset", append([]string{"-c", b.s.loadCore, b.self, "load"}, args...)...))
	if err != nil {
		return nil, err
	}
	r := &load.Result{}
	return r, json.Unmarshal(out, r)
}

// output runs a command; when it fails, what it wrote to standard error is the reason: the line with the server's error,
// or else the last one.
func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		i := slices.IndexFunc(lines, func(s string) bool { return strings.Contains(s, "ERROR") || strings.Contains(s, "FATAL") })
		if i < 0 {
			i = len(lines) - 1
		}
		return nil, errors.New(strings.TrimPrefix(lines[i], "bench: "))
	}
	return out, err
}
