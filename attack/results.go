package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Output     string
}

// outcome is what go test has said.
type outcome struct {
	tests  map[string]*result // by package and full name
	order  []string
	broken map[string]string // packages that failed as a whole, with the end of what they wrote
}

// result is one test or subtest.
type result struct {
	room, name string
	action     string // pass, fail, skip; empty: it never ended
	output     strings.Builder
	parent     bool // of subtests
	ran        bool // false: a name with a slash in it, whose first half is no test
}

const module = "github.com/claimpool/claimpool"

func room(pkg string) string {
	pkg, _, _ = strings.Cut(pkg, " ") // "p [p.test]" while it is built
	if pkg = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(pkg, module), ".test"), "_test"); pkg == "" {
		return "."
	}
	return strings.TrimPrefix(pkg, "/")
}

// results reads the output of go test -json. What happens is also said on progress, a line for each attack.
func results(r io.Reader, progress io.Writer) (*outcome, error) {
	o := &outcome{tests: map[string]*result{}, broken: map[string]string{}}
	said := map[string]string{} // by package, what no test has said
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read the output of go test: %w: %.200q", err, lines.Text())
		}
		if e.Package == "" {
			e.Package = e.ImportPath
		}
		pkg := room(e.Package)
		if e.Test == "" {
			switch {
			case strings.HasSuffix(e.Action, "output"):
				said[pkg] = end(said[pkg]+e.Output, 4000)
			case strings.HasSuffix(e.Action, "fail"):
				o.broken[pkg] = said[pkg]
			}
			continue
		}
		t := o.test(pkg, e.Test)
		t.ran = true
		switch e.Action {
		case "output":
			t.output.WriteString(e.Output)
		case "pass", "fail", "skip":
			t.action = e.Action
			if !strings.Contains(e.Test, "/") {
				fmt.Fprintf(progress, "%s %s: %s\n", pkg, e.Test, e.Action)
			}
		}
	}
	// A package whose tests say what is wrong is not broken as a whole.
	for _, t := range o.tests {
		if t.ran && (t.action == "fail" || t.action == "") {
			delete(o.broken, t.room)
		}
	}
	return o, lines.Err()
}

// test finds the notes about a test, and marks those above it.
func (o *outcome) test(pkg, name string) *result {
	key := pkg + " " + name
	t := o.tests[key]
	if t == nil {
		t = &result{room: pkg, name: name}
		o.tests[key] = t
		o.order = append(o.order, key)
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			o.test(pkg, name[:i]).parent = true
		}
	}
	return t
}

func end(s string, n int) string { return s[max(0, len(s)-n):] }

var version = regexp.MustCompile(`^(?:pg)?(1\d)(?:\.\d+)?(?:#\d+)?$`)

// place reads dialect and version from the name of a subtest: TestAttackX/sql/pg15/some case.
func place(name string) (dialect, major, rest string) {
	var other []string
	for _, part := range strings.Split(name, "/")[1:] {
		switch m := version.FindStringSubmatch(part); {
		case dialect == "" && slices.Contains(dialects, part):
			dialect = part
		case major == "" && m != nil:
			major = m[1]
		default:
			other = append(other, part)
		}
	}
	return dialect, major, strings.Join(other, "/")
}
