package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckConsole(t *testing.T) {
	dir := folder(t)
	var start strings.Builder
	for _, name := range []string{"tls", "issuers", "users_file", "rules", "databases"} {
		start.WriteString(name + ": " + good[name] + "\n")
	}
	for _, tc := range []struct{ name, console, want string }{
		{"none", "{}", ""},
		{"a good one", "{database: claimpool, admins: [ops, {subject: ann, issuer: id}], readers: watch}", ""},
		{"its name alone", "claimpool", "console.admins: is missing. Nobody could use the console."},
		{"no name", "{admins: ops}", "console.database: is missing"},
		{"a database's name", "{database: app, admins: ops}", "console.database: is the name of a database, too"},
		{"all others'", "{database: '*', admins: ops}", `console.database: "*" has a meaning of its own`},
		{"the rules' word for all", "{database: all, admins: ops}", `console.database: "all" has a meaning of its own`},
		{"an unknown issuer", "{database: claimpool, readers: {subject: ann, issuer: ix}}", `console.readers[0].issuer: there is no issuer "ix". Did you mean "id"?`},
		{"nobody", "{database: claimpool, admins: {issuer: id}}", "console.admins[0].subject: is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Parse(filepath.Join(dir, "c.yaml"), []byte(start.String()+"console: "+tc.console+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Check().Error(); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	c, err := Parse(filepath.Join(dir, "c.yaml"), []byte("rules: [{method: trust, databases: claimpool}]\nconsole: {database: claimpool, admins: ops}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Check().Error(); !strings.Contains(got, "console.database: no rule lets anybody log in to it with a proof") || strings.Contains(got, "there is no database") {
		t.Error(got)
	}
}
