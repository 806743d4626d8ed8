package config

import "time"

// UserMap is one line of a map of names: who may be which user.
type UserMap struct {
	// The name of the map. Several lines may have the same.
	Map string `yaml:"map"`

	// The name that was proved, or a regular expression (RE2) behind a slash, which must match the whole name: "/^(.*)@example\.com$".
	From string `yaml:"from"`

	// The user that he may be. \1 stands for what the first group of the expression has matched.
	To string `yaml:"to"`
}

// LDAP is a directory that judges passwords, and how it is asked. With "template" the user's entry is known by its name (simple bind); else
// it is searched for (search and bind).
type LDAP struct {
	// The servers to try, in their order: ldaps://ldap.example.com, or ldap:// with STARTTLS. ldap:// without TLS is for loopback addresses.
	URLs []string `yaml:"urls"`

	// The certificates that sign the servers', PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`

	// The distinguished name of a user's entry, with {user} for the user name: "uid={user},ou=people,dc=example,dc=com".
	Template string `yaml:"template"`

	// Where users are searched for.
	Base string `yaml:"base"`

	// The filter that finds exactly one entry, with {user} for the user name. Empty: (uid={user}).
	Filter string `yaml:"filter"`

	// The distinguished name that searches. Empty: nobody.
	BindDN string `yaml:"bind_dn"`

	// Where its password is.
	BindPassword Secret `yaml:"bind_password"`

	// How long one answer may take, with the connection.
	Timeout time.Duration `yaml:"timeout" bounds:"100ms..1m"`
}
