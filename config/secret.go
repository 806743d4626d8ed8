package config

import (
	"cmp"
	"time"
)

// Secret is the place of a secret, never the secret itself. Exactly one of its fields is set, or none.
type Secret struct {
	// A file whose first line is the secret. It is read again for each login.
	File string `yaml:"file" path:"yes"`

	// The name of an environment variable.
	Env string `yaml:"env"`

	// A program and its arguments; the first line that it prints is the secret. It is run for each login, without a shell;
	// for bind_password and client_secret, which strangers' logins need, once a second at most.
	Command []string `yaml:"command"`

	// What the clients have themselves, for the password of a database's servers. scram: a client that has logged in by SCRAM-SHA-256
	// has proved that it knows its password, and the proxy logs in to the server as that user with the keys of that proof. Client and
	// server must have the same verifier, so it goes with "passwords: server", or with verifiers from PostgreSQL in users_file.
	Client string `yaml:"client" values:"scram"`

	// A secret in HashiCorp Vault, or OpenBao.
	Vault Vault `yaml:"vault"`

	// The tokens that a cloud's databases take in place of passwords.
	Cloud Cloud `yaml:"cloud"`
}

// Vault is a secret in HashiCorp Vault and the way to it. It is kept until shortly before its end, or for a minute where nobody knows
// its end, and asked for again when a server has refused it.
type Vault struct {
	// The address of Vault, as in https://vault.example.com:8200. http is for loopback addresses.
	Address string `yaml:"address"`

	// The path of the secret, without /v1/: secret/data/shop (key-value engine; version 2 has the "data" in it), database/static-creds/shop
	// or database/creds/shop (database engine).
	Path string `yaml:"path"`

	// The field of the secret that holds the password. Empty: password.
	Field string `yaml:"field"`

	// The field that holds the user name, for database/creds, where each lease has a user of its own: username. It logs in in place of
	// the role. Empty: the role does.
	UserField string `yaml:"user_field"`

	// A file with the token for Vault. It is read for each request: a Vault agent can renew it.
	TokenFile string `yaml:"token_file" path:"yes"`

	// The environment variable with the token, when there is no token_file. Empty: VAULT_TOKEN.
	TokenEnv string `yaml:"token_env"`

	// In place of a token: the proxy logs in by AppRole. The role_id is no secret.
	RoleID string `yaml:"role_id"`

	// The file with the secret_id of that role. It is read for each login.
	SecretIDFile string `yaml:"secret_id_file" path:"yes"`

	// Where Vault has mounted the AppRole method. Empty: approle.
	AppRolePath string `yaml:"approle_path"`

	// The namespace, for Vault Enterprise.
	Namespace string `yaml:"namespace"`

	// The certificates that sign Vault's, PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`
}

// FieldOrDefault is the field that holds the password.
func (v Vault) FieldOrDefault() string { return cmp.Or(v.Field, "password") }

// TokenEnvOrDefault is the environment variable with the token.
func (v Vault) TokenEnvOrDefault() string { return cmp.Or(v.TokenEnv, "VAULT_TOKEN") }

// Cloud is whose tokens log in to the servers.
type Cloud struct {
	// aws: a token of RDS (IAM database authentication), signed with the keys of the environment, the container or the machine. google: an
	// access token of the service account, from the metadata server. azure: an access token of the managed or workload identity.
	From string `yaml:"from" values:"aws|google|azure" short:"yes"`

	// The AWS region. Empty: as the name of the host says, or AWS_REGION.
	Region string `yaml:"region"`

	// Which of several identities: the service account (google), or the client id of the managed identity (azure).
	Account string `yaml:"account"`
}

// places are the places that a secret has.
func (s Secret) places() []string {
	var given []string
	for _, place := range []struct {
		name  string
		given bool
	}{
		{"client", s.Client != ""}, {"cloud", s.Cloud.From != ""}, {"command", len(s.Command) > 0}, {"env", s.Env != ""}, {"file", s.File != ""}, {"vault", s.Vault.Address != "" || s.Vault.Path != ""},
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
