package config

import (
	"net/netip"
	"time"
)

// Rule says how the clients that it matches prove who they are.
type Rule struct {
	// A name for logs and messages. Empty: "rule 1", "rule 2" and so on.
	Name string `yaml:"name"`

	// The databases that it is for; "all", or empty, for every one; "*" for those that only the "*" among "databases" stands for.
	Databases []string `yaml:"databases"`

	// The users that it is for; "all", or empty, for every one.
	Users []string `yaml:"users"`

	// The client addresses that it is for, as "10.0.0.0/8" or "::1". Empty: any, and unix sockets. A rule with addresses
	// does not match clients on unix sockets.
	Addresses []netip.Prefix `yaml:"addresses"`

	// Which connections it is for. required: with TLS, or a unix socket. local: unix sockets alone. off: without TLS. any: all; with
	// the methods jwt, ldap and pam that means that tokens and passwords may cross the network in the clear.
	TLS string `yaml:"tls" values:"required|any|off|local"`

	// How a client proves who it is. jwt: with a token in place of the password. oauth: with a token by SASL OAUTHBEARER, as
	// clients of PostgreSQL 18 do; clients without one are sent to the issuer. jit: with a token in place of the password, which the
	// database's API judges (databases.NAME.jit). scram-sha-256 and md5: with a password, see "passwords"; a client that asks for
	// just-in-time access (options=--jit=true) where the database has it logs in as with jit. cert: with its TLS certificate. peer: by
	// the operating system's word, on unix sockets. ldap and pam: with a password, which an LDAP server judges, or PAM behind a
	// socket. trust: not at all, only on loopback addresses and unix sockets. reject: never.
	Method string `yaml:"method" values:"jwt|oauth|jit|scram-sha-256|md5|cert|peer|ldap|pam|trust|reject"`

	// Where the passwords are, for the methods scram-sha-256 and md5. file: in users_file. server: PostgreSQL is asked for what it
	// has stored, as "lookup" of the database says.
	Passwords string `yaml:"passwords" values:"file|server"`

	// Which name of a client's certificate is its user: the common name, the whole subject (RFC 2253), or an e-mail address, host name or
	// URI among the subject alternative names.
	CertName string `yaml:"cert_name" values:"cn|dn|email|dns|uri"`

	// names: the names of the certificate become claims (sub, iss, dn, cn, o, ou, email, dns, uri, and cnf); for the method cert.
	CertClaims string `yaml:"cert_claims" values:"none|names"`

	// What is asked of the client's certificate besides the method. verify-ca: that an authority of tls.client_ca_file has signed it.
	// verify-full: that it also names the user.
	ClientCert string `yaml:"client_cert" values:"none|verify-ca|verify-full"`

	// The map of user_maps that says which user the holder of a certificate, or the user of this machine, may be. Empty: the one of the
	// same name.
	UserMap string `yaml:"user_map"`

	// The directory that judges passwords; for the method ldap.
	LDAP LDAP `yaml:"ldap"`

	// The unix socket of the authenticator that judges passwords; for the method pam.
	PAMSocket string `yaml:"pam_socket" path:"yes"`

	// The names of the issuers whose tokens are accepted; for the methods jwt and oauth. Empty: all. With oauth, clients
	// without a token are sent to the first.
	Issuers []string `yaml:"issuers"`

	// The scope that clients without a token are told to ask their issuer for; for the method oauth.
	Scope string `yaml:"scope"`

	// The names of the issuers whose tokens a client may bring on top of its password, in the startup parameter jwt.context
	// (options=-c jwt.context=TOKEN): they give it claims, and the password its role. For methods without a token. Empty: none.
	ContextIssuers []string `yaml:"context_issuers"`

	// The text of the answer to a failed login (28P01), for programs that look for another one than PostgreSQL's, which it is
	// when this is empty.
	FailedMessage string `yaml:"failed_message"`

	// The database role of the clients that it lets in, for methods without a token. Empty: the user name.
	Role string `yaml:"role"`
}

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
