package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the table of one run.
type report struct {
	target  string
	attacks []*attack
	results *outcome
	took    time.Duration
}

// row is an attack in one dialect on one version.
type row struct {
	attack         *attack
	dialect, major string
	cases          int
	failed         []*result
	missing        bool // it did not run
}

// What a row may end with.
const (
	held     = "held"
	broken   = "BROKEN"
	succeeds = "succeeds" // against others than claimpool
	notRun   = "NOT RUN"
)

func (r *report) outcome(w *row) string {
	switch {
	case w.missing:
		return notRun
	case len(w.failed) == 0:
		return held
	case r.target != claimpool:
		return succeeds
	}
	return broken
}

// rows gathers the leaves of all tests: one row for each attack, dialect and version, and one for each that did not run.
func (r *report) rows() []*row {
	var rows []*row
	for _, a := range r.attacks {
		found := map[[2]string]*row{}
		for _, key := range r.results.order {
			t := r.results.tests[key]
			top, _, _ := strings.Cut(t.name, "/")
			if t.room != a.room || top != a.name || !t.ran || t.parent && t.action == "pass" || t.action == "skip" {
				continue
			}
			dialect, major, _ := place(t.name)
			if wants := a.wants(r.target); dialect == "" && len(wants) == 1 {
				dialect = wants[0]
			}
			if t.parent && r.childFailed(t) {
				continue // its child says more
			}
			at := [2]string{dialect, major}
			if found[at] == nil {
				found[at] = &row{attack: a, dialect: dialect, major: major}
			}
			w := found[at]
			if w.cases++; t.action != "pass" {
				w.failed = append(w.failed, t)
			}
		}
		for _, dialect := range a.wants(r.target) {
			if !slices.ContainsFunc(slices.Collect(maps.Values(found)), func(w *row) bool { return w.dialect == dialect }) {
				found[[2]string{dialect, ""}] = &row{attack: a, dialect: dialect, missing: true}
			}
		}
		rows = append(rows, slices.SortedFunc(maps.Values(found), func(v, w *row) int {
			return cmp.Or(cmp.Compare(slices.Index(dialects, v.dialect), slices.Index(dialects, w.dialect)), cmp.Compare(v.major, w.major))
		})...)
	}
	return rows
}

// childFailed reports whether a subtest of t has failed, or not ended.
func (r *report) childFailed(t *result) bool {
	for _, child := range r.results.tests {
		if child.room == t.room && strings.HasPrefix(child.name, t.name+"/") && child.ran && child.action != "pass" && child.action != "skip" {
			return true
		}
	}
	return false
}

// print writes the table, what the broken ones have said, and a summary. It reports whether all have held and run; against
// others than claimpool, whether all have run.
func (r *report) print(out io.Writer) bool {
	rows := r.rows()
	count := map[string]int{}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "attack\tdialect\tPostgreSQL\toutcome")
	for _, row := range rows {
		what := r.outcome(row)
		count[what]++
		cases := ""
		if row.cases > 1 && what == held {
			cases = fmt.Sprintf(" (%d cases)", row.cases)
		} else if row.cases > 1 && !row.missing {
			cases = fmt.Sprintf(" (%d of %d cases)", len(row.failed), row.cases)
		}
		fmt.Fprintf(w, "%s: %s\t%s\t%s\t%s%s\n", row.attack.room, row.attack.title(), dash(row.dialect), dash(row.major), what, cases)
		if r.target != claimpool {
			for _, t := range row.failed {
				if _, _, rest := place(t.name); rest != "" {
					fmt.Fprintf(w, "    %s\t\t\t%s\n", strings.ReplaceAll(rest, "_", " "), succeeds)
				}
			}
		}
	}
	w.Flush() // to memory first; a writer that fails has nobody to tell
	if r.target == claimpool {
		for _, row := range rows {
			for _, t := range row.failed {
				fmt.Fprintf(out, "\n%s %s: %s\n%s", row.attack.room, t.name, cmp.Or(t.action, "did not end"), end(t.output.String(), 4000))
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(r.results.broken)) {
		fmt.Fprintf(out, "\npackage %s failed:\n%s", pkg, r.results.broken[pkg])
	}
	fmt.Fprintf(out, "\n%d attacks on %s, %d runs: %d held", len(r.attacks), r.target, len(rows), count[held])
	if r.target == claimpool {
		fmt.Fprintf(out, ", %d broken", count[broken])
	} else {
		fmt.Fprintf(out, ", %d succeed", count[succeeds])
	}
	fmt.Fprintf(out, ", %d not run (%v)\n", count[notRun], r.took.Round(time.Second))
	return count[broken] == 0 && count[notRun] == 0 && len(r.results.broken) == 0
}

func dash(s string) string { return cmp.Or(s, "-") }
