package pgtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/trusted"
)

// Headers is the folder of a version's server headers, Debian's own or those that scripts/setup.sh fetched; empty when there
// are none, and then the extension cannot be built for it.
func Headers(major int) string {
	for _, dir := range []string{
		fmt.Sprintf("/usr/include/postgresql/%d/server", major),
		filepath.Join(cacheDir(), "headers", fmt.Sprint(major)),
	} {
		if _, err := os.Stat(filepath.Join(dir, "postgres.h")); err == nil {
			return dir
		}
	}
	return ""
}

// EachNativeVersion is EachVersion for the versions that the extension can be built for. There must be one.
func EachNativeVersion(t *testing.T, test func(t *testing.T, inst cluster.Installation)) {
	t.Helper()
	ran := false
	for _, inst := range Versions(t) {
		if Headers(inst.Major) != "" {
			ran = true
			t.Run(fmt.Sprintf("pg%d", inst.Major), func(t *testing.T) { test(t, inst) })
		}
	}
	if !ran {
		t.Fatal("no PostgreSQL with headers: run scripts/setup.sh test")
	}
}

// Native is a cluster with the extension loaded, and the proxy's key for it.
type Native struct {
	*Cluster
	Key *trusted.NativeKey

	library string
}

// StartNative runs such a cluster for one test.
func StartNative(t testing.TB, inst cluster.Installation, options ...Option) *Native {
	t.Helper()
	n, loaded := newNative(t, inst)
	n.Cluster = Start(t, inst, append(options, loaded...)...)
	return n
}

// newNative makes a key, and says what a cluster must be started with.
func newNative(t testing.TB, inst cluster.Installation) (*Native, []Option) {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := trusted.ParseNativeKey([]byte("x25519:k1:" + base64.RawURLEncoding.EncodeToString(secret)))
	if err != nil {
		t.Fatal(err)
	}
	n := &Native{Key: key, library: extension(t, inst.Major)}
	return n, []Option{WithSetting("shared_preload_libraries", n.library), WithSetting("claimpool.proxy_keys", key.Setting())}
}

var sharedNative = struct {
	sync.Mutex
	clusters map[int]*Native
}{clusters: map[int]*Native{}}

// SharedNative is Shared with the extension loaded: one cluster per version for all tests of this process.
func SharedNative(t testing.TB, inst cluster.Installation) *Native {
	t.Helper()
	sharedNative.Lock()
	defer sharedNative.Unlock()
	n := sharedNative.clusters[inst.Major]
	if n == nil {
		var options []Option
		var err error
		n, options = newNative(t, inst)
		if n.Cluster, err = start(inst, append(options, sharedOptions...)); err != nil {
			t.Fatal(err)
		}
		sharedNative.clusters[inst.Major] = n
	}
	return n
}

// Install makes the extension's objects in a database. The library is not where CREATE EXTENSION looks for it.
func (n *Native) Install(t testing.TB, database string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(filepath.Dir(cacheDir()), "database", "extension", "claimpool--1.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	_, sql, _ := strings.Cut(string(script), "\n") // \echo is psql's
	n.Exec(t, database, strings.ReplaceAll(sql, "MODULE_PATHNAME", n.library))
}
