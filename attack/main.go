// Command attack runs the attacks that the tests contain, every function TestAttack… of the module, and prints who held: a
// table of attack, dialect, version of PostgreSQL and outcome. It also writes the page that lists them. It reads the
// attacks' stories from their comments and their outcomes from go test; it does not know how any of them works.
//
//	go run ./attack                      all of them; the exit status is 1 when one is broken or did not run
//	go run ./attack -run Cancel          some of them
//	go run ./attack -target pgbouncer    those that apply to PgBouncer in transaction mode, against it
//	go run ./attack -resume FILE         those that have not held when FILE was written, and write it on
//
// It is run by make attack. ATTACK_LEASES is how many hand-overs the attacks that hammer them have to hold: 12,000 here
// unless it is set, fewer in make test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:generate go run . -root .. -page ../docs/reference/attacks.md

// The environment that the tests read.
const (
	envLeases = "ATTACK_LEASES"
	envTarget = "ATTACK_TARGET"

	leases = "12000"
)

// parallel is how many tests run at once: they wait more than they work.
const parallel = "-parallel=4"

// The targets: what the attacks are run against.
const (
	claimpool = "claimpool"
	pgbouncer = "pgbouncer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	held, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(2)
	}
	if !held {
		os.Exit(1)
	}
}

// run does what the arguments say. held is false when an attack got through, or did not run.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (held bool, err error) {
	f := flag.NewFlagSet("attack", flag.ContinueOnError)
	f.SetOutput(stderr)
	var (
		root   = f.String("root", ".", "the folder of the repository")
		page   = f.String("page", "", "write the list of attacks to this file, and run none")
		read   = f.String("read", "", "read what go test -json has written from this file, and run none")
		target = f.String("target", claimpool, "what to attack: claimpool or pgbouncer")
		only   = f.String("run", "", "run the attacks alone whose name matches this expression")
		on     = f.String("resume", "", "keep what go test -json writes in this file; the attacks that have held, as it says, are not run again")
	)
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if *target != claimpool && *target != pgbouncer {
		return false, fmt.Errorf("unknown target %q: claimpool or pgbouncer", *target)
	}
	attacks, untold, err := catalogue(*root)
	if err != nil {
		return false, err
	}
	if len(untold) > 0 {
		fmt.Fprintln(stderr, errors.Join(untold...))
	}
	if *page != "" {
		if len(untold) > 0 {
			return false, errors.New("the list needs the comments of all attacks")
		}
		return true, os.WriteFile(*page, []byte(list(attacks)), 0o644)
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return false, fmt.Errorf("-run: %w", err)
	}
	attacks = slices.DeleteFunc(attacks, func(a *attack) bool { return !a.applies(*target) || !match.MatchString(a.name) })
	if len(attacks) == 0 {
		return false, errors.New("no attack matches")
	}
	r := &report{target: *target, attacks: attacks}
	begin := time.Now()
	switch {
	case *read != "":
		r.results, err = readResults(*read)
	case *on != "":
		var rest []*attack
		if rest, err = resume(*on, attacks); err != nil {
			return false, err
		}
		fmt.Fprintf(stderr, "%d of %d attacks have held before, says %s\n", len(attacks)-len(rest), len(attacks), *on)
		if len(rest) > 0 {
			_, err = test(ctx, *root, *target, rest, *on, stderr)
		}
		if err == nil {
			r.results, err = readResults(*on)
		}
	default:
		r.results, err = test(ctx, *root, *target, attacks, "", stderr)
	}
	if err != nil {
		return false, err
	}
	r.took = time.Since(begin)
	return r.print(stdout), nil
}

func readResults(name string) (*outcome, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return results(file, io.Discard)
}

// test runs the attacks with go test, and appends what it writes to a file, when one is named.
func test(ctx context.Context, root, target string, attacks []*attack, file string, progress io.Writer) (*outcome, error) {
	var packages, names []string
	for _, a := range attacks {
		packages = append(packages, "./"+filepath.ToSlash(a.room))
		names = append(names, a.name)
	}
	slices.Sort(packages)
	slices.Sort(names)
	progress = &shared{out: progress}
	args := []string{"test", "-json", "-count=1", "-timeout=5h", parallel, "-run=^(" + strings.Join(slices.Compact(names), "|") + ")$"}
	cmd := exec.CommandContext(ctx, "go", append(args, slices.Compact(packages)...)...)
	cmd.Dir, cmd.Stderr = root, progress
	cmd.Env = append(os.Environ(), envTarget+"="+target)
	if os.Getenv(envLeases) == "" {
		cmd.Env = append(cmd.Env, envLeases+"="+leases)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	kept, done, err := keep(out, file)
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start go test: %w", err), done())
	}
	said := &count{out: progress, of: len(attacks), begin: time.Now()}
	r, err := results(kept, said)
	_, drained := io.Copy(io.Discard, out)
	err = errors.Join(err, done())
	var exit *exec.ExitError
	if ended := cmd.Wait(); ended != nil && (!errors.As(ended, &exit) || ctx.Err() != nil) {
		return nil, fmt.Errorf("go test: %w", ended) // that tests fail is what the table says
	}
	return r, errors.Join(err, drained)
}

// shared is a writer for several goroutines.
type shared struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// count puts in front of each line how many of all are done, and for how long they have been running.
type count struct {
	out      io.Writer
	done, of int
	begin    time.Time
}

func (c *count) Write(line []byte) (int, error) {
	c.done++
	_, err := fmt.Fprintf(c.out, "%d of %d, %v: %s", c.done, c.of, time.Since(c.begin).Round(time.Second), line)
	return len(line), err
}
