package claimpool_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSeedSystemsPage holds that every row of the page on the systems before this one names tests, that they are there, and that no
// row is missing.
func TestSeedSystemsPage(t *testing.T) {
	const page = "docs/explanation/seed-systems.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(`\[(Test\w+)\]\(([^)]+)\)`)
	row := regexp.MustCompile(`^\| (\w+) \|`)
	var tables [][]string // what stands in the first column
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "|---") {
			tables = append(tables, nil)
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		tables[len(tables)-1] = append(tables[len(tables)-1], m[1])
		tests := test.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("%s: row %s of table %d names no test", page, m[1], len(tables))
		}
		for _, named := range tests {
			source, err := os.ReadFile(filepath.Join(filepath.Dir(page), named[2]))
			if err != nil || !strings.Contains(string(source), "func "+named[1]+"(t *testing.T)") {
				t.Errorf("%s: there is no test %s in %s", page, named[1], named[2])
			}
		}
	}
	want := []struct {
		first string
		rows  int
	}{{"1", 23}, {"a", 8}, {"1", 29}, {"a", 11}, {"1", 21}}
	if len(tables) != len(want) {
		t.Fatalf("%s has %d tables", page, len(tables))
	}
	for i, w := range want {
		if len(tables[i]) != w.rows {
			t.Errorf("%s: table %d has %d rows, not %d", page, i+1, len(tables[i]), w.rows)
		}
		for n, name := range tables[i] {
			expected := strconv.Itoa(n + 1)
			if w.first == "a" {
				expected = string(rune('a' + n))
			}
			if name != expected {
				t.Errorf("%s: table %d has row %s where %s is expected", page, i+1, name, expected)
			}
		}
	}
}
