// Package drivers runs the test suites that drivers ship, in their Go modules, through a proxy (make driver-suites). What cannot pass
// stands in the lists beside it, each test with its reason. It knows nothing of how the drivers or the proxy work.
package drivers

import (
	"os"
	"strings"
	"testing"
)

// maxListed bounds the lists: they are a promise to users, not a drawer.
var maxListed = map[string]int{"pgx-session.txt": 2, "pgx-transaction.txt": 15, "pq-session.txt": 2, "pq-transaction.txt": 15}

// readList reads which tests cannot pass: a line each, the package's folder, a dot and the test, then the reason.
func readList(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			t.Errorf("%s: %s has no reason", file, name)
		}
		if list[name] != "" {
			t.Errorf("%s: %s is there twice", file, name)
		}
		list[name] = reason
	}
	return list
}

func TestListsAreShort(t *testing.T) {
	for file, most := range maxListed {
		if n := len(readList(t, file)); n > most {
			t.Errorf("%s lists %d tests, more than %d", file, n, most)
		}
	}
}
