//go:build suites

package drivers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// maxPackageTime is when a package of a suite counts as hung. On an idle machine the slowest takes 40 seconds.
const maxPackageTime = 10 * time.Minute

// maxWait is for how long a test may wait that is known to wait in vain.
const maxWait = 15 * time.Second

// maxTestTime is when a test is worth a word in the log.
const maxTestTime = 15 * time.Second

// outcome has the last word of each test, "package.Test": pass, fail or skip, or run where it has not ended.
type outcome map[string]string

// transcript is what each test has printed.
type transcript map[string][]string

// fetch gives a copy of the module's source that may be written to.
func (s *suite) fetch(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", s.module)
	cmd.Dir = t.TempDir() // outside of our module, whose go.sum need not know this one
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s%s", s.module, err, out, stderr.Bytes())
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Sum != s.sum {
		t.Fatalf("%s has the hash %s, not %s: it is not what was reviewed", s.module, got.Sum, s.sum)
	}
	dir := filepath.Join(t.TempDir(), s.name)
	if err := os.CopyFS(dir, os.DirFS(got.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// compile builds the tests of the suite's packages.
func (s *suite) compile(t *testing.T, dir string) {
	t.Helper()
	for _, pkg := range s.packages {
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-o", s.binary(dir, pkg), "./"+pkg)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s/%s: %v\n%s", s.module, pkg, err, out)
		}
	}
}

func (s *suite) binary(dir, pkg string) string {
	return filepath.Join(dir, "bin", strings.ReplaceAll(pkg, "/", "_")+".test")
}

// choice is of tests: those that only names and but does not, as patterns of go test; all when both are empty.
type choice struct{ only, but string }

// run runs tests of the suite.
func (s *suite) run(t *testing.T, dir string, env []string, which choice) (outcome, transcript) {
	t.Helper()
	got, output := outcome{}, transcript{}
	for _, pkg := range s.packages {
		start := time.Now()
		n := s.runPackage(t, dir, pkg, env, which, maxPackageTime, got, output)
		if slices.Contains(slices.Collect(maps.Values(got)), "run") { // one test's panic has ended those that ran beside it
			t.Logf("%s has died, and is run once more", pkg)
			n = s.runPackage(t, dir, pkg, env, which, maxPackageTime, got, output)
		}
		t.Logf("%s: %d tests in %v", pkg, n, time.Since(start).Round(100*time.Millisecond))
	}
	return got, output
}

// runWaiting runs tests that wait for what does not come: they have maxWait, and count as failed behind it.
func (s *suite) runWaiting(t *testing.T, dir string, env []string, names []string, got outcome, output transcript) {
	t.Helper()
	for _, pkg := range s.packages {
		own := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			folder, _, ok := strings.Cut(name, ".")
			return pkg != folder && (ok || pkg != ".")
		})
		if len(own) > 0 {
			s.runPackage(t, dir, pkg, env, choice{only: only(own)}, maxWait, got, output)
		}
	}
}

func (s *suite) runPackage(t *testing.T, dir, pkg string, env []string, which choice, limit time.Duration, got outcome, output transcript) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit+10*time.Second)
	defer cancel()
	args := []string{"tool", "test2json", "-t", s.binary(dir, pkg), "-test.v=test2json", "-test.timeout=" + limit.String()}
	if which.only != "" {
		args = append(args, "-test.run="+which.only)
	}
	if which.but != "" {
		args = append(args, "-test.skip="+which.but)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(dir, pkg)
	cmd.Env = append(clean(os.Environ()), env...)
	cmd.WaitDelay = time.Second
	lines, runErr := cmd.Output()
	prefix := pkg + "."
	if pkg == "." {
		prefix = ""
	}
	scan := bufio.NewScanner(bytes.NewReader(lines))
	scan.Buffer(nil, 16<<20)
	failed := false
	for scan.Scan() {
		var e struct {
			Action, Test, Output string
			Elapsed              float64 // seconds
		}
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		name := prefix + e.Test
		switch {
		case e.Test == "":
		case e.Action == "output":
			output[name] = append(output[name], e.Output)
		case slices.Contains([]string{"run", "pass", "fail", "skip"}, e.Action):
			if e.Action == "run" {
				n++
			}
			failed = failed || e.Action == "fail"
			got[name] = e.Action
			if e.Elapsed > maxTestTime.Seconds() {
				t.Logf("%s has taken %.0f s", name, e.Elapsed)
			}
		}
	}
	if runErr != nil && !failed || which.only == "" && n == 0 {
		t.Errorf("%s %s: %v; it hangs, or has died\n%s", s.name, pkg, runErr, lines[max(0, len(lines)-4000):])
	}
	return n
}

// of gives what a test has printed.
func (tr transcript) of(name string) string { return strings.Join(tr[name], "") }

// clean is the environment without what drivers read.
func clean(env []string) []string {
	return slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "PQ") })
}

// failures are the tests that have not passed, without those of which only a part has not.
func (o outcome) failures() []string {
	var list []string
	bad := func(word string) bool { return word == "fail" || word == "run" }
	for name, word := range o {
		if !bad(word) {
			continue
		}
		part := false
		for other, word := range o {
			part = part || bad(word) && strings.HasPrefix(other, name+"/")
		}
		if !part {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
