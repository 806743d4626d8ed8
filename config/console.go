package config

import (
	"fmt"
	"maps"
	"slices"
)

// Console is a database that is none: administrators see and steer the proxy there, with psql or any driver.
type Console struct {
	// The name that they ask for as the database, such as "claimpool". It is no server's, and rules name it like that of any other database.
	// Empty: there is no console.
	Database string `yaml:"database" short:"yes"`

	// Who may steer: SHOW, REVOKE, RELOAD and so on. A name is that of a user without a token, as a password, a certificate, the operating
	// system or a directory has proved it (trust proves nothing); else issuer and subject are given.
	Admins []ConsoleUser `yaml:"admins"`

	// Who may look: SHOW.
	Readers []ConsoleUser `yaml:"readers"`
}

// ConsoleUser is somebody who may use the console.
type ConsoleUser struct {
	// The subject: a user's name, or whom a token is of. It is compared exactly.
	Subject string `yaml:"subject" short:"yes"`

	// The name of the token's issuer in "issuers". Empty: a user without a token.
	Issuer string `yaml:"issuer"`
}

// console checks who may steer, and that the name means nothing else.
func (k *checker) console() {
	c := k.c.Console
	if c.Database == "" {
		if len(c.Admins)+len(c.Readers) > 0 {
			k.wrong("console.database", "is missing", "As in: database: claimpool")
		}
		return
	}
	if _, ok := k.c.Databases[c.Database]; ok {
		k.wrong("console.database", "is the name of a database, too", "Clients must be able to mean one of them.")
	}
	if c.Database == "*" || c.Database == "all" {
		k.wrong("console.database", quote(c.Database)+" has a meaning of its own", "Choose another name, such as claimpool.")
	}
	if len(c.Admins)+len(c.Readers) == 0 {
		k.wrong("console.admins", "is missing", "Nobody could use the console. As in: admins: [ops]")
	}
	if !slices.ContainsFunc(k.c.Rules, func(r Rule) bool { return r.Method != "reject" && r.Method != "trust" && r.matchesDatabase(c.Database) }) {
		k.warn("console.database", "no rule lets anybody log in to it with a proof", "Rules name it under databases, like any other.")
	}
	for list, users := range map[string][]ConsoleUser{"console.admins": c.Admins, "console.readers": c.Readers} {
		for i, u := range users {
			key := fmt.Sprintf("%s[%d]", list, i)
			k.needed(key+".subject", u.Subject, "A user's name, or the subject of tokens.")
			if _, ok := k.c.Issuers[u.Issuer]; !ok && u.Issuer != "" {
				k.wrong(key+".issuer", "there is no issuer "+quote(u.Issuer), suggest(u.Issuer, slices.Sorted(maps.Keys(k.c.Issuers))))
			}
		}
	}
}
