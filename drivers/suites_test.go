//go:build suites

package drivers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
)

// suite is a driver's module with the tests that it ships.
type suite struct {
	name     string
	module   string   // path and version
	sum      string   // its hash, as in go.sum: what was reviewed is what runs
	packages []string // whose tests talk to a server
	roles    string   // SQL for the cluster
	prepare  string   // SQL for a new database, as the driver's own instructions say
	env      func(host string, port int, database string) []string
}

// modes are those that the suites are played in.
var modes = []pool.Mode{pool.Session, pool.Transaction}

// features are the defaults of the settings file.
var features = feature.Choices{
	Listen: feature.Shared, AdvisoryLocks: feature.Pin, TemporaryTables: feature.Pin, WithHold: feature.Pin, Set: feature.Follow, Prepare: feature.Pin,
}

var suites = []*suite{
	{
		name: "pgx", module: "github.com/jackc/pgx/v5@v5.12.0", sum: "h1:hWwax8YiGT0YiN50U1oIDn5kgR7KC2tG3rmavwpPkxY=",
		packages: []string{".", "pgconn", "pgtype", "pgtype/zeronull", "pgxpool", "stdlib", "multitracer", "tracelog"},
		roles:    `create user suite superuser; create user postgres2; create user " tricky, ' } "" \\ test user " superuser;`,
		prepare:  "create extension hstore; create extension ltree; create domain uint64 as numeric(20,0);",
		env: func(host string, port int, database string) []string {
			dsn := fmt.Sprintf("host=%s port=%d user=suite dbname=%s sslmode=disable", host, port, database)
			return []string{"PGX_TEST_DATABASE=" + dsn, "PGX_TEST_TCP_CONN_STRING=" + dsn, "PGX_TEST_PGBOUNCER_CONN_STRING=" + dsn}
		},
	},
	{
		name: "pq", module: "github.com/lib/pq@v1.12.3", sum: "h1:tTWxr2YLKwIvK90ZXEw8GP7UFHtcbTtty8zsI+YjrfQ=",
		packages: []string{".", "hstore"},
		roles:    "create user suite superuser",
		prepare:  "create extension hstore",
		env: func(host string, port int, database string) []string {
			return []string{"PGHOST=" + host, fmt.Sprintf("PGPORT=%d", port), "PGDATABASE=" + database, "PGUSER=suite", "PGSSLMODE=disable"}
		},
	},
}

// TestDriverSuites: what a driver's own tests find at PostgreSQL they find through the proxy, but
// for what stands in the lists. What fails at PostgreSQL, too, does not count.
func TestDriverSuites(t *testing.T) {
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			dir := s.fetch(t)
			s.compile(t, dir)
			c := pgtest.Start(t, pgtest.Newest(t), pgtest.WithHBA("host all postgres all scram-sha-256\nhost all all 127.0.0.1/32 trust\n"),
				pgtest.WithSetting("max_connections", "300"))
			c.Exec(t, "postgres", s.roles)
			for _, mode := range modes {
				t.Run(string(mode), func(t *testing.T) {
					t.Parallel()
					s.through(t, dir, c, mode)
				})
			}
		})
	}
}

// through runs the suite through a proxy, and what fails there once more, and straight at PostgreSQL.
func (s *suite) through(t *testing.T, dir string, c *pgtest.Cluster, mode pool.Mode) {
	db := c.NewDatabase(t)
	c.Exec(t, db, s.prepare)
	cfg := pgtest.DefaultPool()
	cfg.Mode, cfg.Size, cfg.Pins = mode, 60, 60
	p := pgtest.StartProxy(t, pgtest.ProxyOptions{Cluster: c, Database: db, Pool: cfg, Features: features, PinTimeout: 5 * time.Minute})
	through := s.env(p.Host, p.Port, db)
	file := s.name + "-" + string(mode) + ".txt"
	listed := readList(t, file)
	var waiting []string
	for name, reason := range listed {
		if strings.HasPrefix(reason, "waits: ") {
			waiting = append(waiting, name)
		}
	}
	var all choice
	if len(waiting) > 0 {
		all.but = only(waiting)
	}
	got, output := s.run(t, dir, through, all)
	s.runWaiting(t, dir, through, waiting, got, output)
	failed := got.failures()
	var unknown []string
	for _, name := range failed {
		if listed[name] == "" {
			unknown = append(unknown, name)
		}
	}
	for name, reason := range listed {
		if word := got[name]; !slices.Contains(failed, name) && !strings.HasPrefix(reason, "sometimes: ") {
			t.Errorf("%s: %s is listed, and did not fail, but %q", file, name, word)
		}
	}
	t.Logf("%s, %s mode: %d tests, %d failed, %d of them listed", s.name, mode, len(got), len(failed), len(failed)-len(unknown))
	if len(unknown) == 0 {
		return
	}
	direct, _ := s.run(t, dir, s.env("127.0.0.1", c.Port, db), choice{only: only(unknown)})
	unknown = slices.DeleteFunc(unknown, func(name string) bool { return slices.Contains(direct.failures(), name) })
	for range 2 { // many tests rely on times of a few milliseconds
		if len(unknown) == 0 {
			return
		}
		got, output = s.run(t, dir, through, choice{only: only(unknown)})
		unknown = slices.DeleteFunc(unknown, func(name string) bool { return !slices.Contains(got.failures(), name) })
	}
	for _, name := range unknown {
		t.Errorf("%s, %s mode: %s fails three times; at PostgreSQL it does not\n%s", s.name, mode, name, output.of(name))
	}
}

// testName finds the function in a test's name, behind its package.
var testName = regexp.MustCompile(`(?:Test|Example|Fuzz)[^./]*(?:/|$)`)

// only is the pattern of go test for some tests, whatever their package.
func only(names []string) string {
	var list []string
	for _, name := range names {
		top, _, _ := strings.Cut(name[testName.FindStringIndex(name)[0]:], "/")
		list = append(list, regexp.QuoteMeta(top))
	}
	return "^(" + strings.Join(list, "|") + ")$"
}
