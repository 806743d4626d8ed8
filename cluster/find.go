package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Installation is one set of server binaries.
type Installation struct {
	Major   int    // 15
	Version string // "15.18", as the server prints it
	BinDir  string // where postgres and initdb are
}

// String names the installation for people.
func (i Installation) String() string { return "PostgreSQL " + i.Version + " (" + i.BinDir + ")" }

// usualFolders are where the packages of the common systems put server binaries.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/pgsql-*/bin",                  // RPM packages of postgresql.org
	"/usr/local/pgsql/bin",              // built from source
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
}

// Find lists the installations in the given folders (glob patterns are welcome), then in those that pg_config, PATH and
// the usual folders of packages name. The newest version comes first; a version found twice is listed once, as found first.
func Find(folders ...string) []Installation {
	var found []Installation
	seen := map[int]bool{}
	for _, dir := range candidates(folders) {
		inst, err := Inspect(dir)
		if err != nil || seen[inst.Major] {
			continue
		}
		seen[inst.Major] = true
		found = append(found, inst)
	}
	slices.SortStableFunc(found, func(a, b Installation) int { return b.Major - a.Major })
	return found
}

func candidates(folders []string) []string {
	var dirs []string
	add := func(pattern string) {
		matches, _ := filepath.Glob(pattern) // a bad pattern finds nothing
		dirs = append(dirs, matches...)
	}
	for _, f := range folders {
		add(f)
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		add(strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		add(filepath.Dir(path))
	}
	for _, f := range usualFolders {
		add(f)
	}
	return dirs
}

// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19devel"
var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[^ \n]*)`)

// Inspect looks at one folder of binaries.
func Inspect(dir string) (Installation, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Installation{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Installation{}, err
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Installation{}, fmt.Errorf("ask postgres for its version: %w", err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Installation{}, fmt.Errorf("%s/postgres printed no version", dir)
	}
	major, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return Installation{}, err
	}
	return Installation{Major: major, Version: string(m[1]), BinDir: dir}, nil
}
