// Package extension_test attacks the extension on real servers, over the wire. The other half of the native
// dialect is written down a second time here, from PROTOCOL.md; the proxy itself is only in page_test.go.
package extension_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// libraries are built once per major version, into a folder that the server's user can read.
var libraries = struct {
	sync.Mutex
	dir   string
	paths map[int]string
}{paths: map[int]string{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "claimpool-extension")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	libraries.dir = dir
	code := m.Run()
	for _, s := range servers.running {
		if err := s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// headers returns the folder of a version's server headers: Debian's, or those that headers.sh fetched. Empty: none.
func headers(major int) string {
	for _, dir := range []string{
		fmt.Sprintf("/usr/include/postgresql/%d/server", major),
		fmt.Sprintf("../../../.cache/headers/%d", major),
	} {
		if _, err := os.Stat(filepath.Join(dir, "postgres.h")); err == nil {
			return dir
		}
	}
	return ""
}

// library builds the extension for a version.
func library(t testing.TB, major int) string {
	t.Helper()
	libraries.Lock()
	defer libraries.Unlock()
	if path := libraries.paths[major]; path != "" {
		return path
	}
	include, err := filepath.Abs(headers(major))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(libraries.dir, fmt.Sprintf("claimpool%d.so", major))
	if out, err := exec.Command("./build.sh", include, path).CombinedOutput(); err != nil {
		t.Fatalf("build for PostgreSQL %d: %v\n%s", major, err, out)
	}
	libraries.paths[major] = path
	return path
}

// stub builds a library that exports a function of that name.
func stub(t testing.TB, major int, function string) string {
	t.Helper()
	include, err := filepath.Abs(headers(major))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(libraries.dir, fmt.Sprintf("%s%d.so", function, major))
	cmd := exec.Command("./build.sh", include, path)
	cmd.Env = append(os.Environ(), "STUB="+function)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", function, err, out)
	}
	return path
}

// eachVersion runs a test on every server that the extension can be built for. One must exist.
func eachVersion(t *testing.T, test func(t *testing.T, inst cluster.Installation)) {
	t.Helper()
	ran := false
	for _, inst := range pgtest.Versions(t) {
		if headers(inst.Major) != "" {
			ran = true
			t.Run(fmt.Sprintf("pg%d", inst.Major), func(t *testing.T) { test(t, inst) })
		}
	}
	if !ran {
		t.Fatal("no PostgreSQL with headers: install postgresql-server-dev, or run test/headers.sh 18")
	}
}

// server is a cluster with the extension loaded and its objects made, and a proxy key that it knows.
type server struct {
	*cluster.Cluster
	key proxyKey
}

// servers run until the last test is over: one for each major version. A test puts back what it changes.
var servers = struct {
	sync.Mutex
	running map[int]*server
}{running: map[int]*server{}}

// start returns the server of a version, with a role "pool" behind the gate and a role "plain" without one.
func start(t testing.TB, inst cluster.Installation) *server {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	if s := servers.running[inst.Major]; s != nil {
		return s
	}
	path := library(t, inst.Major)
	key := newProxyKey(t, "k1")
	c, err := cluster.Start(context.Background(), cluster.Options{Installation: inst, Settings: map[string]string{
		"shared_preload_libraries":  path,
		"claimpool.proxy_keys":      key.setting(),
		"claimpool.request_claims":  "on",
		"max_prepared_transactions": "5",
		"log_statement":             "all",
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Cluster: c, key: key}
	servers.running[inst.Major] = s

	admin := s.login(t, cluster.Superuser)
	admin.mustExec(extensionScript(t, inst.Major))
	admin.mustExec(`
		create role pool login password 'pool'; alter role pool set claimpool.gate = on;
		create role plain login password 'plain'; grant plain to pool;
		grant create on schema public to plain; grant temp on database postgres to pool;
		create table secrets (tenant text, value int);
		insert into secrets select 't' || i % 3, i from generate_series(1, 9) i;
		alter table secrets enable row level security;
		create policy by_tenant on secrets using (tenant = (select jwt('tenant')));
		grant select, insert on secrets to pool, plain;
		create table notes (value text); grant all on notes to pool, plain`)
	return s
}

// extensionScript is what CREATE EXTENSION would run: the library is not where it looks.
func extensionScript(t testing.TB, major int) string {
	t.Helper()
	script, err := os.ReadFile("../claimpool--1.0.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, sql, _ := strings.Cut(string(script), "\n") // \echo is psql's
	return strings.ReplaceAll(sql, "MODULE_PATHNAME", library(t, major))
}

// chownLike gives a file to the owner of another, which is the server's user.
func chownLike(t testing.TB, path string, like os.FileInfo) {
	t.Helper()
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(path, int(stat.Uid), int(stat.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
