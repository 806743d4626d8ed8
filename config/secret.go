package config

import "time"

// Secret is the place of a secret, never the secret itself. Exactly one of its fields is set, or none.
type Secret struct {
	// A file whose first line is the secret. It is read again for each login.
	File string `yaml:"file" path:"yes"`

	// The name of an environment variable.
	Env string `yaml:"env"`

	// A program and its arguments; the first line that it prints is the secret. It is run for each login, without a shell.
	Command []string `yaml:"command"`

	// What the clients have themselves, for the password of a database's servers. scram: a client that has logged in by SCRAM-SHA-256
	// has proved that it knows its password, and the proxy logs in to the server as that user with the keys of that proof. Client and
	// server must have the same verifier, so it goes with "passwords: server", or with verifiers from PostgreSQL in users_file.
	Client string `yaml:"client" values:"scram"`
}

// places are the places that a secret has.
func (s Secret) places() []string {
	var given []string
	for _, place := range []struct {
		name  string
		given bool
	}{
		{"client", s.Client != ""}, {"command", len(s.Command) > 0}, {"env", s.Env != ""}, {"file", s.File != ""},
	} {
		if place.given {
			given = append(given, place.name)
		}
	}
	return given
}

// Empty reports whether no place is given.
func (s Secret) Empty() bool { return len(s.places()) == 0 }

// Lookup is how clients' passwords are looked up in PostgreSQL; PgBouncer calls it auth_query. What is asked goes over a connection
// of its own, on which nothing of a client is but the user name.
type Lookup struct {
	// The role that asks. It needs to be able to do nothing else. Empty: nothing is looked up.
	Role string `yaml:"role"`

	// Where the password of that role is.
	Password Secret `yaml:"password"`

	// The database in which is asked, at the hosts of this one. Empty: this one.
	DBName string `yaml:"dbname"`

	// One statement with the user name as $1, which gives the stored password (a SCRAM verifier or an md5 hash), or the name and the
	// stored password; no row, or NULL, for who has none. Write all names with their schema. The default is a function that
	// "claimpool db install --with lookup" makes.
	Query string `yaml:"query"`

	// How long an answer is kept, also one that there is no such user. 0: not at all. When a login fails, the next one asks again.
	MaxAge time.Duration `yaml:"max_age" bounds:"0s..30s"`
}

// Enabled reports whether anything can be looked up.
func (l Lookup) Enabled() bool { return l.Role != "" }
