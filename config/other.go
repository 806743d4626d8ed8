package config

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// keyVariable checks a public key in the environment.
func (k *checker) keyVariable(key string, f KeyFile) {
	switch {
	case f.File != "":
		k.wrong(key, "has file and env", "Keep one of them.")
	case slices.ContainsFunc(f.Algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") }):
		k.wrong(key+".algorithms", "are those of a secret, which must be in a file", "")
	case os.Getenv(f.Env) == "":
		k.warn(key+".env", "the environment variable "+f.Env+" is not set here", "Set it for the process that runs claimpool serve.")
	}
}

// other checks the database that stands for all that are not listed.
func (k *checker) other(key string, db Database) {
	if db.Context.Dialect != "none" {
		k.wrong(key+".context", "is not for databases that are not listed", "Give each database with a context its own entry: it has its own key.")
	}
	if db.JIT.APIURL != "" {
		k.wrong(key+".jit", "is not for databases that are not listed", "Give each database with just-in-time access its own entry.")
	}
	if len(db.Targets) > 0 {
		k.wrong(key+".targets", "are not for databases that are not listed", "Give each database with targets its own entry.")
	}
	k.behind(key, db)
	if db.Lookup.Enabled() {
		k.wrong(key+".lookup", "is not for databases that are not listed", "Give each database with a look-up its own entry.")
	}
}

// behind looks for databases that are listed under other names than their own: through this one clients reach them by those.
func (k *checker) behind(key string, other Database) {
	if other.DBName != "" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Databases)) {
		db := k.c.Databases[name]
		_, listed := k.c.Databases[db.DBName]
		same := slices.ContainsFunc(db.Hosts, func(host string) bool { return slices.Contains(other.Hosts, host) })
		if !listed && same && name != "*" && (db.Context.Dialect != "none" || db.Tenant != "") {
			k.warn(key, "is also the way to "+quote(db.DBName)+", the database behind "+quote(name)+", without its context and its tenant",
				`Reject it by a rule for "*", or give the database an entry of its own name.`)
		}
	}
}
