//go:build suites

package drivers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// TestRegressionSuite: PostgreSQL's own regression and isolation tests give the same outcomes through a proxy in session mode as straight
// at the server. scripts/regression-suite.sh fetches them. What differs, and why, stands in regression.txt.
func TestRegressionSuite(t *testing.T) {
	source := os.Getenv("REGRESSION_SOURCE")
	if source == "" {
		t.Fatal("run this by make regression-suite")
	}
	listed := readList(t, "regression.txt")
	for _, suite := range []struct{ name, tool, schedule string }{
		{"regress", "regress/pg_regress", "parallel_schedule"},
		{"isolation", "isolation/pg_isolation_regress", "isolation_schedule"},
	} {
		t.Run(suite.name, func(t *testing.T) {
			var outcomes [2]map[string]bool
			for i, through := range []bool{false, true} {
				c := pgtest.Start(t, systemPostgres(t), pgtest.WithHBA("local all all trust\nhost all all 127.0.0.1/32 trust\n"),
					pgtest.WithSetting("max_prepared_transactions", "10"), pgtest.WithSetting("max_connections", "200"))
				c.Exec(t, "postgres", "create database regression template template0")
				c.Exec(t, "regression", regressSettings)
				port := c.Port
				if through {
					cfg := pgtest.DefaultPool()
					cfg.Mode, cfg.Size = pool.Session, 150
					port = pgtest.StartProxy(t, pgtest.ProxyOptions{Cluster: c, Database: "regression", Pool: cfg}).Port
				}
				outcomes[i] = regress(t, source, suite.name, suite.tool, suite.schedule, port)
			}
			passed, both := [2]int{}, 0
			for name, ok := range outcomes[0] {
				for i := range outcomes {
					if outcomes[i][name] {
						passed[i]++
					}
				}
				switch {
				case ok == outcomes[1][name]:
					both++
				case listed[suite.name+"/"+name] == "":
					t.Errorf("%s: passes %v straight at PostgreSQL, and %v through the proxy", name, ok, outcomes[1][name])
				}
			}
			t.Logf("%s: of %d tests %d pass straight, %d through the proxy", suite.name, len(outcomes[0]), passed[0], passed[1])
		})
	}
}

// regressSettings are what pg_regress itself gives a database that it makes.
const regressSettings = `alter database regression set lc_messages to 'C'; alter database regression set lc_monetary to 'C';
alter database regression set lc_numeric to 'C'; alter database regression set lc_time to 'C';
alter database regression set bytea_output to 'hex'; alter database regression set timezone_abbreviations to 'Default'`

// systemPostgres is the version that the tests are made for.
func systemPostgres(t *testing.T) cluster.Installation {
	t.Helper()
	inst, err := cluster.Inspect("/usr/lib/postgresql/15/bin")
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

var regressLine = regexp.MustCompile(`(?m)^(?:test|     ?)\s*(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))`)

// regress runs one of the suites and gives which of its tests have passed.
func regress(t *testing.T, source, name, tool, schedule string, port int) map[string]bool {
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
	cmd := exec.Command("/usr/lib/postgresql/15/lib/pgxs/src/test/"+tool, "--use-existing", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port),
		"--user="+cluster.Superuser, "--dbname=regression", "--inputdir="+input, "--outputdir="+out,
		"--bindir=/usr/lib/postgresql/15/bin", "--dlpath="+filepath.Join(out, "lib"), "--max-concurrent-tests=20", "--schedule="+filepath.Join(input, schedule))
	cmd.Dir = out
	cmd.Env = clean(os.Environ())
	text, err := cmd.CombinedOutput()
	outcome := map[string]bool{}
	for _, m := range regressLine.FindAllStringSubmatch(string(text), -1) {
		outcome[m[1]] = m[2] == "ok"
	}
	if len(outcome) < 50 {
		t.Fatalf("%s: %v\n%s", tool, err, text)
	}
	if file := os.Getenv("REGRESSION_DIFFS"); file != "" {
		diffs, _ := os.ReadFile(filepath.Join(out, "regression.diffs")) // none where all pass
		if err := os.WriteFile(fmt.Sprintf("%s.%s.%d", file, name, port), append(text, diffs...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return outcome
}
