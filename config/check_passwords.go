package config

import (
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
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

// service checks a secret that a service keeps.
func (k *checker) service(key string, s Secret) {
	switch v := s.Vault; {
	case v == Vault{}:
	case k.needed(key+".vault.address", v.Address, "As in: https://vault.example.com:8200") && k.needed(key+".vault.path", v.Path, "As in: secret/data/shop"):
		k.vault(key+".vault", v)
	}
	switch c := s.Cloud; {
	case c == Cloud{}:
	case c.From == "":
		k.wrong(key+".cloud.from", "is missing", "It is aws, google or azure.")
	case c.Region != "" && c.From != "aws":
		k.wrong(key+".cloud.region", "is only used with aws", "")
	case c.Account != "" && c.From == "aws":
		k.wrong(key+".cloud.account", "is not used with aws", "Set AWS_ROLE_ARN, or the role of the machine.")
	}
}

func (k *checker) vault(key string, v Vault) {
	u, err := url.Parse(v.Address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		k.wrong(key+".address", quote(v.Address)+" is no https address", "As in https://vault.example.com:8200; http is for loopback addresses.")
	}
	switch {
	case v.RoleID != "" || v.SecretIDFile != "" || v.AppRolePath != "":
		if k.needed(key+".role_id", v.RoleID, "As vault read auth/approle/role/NAME/role-id shows it.") && k.needed(key+".secret_id_file", v.SecretIDFile, "The file with the secret_id of that role.") {
			k.secretFile(key+".secret_id_file", v.SecretIDFile)
		}
		if v.TokenFile != "" || v.TokenEnv != "" {
			k.wrong(key+".role_id", "is one way to log in to Vault, and a token another one", "Remove token_file and token_env, or role_id and secret_id_file.")
		}
	case v.TokenFile != "":
		k.secretFile(key+".token_file", v.TokenFile)
	case os.Getenv(v.TokenEnvOrDefault()) == "":
		k.warn(key+".token_env", "the environment variable "+v.TokenEnvOrDefault()+" is not set here", "Name a token_file, or set it for the process that runs claimpool serve.")
	}
	k.file(key+".ca_file", v.CAFile)
	if v.UserField == "" && strings.Contains(v.Path, "/creds/") {
		k.wrong(key+".user_field", "is missing: the secrets of database/creds have users of their own", `As in "user_field: username".`)
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// sharedUser refuses one leased user for the pools of several roles: each would have what another one may do.
func (k *checker) sharedUser(key string, db Database) {
	if db.Password.Vault.UserField != "" && db.Role == "" {
		k.wrong(key+".password.vault.user_field", "would log the servers of all roles in as one user", `Set "role", or put the secret under "passwords", by role.`)
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
