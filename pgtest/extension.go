package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

var extensions = struct {
	sync.Mutex
	path map[int]string
}{path: map[int]string{}}

// extension builds the extension for a version, once for each state of its sources: the library is kept in .cache.
func extension(t testing.TB, major int) string {
	t.Helper()
	extensions.Lock()
	defer extensions.Unlock()
	if path := extensions.path[major]; path != "" {
		return path
	}
	path, err := buildExtension(major)
	if err != nil {
		t.Fatalf("build the extension for PostgreSQL %d: %v", major, err)
	}
	extensions.path[major] = path
	return path
}

func buildExtension(major int) (string, error) {
	sources := filepath.Join(filepath.Dir(cacheDir()), "database", "extension")
	script := filepath.Join(sources, "test", "build.sh")
	id, err := hashFiles(filepath.Join(sources, "*.[ch]"), script, filepath.Join(Headers(major), "pg_config.h"))
	if err != nil {
		return "", err
	}
	home := filepath.Join(filepath.Dir(binaryDir()), "extension")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	if os.Geteuid() == 0 && !cluster.Reachable(home) {
		home = os.TempDir() // and there the library stays: the server loads it again for each connection
	}
	path := filepath.Join(home, fmt.Sprintf("claimpool%d-%s.so", major, id))
	if _, err := os.Stat(path); err == nil && home != os.TempDir() {
		return path, nil
	}
	half, err := os.MkdirTemp(home, "half-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(half)
	if out, err := exec.Command(script, Headers(major), filepath.Join(half, "claimpool.so")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, os.Rename(filepath.Join(half, "claimpool.so"), path)
}

// hashFiles names the contents of the files that match the patterns.
func hashFiles(patterns ...string) (string, error) {
	sum := sha256.New()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(sum, "%s %d\n", filepath.Base(file), len(text))
			sum.Write(text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}
