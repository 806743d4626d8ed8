package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/claimpool/claimpool"
)

// cluster stands between a user and the name of a target, as in anna.cluster.reads; the spelling is Supavisor's.
const cluster = ".cluster."

// findTarget takes the name of a target out of the user name: who logs in is the user in front of it, so that nobody becomes another
// user, or gets to another database, by what he writes there. Whether there is such a target is looked at when the client is known (see
// enter): what databases have is not for strangers.
func (v *visitor) findTarget(cfg *Config) {
	user, name, ok := strings.Cut(v.request.User, cluster)
	if ok && user != "" && name != "" && cfg.chooses() {
		v.request.User, v.target = user, name
	}
}

// chooses reports whether ".cluster." means anything here.
func (cfg *Config) chooses() bool {
	if cfg.Tenants.User {
		return true
	}
	for _, db := range cfg.Databases {
		if len(db.Targets) > 0 {
			return true
		}
	}
	return false
}

// at gives the database with the servers of a target; nil when it has no such target. Empty is no target.
func (db *Database) at(target string) *Database {
	if db == nil || target == "" {
		return db
	}
	return db.Targets[target]
}

// noTarget refuses a client that has named a target that is not there.
func (db *Database) noTarget(target string) error {
	e := &claimpool.Error{
		Code: claimpool.CodeInvalidCatalogName, Message: fmt.Sprintf("database %q has no target %q", db.Name, target),
		Hint: `It has none at all: leave out ".cluster." and what follows in the user name, or set databases.NAME.targets.`,
	}
	if names := slices.Sorted(maps.Keys(db.Targets)); len(names) > 0 {
		e.Hint = `Behind ".cluster." in the user name stands one of: ` + strings.Join(names, ", ") + "."
	}
	return e
}
