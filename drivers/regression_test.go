//go:build suites

package drivers

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// TestRegressionSuite: PostgreSQL's own regression and isolation tests give the same outcomes through a proxy in session mode as straight
// at the server: what passes straight passes through the proxy, and what fails straight fails in the same way. scripts/regression-suite.sh
// fetches them. What differs, and why, stands in regression.txt.
func TestRegressionSuite(t *testing.T) {
	source := os.Getenv("REGRESSION_SOURCE")
	if source == "" {
		t.Fatal("run this by make regression-suite")
	}
	listed, inst := readList(t, "regression.txt"), pgtest.Versions(t)[0]
	for _, suite := range []struct{ name, database, tool, schedule string }{
		{"regress", "regression", "regress/pg_regress", "parallel_schedule"},
		{"isolation", "isolation_regression", "isolation/pg_isolation_regress", "isolation_schedule"},
	} {
		t.Run(suite.name, func(t *testing.T) {
			var outcomes [2]map[string]printout
			for i, through := range []bool{false, true} {
				c := pgtest.Start(t, inst, pgtest.WithHBA("local all all trust\nhost all all 127.0.0.1/32 trust\n"),
					pgtest.WithSetting("max_prepared_transactions", "10"), pgtest.WithSetting("max_connections", "200"))
				c.Exec(t, "postgres", "create database "+suite.database+" template template0")
				c.Exec(t, suite.database, strings.ReplaceAll(regressSettings, "regression", suite.database))
				port := c.Port
				if through {
					cfg := pgtest.DefaultPool()
					cfg.Mode, cfg.Size = pool.Session, 150
					port = pgtest.StartProxy(t, pgtest.ProxyOptions{Cluster: c, Database: suite.database, Pool: cfg}).Port
				}
				outcomes[i] = regress(t, source, suite.name, suite.database, tool(t, inst, suite.tool), suite.schedule, port)
			}
			compare(t, inst.Major, suite.name, outcomes[0], outcomes[1], listed)
		})
	}
}

// printout is what came of one test.
type printout struct {
	ok   bool
	text string // what it has printed
}

// compare prints how many tests pass, and names those that differ.
func compare(t *testing.T, major int, suite string, straight, through map[string]printout, listed map[string]string) {
	t.Helper()
	passed, same := [2]int{}, 0
	for name, s := range straight {
		p := through[name]
		for i, o := range []printout{s, p} {
			if o.ok {
				passed[i]++
			}
		}
		reason := listed[suite+"/"+name]
		switch {
		case s.ok && p.ok, !s.ok && !p.ok && s.text == p.text:
			same++
			if reason != "" && !strings.HasPrefix(reason, "sometimes:") {
				t.Errorf("%s: is in regression.txt, and is the same through the proxy", name)
			}
		case reason != "":
			t.Logf("%s: %s", name, reason)
		case s.ok == p.ok:
			t.Errorf("%s: fails straight at PostgreSQL, too, but prints something else through the proxy", name)
		default:
			t.Errorf("%s: passes %v straight at PostgreSQL, and %v through the proxy", name, s.ok, p.ok)
		}
	}
	fmt.Printf("version  suite      tests  pass straight  pass through the proxy  same outcome\n%7d  %-9s %6d %14d %23d %13d\n",
		major, suite, len(straight), passed[0], passed[1], same)
}

// regressSettings are what pg_regress itself gives a database that it makes.
const regressSettings = `alter database regression set lc_messages to 'C'; alter database regression set lc_monetary to 'C';
alter database regression set lc_numeric to 'C'; alter database regression set lc_time to 'C';
alter database regression set bytea_output to 'hex'; alter database regression set timezone_abbreviations to 'Default'`

// tool finds one of the programs that run the suites, where PostgreSQL's packages have it.
func tool(t *testing.T, inst cluster.Installation, name string) string {
	t.Helper()
	for _, dir := range []string{"../lib/pgxs/src/test", "../lib/postgresql/pgxs/src/test"} {
		if path := filepath.Join(inst.BinDir, dir, name); exec.Command(path, "--version").Run() == nil {
			return path
		}
	}
	t.Fatalf("PostgreSQL %s has no %s: run scripts/setup.sh test", inst.Version, name)
	return ""
}

// ownLibrary lets the isolation tester find the libpq of its version, where that came with it.
func ownLibrary(t *testing.T, program, dir string) (env []string) {
	t.Helper()
	list, _ := filepath.Glob(filepath.Join(filepath.Dir(program), "../../../../../libpq.so.5.*"))
	if len(list) == 0 {
		return nil
	}
	if err := os.Symlink(list[0], filepath.Join(dir, "libpq.so.5")); err != nil {
		t.Fatal(err)
	}
	return []string{"LD_LIBRARY_PATH=" + dir + ":" + filepath.Dir(list[0])}
}

// drop takes a test out of a schedule.
func drop(t *testing.T, schedule, test string) {
	t.Helper()
	text, err := os.ReadFile(schedule)
	if err == nil {
		text = regexp.MustCompile(`(?m)(^test:.*) `+test+`\b`).ReplaceAll(text, []byte("$1"))
		err = os.WriteFile(schedule, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// regressLine is what pg_regress says of a test: "test boolean ... ok", since 16 "not ok 3 - boolean".
var regressLine = regexp.MustCompile(`(?m)^(?:(?:test|     ?)\s*(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))|(ok|not ok)\s+\d+\s+[-+] (\S+))`)

var oid = regexp.MustCompile(`\bOID \d+`)

// regress runs one of the suites and gives what came of its tests.
func regress(t *testing.T, source, name, database, program, schedule string, port int) map[string]printout {
	t.Helper()
	out, err := os.MkdirTemp("", "claimpool-regress-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(out) })
	input := filepath.Join(out, "input")
	if err := os.CopyFS(input, os.DirFS(filepath.Join(source, "src/test", name))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(out, "lib"), os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{out, filepath.Join(out, "results"), filepath.Join(out, "testtablespace")} { // the server writes there, as another user
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	psql, own := pgtest.Tool(t, "psql") // not each installation has one
	if own.Major < 18 {
		drop(t, filepath.Join(input, schedule), "psql_pipeline") // an older psql waits there for ever
	}
	cmd := exec.Command(program, "--use-existing", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port),
		"--user="+cluster.Superuser, "--dbname="+database, "--inputdir="+input, "--outputdir="+out,
		"--bindir="+filepath.Dir(psql), "--dlpath="+filepath.Join(out, "lib"), "--max-concurrent-tests=20", "--schedule="+filepath.Join(input, schedule))
	cmd.Dir = out
	cmd.Env = append(clean(os.Environ()), "PGSSLMODE=disable") // libpq's words about a lost connection tell whether there was TLS
	if name == "isolation" {
		cmd.Env = append(cmd.Env, ownLibrary(t, program, out)...)
	}
	text, err := cmd.CombinedOutput()
	outcomes := map[string]printout{}
	for _, m := range regressLine.FindAllStringSubmatch(string(text), -1) {
		test := m[1] + m[4]
		printed, _ := os.ReadFile(filepath.Join(out, "results", test+".out")) // none where it has printed nothing
		printed = oid.ReplaceAll(bytes.ReplaceAll(printed, []byte(out), []byte("OUT")), []byte("OID"))
		outcomes[test] = printout{m[2]+m[3] == "ok", string(bytes.ReplaceAll(printed, fmt.Appendf(nil, "%d", port), []byte("PORT")))}
	}
	if len(outcomes) < 50 {
		t.Fatalf("%s: %v\n%s", program, err, text)
	}
	if file := os.Getenv("REGRESSION_DIFFS"); file != "" {
		diffs, _ := os.ReadFile(filepath.Join(out, "regression.diffs")) // none where all pass
		text = fmt.Appendf(text, "\n%s", diffs)
		if err := os.WriteFile(fmt.Sprintf("%s.%s.%d", file, name, port), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return outcomes
}
