// Package pgtest is the test harness: real PostgreSQL clusters of every version, certificates, a token issuer, a proxy under
// test, and wire scripts. Only tests import it; it knows nothing that a user of the proxy would miss.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// Versions lists the installations that tests run on, oldest first. The default is the system's own and the newest: 15 and
// 18 on Debian 12 after scripts/setup.sh. PGTEST_VERSIONS="14,16" names others, "all" means every supported one. With
// PGTEST_REQUIRE=1, as in CI, a version that is missing fails the test; without, one is enough.
func Versions(t testing.TB) []cluster.Installation {
	t.Helper()
	list, missing := choose(installations(), os.Getenv("PGTEST_VERSIONS"), binaryDir())
	if len(list) == 0 || missing != "" && os.Getenv("PGTEST_REQUIRE") == "1" {
		t.Fatalf("PostgreSQL %s is missing on this machine: run scripts/setup.sh", missing)
	}
	return list
}

// choose picks from the installations, newest first, the wanted ones, oldest first, and says which are missing. What is not
// below the folder cached is the system's own.
func choose(found []cluster.Installation, want, cached string) (list []cluster.Installation, missing string) {
	if want == "all" {
		want = "14,15,16,17,18"
	}
	if want == "" {
		for _, i := range found {
			if !strings.HasPrefix(i.BinDir, cached+string(filepath.Separator)) {
				list = append(list, i)
				break
			}
		}
		if len(found) > 0 && !slices.Contains(list, found[0]) {
			list = append(list, found[0])
		}
		if len(list) < 2 {
			missing = "of a second version"
		}
		return list, missing
	}
	for name := range strings.SplitSeq(want, ",") {
		i := slices.IndexFunc(found, func(i cluster.Installation) bool { return strconv.Itoa(i.Major) == strings.TrimSpace(name) })
		if i < 0 {
			missing = strings.TrimSpace(missing + " " + name)
			continue
		}
		list = append(list, found[i])
	}
	slices.SortFunc(list, func(a, b cluster.Installation) int { return a.Major - b.Major })
	return list, missing
}

// EachVersion runs a test as a subtest on every version of Versions, one after the other.
func EachVersion(t *testing.T, test func(t *testing.T, inst cluster.Installation)) {
	t.Helper()
	for _, inst := range Versions(t) {
		t.Run(fmt.Sprintf("pg%d", inst.Major), func(t *testing.T) { test(t, inst) })
	}
}

// Newest is the newest of Versions, for tests that need no more than one.
func Newest(t testing.TB) cluster.Installation {
	t.Helper()
	list := Versions(t)
	return list[len(list)-1]
}

// Oldest is the oldest of Versions.
func Oldest(t testing.TB) cluster.Installation {
	t.Helper()
	return Versions(t)[0]
}

// installations is looked up once per process: it runs every postgres --version.
var installations = sync.OnceValue(func() []cluster.Installation {
	return cluster.Find(filepath.Join(binaryDir(), "*", "bin"))
})

// binaryDir is where scripts/setup.sh puts server binaries: in .cache, or where a link there leads.
func binaryDir() string {
	dir := filepath.Join(cacheDir(), "postgresql")
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		return target
	}
	return dir
}

// cacheDir is the folder .cache of the repository, where scripts/setup.sh puts what it fetches.
func cacheDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(filepath.Dir(file)), ".cache")
}

// Leases is how many hand-overs an attack that hammers them has to hold: few in make test; ATTACK_LEASES, which make attack sets
// to 12,000, says another number.
func Leases(t testing.TB, few int) int {
	t.Helper()
	text := os.Getenv("ATTACK_LEASES")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ATTACK_LEASES=%q is no number of leases", text)
	}
	return n
}

// Option changes how a cluster is made.
type Option func(*cluster.Options)

// WithSetting puts a line into postgresql.conf.
func WithSetting(name, value string) Option {
	return func(o *cluster.Options) {
		if o.Settings == nil {
			o.Settings = map[string]string{}
		}
		o.Settings[name] = value
	}
}

// WithHBA replaces pg_hba.conf. The default asks everybody for SCRAM.
func WithHBA(text string) Option { return func(o *cluster.Options) { o.HBA = text } }

// WithFile puts a file into the data folder.
func WithFile(name string, data []byte) Option {
	return func(o *cluster.Options) {
		if o.Files == nil {
			o.Files = map[string][]byte{}
		}
		o.Files[name] = data
	}
}

// WithTLS turns TLS on with a certificate of ca for localhost and 127.0.0.1. Client certificates of ca are accepted where
// pg_hba.conf asks for them.
func WithTLS(t testing.TB, ca *CA) Option {
	t.Helper()
	cert := ca.Server(t, "localhost", "127.0.0.1")
	return func(o *cluster.Options) {
		for _, option := range []Option{
			WithSetting("ssl", "on"), WithSetting("ssl_ca_file", "root.crt"),
			WithFile("root.crt", ca.PEM), WithFile("server.crt", cert.CertPEM), WithFile("server.key", cert.KeyPEM),
		} {
			option(o)
		}
	}
}

// WithCopy starts from a copy of another cluster, which must be stopped at that moment.
func WithCopy(c *Cluster) Option { return func(o *cluster.Options) { o.Template = c.Dir } }

// Start runs a cluster for one test. It is stopped when the test ends.
func Start(t testing.TB, inst cluster.Installation, options ...Option) *Cluster {
	t.Helper()
	c, err := start(inst, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := c.Log()
			t.Logf("the server's log:\n%s", log[max(0, len(log)-8000):])
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func start(inst cluster.Installation, options []Option) (*Cluster, error) {
	template, err := template(inst)
	if err != nil {
		return nil, err
	}
	opts := cluster.Options{Installation: inst, Template: template, Parent: memoryFolder()}
	for _, option := range options {
		option(&opts)
	}
	c, err := cluster.Start(context.Background(), opts)
	if err != nil {
		return nil, err
	}
	return &Cluster{Cluster: c}, nil
}

// sharedOptions are settings of the shared clusters.
var sharedOptions = []Option{WithSetting("max_prepared_transactions", "8")}

var shared = struct {
	sync.Mutex
	clusters map[int]*Cluster
}{clusters: map[int]*Cluster{}}

// Shared is the one cluster per version that all tests of this process use: make a database of your own with
// NewDatabase, and do not change what belongs to the whole cluster. It ends with the process.
func Shared(t testing.TB, inst cluster.Installation) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	c := shared.clusters[inst.Major]
	if c == nil {
		var err error
		if c, err = start(inst, sharedOptions); err != nil {
			t.Fatal(err)
		}
		shared.clusters[inst.Major] = c
	}
	return c
}
