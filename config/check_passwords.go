package config

import (
	"maps"
	"slices"
)

// lookup checks how clients' passwords are looked up at one database.
func (k *checker) lookup(key string, l Lookup) {
	switch {
	case !l.Enabled() && !l.Password.Empty():
		k.wrong(key+".role", "is missing", "Name the role that asks for the passwords of clients.")
	case !l.Enabled():
		return
	case l.Query == "":
		k.wrong(key+".query", "is empty", "Leave it out for the function of claimpool db install --with lookup.")
	}
	k.secret(key+".password", l.Password)
	k.notOfClients(key+".password", l.Password)
}

// notOfClients refuses a client's own secret where no client is.
func (k *checker) notOfClients(key string, s Secret) {
	if s.Client != "" {
		k.wrong(key+".client", "is only for the password of a database's servers", "Use file, env or command.")
	}
}

// passThrough checks the logins at the server with what clients have proved.
func (k *checker) passThrough(key, name string, db Database) {
	secrets := map[string]Secret{key + ".password": db.Password}
	for role, s := range db.Passwords {
		secrets[key+".passwords."+role] = s
	}
	scram := func(r Rule) bool {
		return (r.Method == "scram-sha-256" || r.Method == "md5") && r.Role == "" && r.matchesDatabase(name)
	}
	for _, key := range slices.Sorted(maps.Keys(secrets)) {
		switch s := secrets[key]; {
		case s.Client == "":
		case db.Role != "":
			k.wrong(key+".client", "is for servers that are logged in to as the client's own user", `Remove "role", or use file, env or command.`)
		case !slices.ContainsFunc(k.c.Rules, scram):
			k.wrong(key+".client", "needs a rule for this database with the method scram-sha-256 and no role", "Nobody else proves anything that the server knows, too.")
		}
	}
}

// lookups checks that a rule whose passwords are at the server finds them there.
func (k *checker) lookups(key string, r Rule) {
	if r.Passwords != "server" {
		return
	}
	any := false
	for _, name := range slices.Sorted(maps.Keys(k.c.Databases)) {
		enabled := k.c.Databases[name].Lookup.Enabled()
		any = any || enabled && r.matchesDatabase(name)
		if !enabled && slices.Contains(r.Databases, name) {
			k.wrong("databases."+name+".lookup.role", "is missing", "Rule "+quote(r.Name)+" looks passwords up at this database.")
		}
	}
	if !any {
		k.wrong(key+".passwords", "is server, but no database of this rule has a lookup", `As in: lookup: {role: claimpool_lookup, password: {file: lookup.password}}`)
	}
}
