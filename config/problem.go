package config

import (
	"fmt"
	"strings"
)

// position is a place in the file; both count from 1.
type position struct{ line, column int }

// Problem is one thing that is wrong with a configuration. Its text never holds a value that could be a secret.
type Problem struct {
	File         string // empty when the configuration was made in memory
	Line, Column int    // count from 1; zero when there is no file
	Key          string // "pool.size"; empty when the file as a whole is meant
	Message      string // what is wrong: lower case, no period
	Hint         string // what to do: a sentence; may be empty
	Warning      bool   // it works, but probably not as meant
}

// String gives the problem in one line, in the form that editors understand: file:line:column: text.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		b.WriteString(" ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(". " + p.Hint)
	}
	return b.String()
}

// Problems is a list of problems; as an error it prints one in each line.
type Problems []Problem

// Error lists the problems.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Errors returns the problems that make a configuration unusable: all but the warnings.
func (ps Problems) Errors() Problems {
	var errs Problems
	for _, p := range ps {
		if !p.Warning {
			errs = append(errs, p)
		}
	}
	return errs
}
