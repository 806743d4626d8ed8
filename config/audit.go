package config

import (
	"os"
	"path/filepath"
)

// Audit is the stream of who did what.
type Audit struct {
	// Where it goes. off: nowhere. stdout: to standard output. file: to "file". table: to the table of "dsn".
	To string `yaml:"to" values:"off|stdout|file|table"`

	// The file, for "to: file". Nobody else may read it. SIGHUP opens it again, for logrotate.
	File string `yaml:"file" path:"yes"`

	// How many MiB the file may have before another is begun; the old ones are FILE.1, FILE.2 and so on. 0: it grows.
	MaxSizeMiB int `yaml:"max_size_mib" bounds:"0..1048576"`

	// How many old files are kept.
	Keep int `yaml:"keep" bounds:"0..1000"`

	// The database with the table that "claimpool db install --with audit" made, for "to: table", as for psql:
	// "postgres://claimpool_writer@db.example.com/audit?sslmode=verify-full". The role must be a member of claimpool_audit, and
	// no pool may use it. What is missing comes from PGHOST, PGSSLROOTCERT and so on.
	DSN string `yaml:"dsn"`

	// Where the role's password is.
	Password Secret `yaml:"password"`

	// How many events may wait to be written.
	Queue int `yaml:"queue" bounds:"100..1000000"`

	// What happens when an event cannot be recorded. drop: when too many wait, or the file cannot be written, it is counted and lost; what
	// a table cannot take at the moment waits. refuse: when too many wait, or the file or the table cannot be written, new logins and
	// fresh tokens are refused (57P03) until it works again. Ends of connections may be lost in either case.
	WhenFull string `yaml:"when_full" values:"drop|refuse"`

	// Records one in so many hand-overs of a server connection to another identity. 0: none.
	Handovers int `yaml:"handovers" bounds:"0..1000000"`

	// Records one in so many transactions, chosen by chance: who, for how long, how many rows, and how it ended. 1: all of them. 0: none.
	Transactions int `yaml:"transactions" bounds:"0..1000000"`
}

// audit checks the stream.
func (k *checker) audit() {
	a := k.c.Audit
	switch {
	case a.To == "table" && a.DSN == "":
		k.wrong("audit.dsn", "is missing", `As in: dsn: "postgres://claimpool_writer@db.example.com/audit?sslmode=verify-full"`)
	case a.To != "table" && (a.DSN != "" || !a.Password.Empty()):
		k.wrong("audit.to", "is not table", `Write "to: table", or leave "dsn" and "password" out.`)
	}
	if a.To == "table" {
		k.table("audit", a.DSN, a.Password)
	}
	switch {
	case a.To == "file" && a.File == "":
		k.wrong("audit.file", "is missing", "As in: audit: {to: file, file: /var/log/claimpool/audit.jsonl}")
	case a.To != "file" && a.File != "":
		k.wrong("audit.to", "is not file", `Write "to: file", or leave "file" out.`)
	case a.To == "file":
		if info, err := os.Stat(filepath.Dir(a.File)); err != nil || !info.IsDir() {
			k.wrong("audit.file", "there is no folder "+filepath.Dir(a.File), "Make it, and let the user that runs claimpool write there.")
		}
	}
}
