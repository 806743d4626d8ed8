package database

import (
	"embed"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/*.sql
var files embed.FS

// step is one piece of a plan: a title for people and the SQL.
type step struct {
	title string
	sql   string
}

// file reads a file of sql/ and puts in its variables, which are written as psql writes them, so that the files also run there:
// :"api" (an identifier), :'api' (a literal), :version.
func file(name, api string) string {
	text, err := files.ReadFile("sql/" + name)
	if err != nil {
		panic(err) // cannot happen: the name is one of ours, and the file is part of the program
	}
	return strings.NewReplacer(
		`:"api"`, pgx.Identifier{api}.Sanitize(),
		`:'api'`, literal(api),
		`:version`, strconv.Itoa(Version),
	).Replace(string(text))
}

// literal quotes a string as a constant whatever standard_conforming_strings says.
func literal(s string) string {
	s = strings.ReplaceAll(s, `'`, `''`)
	if strings.Contains(s, `\`) {
		return ` E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return `'` + s + `'`
}

// Plan is the exact SQL that a change consists of. It runs in one transaction.
type Plan struct {
	steps []step
	keyID string // the key that the last step makes; empty when it makes none
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.steps) == 0 }

// MakesKey reports whether the plan makes a key, which Run then gives.
func (p *Plan) MakesKey() bool { return p.keyID != "" }

// String is the plan as a script for psql: what --dry-run prints is what Run runs.
func (p *Plan) String() string {
	if p.Empty() {
		return "-- nothing to do\n"
	}
	var b strings.Builder
	b.WriteString("BEGIN;\n")
	for _, s := range p.steps {
		b.WriteString("\n-- " + s.title + "\n" + strings.TrimSpace(s.sql) + "\n")
	}
	b.WriteString("\nCOMMIT;\n")
	return b.String()
}

func (p *Plan) add(title, sql string) { p.steps = append(p.steps, step{title, sql}) }

// newPlan is a plan whose first step makes plain names mean PostgreSQL's own, whatever the schemas of the database hold.
func newPlan() *Plan {
	p := &Plan{}
	p.add("names mean PostgreSQL's own", pinPath)
	return p
}
