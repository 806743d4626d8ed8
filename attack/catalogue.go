package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// attack is one test, as its comment tells it. After the story come fields, each at the beginning of a line:
//
//	Must: what must happen
//	Dialects: against which dialects it is run: sql, native, pgbouncer (that one by -target alone), or none
//	Not native: why it is not run against that one
type attack struct {
	room     string // the folder
	file     string
	name     string // TestAttackCancelBackends
	story    string
	must     string
	dialects []string          // empty: no database takes part
	none     bool              // the comment says so
	not      map[string]string // the reason, by the dialect
}

// dialects are what an attack may be run against.
var dialects = []string{"sql", "native", pgbouncer}

// applies reports whether an attack is run against a target.
func (a *attack) applies(target string) bool {
	if target == pgbouncer {
		return slices.Contains(a.dialects, pgbouncer)
	}
	return !slices.Equal(a.dialects, []string{pgbouncer})
}

// wants gives the dialects that must appear in the results; an empty word where none takes part.
func (a *attack) wants(target string) []string {
	list := slices.DeleteFunc(slices.Clone(a.dialects), func(d string) bool { return (d == pgbouncer) != (target == pgbouncer) })
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

// title is the name in words: "cancel backends".
func (a *attack) title() string {
	var words []string
	for name := strings.TrimPrefix(a.name, "TestAttack"); name != ""; {
		n := 1
		for n < len(name) && !isUpper(name[n]) {
			n++
		}
		if n == 1 { // an abbreviation ends where the next word begins
			for n < len(name) && isUpper(name[n]) && (n+1 == len(name) || isUpper(name[n+1])) {
				n++
			}
		}
		w := name[:n]
		if n == 1 || strings.ToUpper(w) != w {
			w = strings.ToLower(w)
		}
		words, name = append(words, w), name[n:]
	}
	return strings.Join(words, " ")
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// catalogue reads the attacks from the comments of all tests, in the order of the page. untold says which comments do not tell
// what they should: these attacks can be run, but not be listed.
func catalogue(root string) (attacks []*attack, untold []error, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); path != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "TestAttack") {
				continue
			}
			a, err := tell(f.Name.Name, f.Doc.Text())
			a.file, a.room = filepath.ToSlash(name), filepath.ToSlash(filepath.Dir(name))
			if err == nil {
				err = a.complete()
			}
			if err != nil {
				untold = append(untold, fmt.Errorf("%s: %s: %w", path, a.name, err))
			}
			attacks = append(attacks, a)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(attacks, func(a, b *attack) int { return section(a.room) - section(b.room) })
	return attacks, untold, nil
}

var field = regexp.MustCompile(`^(Must|Dialects|Not [a-z]+): `)

// tell reads a comment.
func tell(name, comment string) (*attack, error) {
	a := &attack{name: name, not: map[string]string{}}
	fields := map[string]string{}
	key := ""
	for line := range strings.Lines(comment) {
		line = strings.TrimSpace(line)
		if m := field.FindStringSubmatch(line); m != nil {
			key = m[1]
			if fields[key] != "" {
				return a, fmt.Errorf("its comment has %q twice", key)
			}
			line = line[len(m[0]):]
		}
		fields[key] = strings.TrimSpace(fields[key] + " " + line)
	}
	a.story, a.must = capital(strings.TrimPrefix(fields[""], name+": ")), capital(fields["Must"])
	if a.story == "" || a.must == "" {
		return a, fmt.Errorf("its comment does not tell who attacks with what, and in a line \"Must:\" what must happen")
	}
	for key, value := range fields {
		if dialect, ok := strings.CutPrefix(key, "Not "); ok {
			if !slices.Contains(dialects, dialect) {
				return a, fmt.Errorf("%q is no dialect", dialect)
			}
			a.not[dialect] = value
		}
	}
	value := fields["Dialects"]
	a.none = value == "none"
	if value != "" && !a.none {
		for dialect := range strings.SplitSeq(value, ",") {
			dialect = strings.TrimSpace(dialect)
			if !slices.Contains(dialects, dialect) {
				return a, fmt.Errorf("%q is no dialect", dialect)
			}
			a.dialects = append(a.dialects, dialect)
		}
	}
	return a, nil
}

// complete checks that a comment says something about every dialect. Inside of the database there is no proxy to be another.
func (a *attack) complete() error {
	switch {
	case section(a.room) < 0:
		return fmt.Errorf("page.go has no section for the folder %s", a.room)
	case len(a.dialects) == 0 && (strings.HasPrefix(a.room, "database") || a.room == "proxy") && !a.none:
		return errors.New("its comment has no line \"Dialects:\"")
	case len(a.dialects) == 0:
		return nil
	}
	for _, dialect := range dialects {
		if dialect == pgbouncer && a.room != "proxy" {
			continue
		}
		if runs, why := slices.Contains(a.dialects, dialect), a.not[dialect]; runs == (why != "") {
			return fmt.Errorf("its comment must name the dialect %s under \"Dialects:\", or the reason in a line \"Not %s:\"", dialect, dialect)
		}
	}
	return nil
}

func capital(s string) string {
	r := []rune(s)
	if len(r) > 0 {
		r[0] = unicode.ToUpper(r[0])
	}
	return string(r)
}
