package proxy

import "github.com/claimpool/claimpool/server"

// Other is the name of the database that stands for all whose names are not in the configuration.
const Other = "*"

// maxOther is the longest name of a database that is not in the configuration. PostgreSQL cuts longer ones (NAMEDATALEN): they would be those of
// others.
const maxOther = 63

// database gives the database of a name; nil when there is none. Other itself is a name like any other: the object that stands for all
// is copied for each login, and nothing is ever learned in it.
func (cfg *Config) database(name string) *Database {
	if db := cfg.Databases[name]; db != nil && name != Other {
		return db
	}
	if other := cfg.Databases[Other]; other != nil && len(name) <= maxOther {
		return other.named(name)
	}
	return nil
}

// named is the database that stands for others, as one of them. Each pool has its own: strangers' names are not kept.
func (db *Database) named(name string) *Database {
	own := *db
	own.Name, own.origin = name, db
	own.Server = func(role string) (*server.Config, error) {
		way, err := db.Server(role)
		if err != nil || way.Database != Other {
			return way, err
		}
		named := *way
		named.Database = name
		return &named, nil
	}
	return &own
}

// same reports whether two objects are one database of one configuration.
func (db *Database) same(other *Database) bool {
	return db == other || db != nil && other != nil && db.origin != nil && db.origin == other.origin && db.Name == other.Name
}
