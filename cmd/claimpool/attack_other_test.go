package main

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
)

// TestAttackDatabaseThatIsNotListed: a rule for "*" keeps out those who ask for a database that is not listed, and the next one lets in. The
// attacker asks for such a database by its name.
//
// Must: The rule for "*" decides, and not for the databases that are listed, nor for the console.
// Dialects: none
func TestAttackDatabaseThatIsNotListed(t *testing.T) {
	cfg, err := config.Parse("c.yaml", []byte(`
listen: "unix:/tmp/none"
rules:
- {name: others, databases: "*", method: reject}
- {name: ours, method: trust, tls: any}
databases: {app: {hosts: h}, "*": {hosts: h}}
console: {database: steering, admins: [ann]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := cfg.Check().Errors(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	b, err := build(cfg, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]bool{"app": true, "steering": true, "postgres": false, "*": false, "App": false, "": false} {
		req := auth.Request{Database: database, User: "eve", Unix: true}
		if got := b.proxy.Auth.Admits(&claimpool.Identity{Rule: "ours"}, req); got != want {
			t.Errorf("%q: let in by the rule for all: %v", database, got)
		}
	}
}
