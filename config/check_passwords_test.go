package config

import (
	"strings"
	"testing"
)

// TestCheckPasswords: each row is a rule, and the settings of the database app behind its hosts.
func TestCheckPasswords(t *testing.T) {
	dir := folder(t)
	const lookup = "lookup: {role: asker, password: {file: secret}}"
	for _, tc := range []struct{ name, rule, database, want string }{
		{"a look-up", "method: scram-sha-256, passwords: server", lookup, ""},
		{"a look-up for all, and pass-through", "method: scram-sha-256, passwords: server", lookup + ", password: {client: scram}", ""},
		{"no look-up", "method: scram-sha-256, passwords: server", "password: {file: secret}", "rules[0].passwords: is server, but no database of this rule has a lookup"},
		{"no look-up at the rule's database", "method: md5, passwords: server, databases: app", "password: {file: secret}", "databases.app.lookup.role: is missing. Rule \"rule 1\" looks passwords up"},
		{"a password of nobody", "method: reject", "lookup: {password: {file: secret}}", "databases.app.lookup.role: is missing"},
		{"an empty query", "method: reject", "lookup: {role: asker, query: ''}", "databases.app.lookup.query: is empty"},
		{"a look-up by a client", "method: reject", "lookup: {role: asker, password: {client: scram}}", "databases.app.lookup.password.client: is only for the password of a database's servers"},
		{"a password that is not there", "method: reject", "lookup: {role: asker, password: {file: nope}}", "databases.app.lookup.password.file: there is no file nope"},
		{"an answer kept for hours", "", "lookup: {role: asker, max_age: 1h}", "must be"},
		{"pass-through with one role", "method: scram-sha-256, passwords: server", lookup + ", role: app, password: {client: scram}", "databases.app.password.client: is for servers that are logged in to as the client's own user"},
		{"pass-through without SCRAM", "method: reject", "password: {client: scram}", "databases.app.password.client: needs a rule for this database with the method scram-sha-256"},
		{"pass-through of another role", "method: scram-sha-256, passwords: server, role: app", lookup + ", passwords: {anna: {client: scram}}", "databases.app.passwords.anna.client: needs a rule"},
		{"pass-through and a file", "method: scram-sha-256, passwords: server", lookup + ", password: {client: scram, file: secret}", "databases.app.password: has client and file. Keep one of them."},
		{"a secret in Vault", "method: reject", "password: {vault: {address: 'https://v:8200', path: secret/data/app, token_file: secret}}", ""},
		{"Vault without a path", "method: reject", "password: {vault: {address: 'https://v:8200'}}", "databases.app.password.vault.path: is missing"},
		{"Vault by AppRole", "method: reject", "password: {vault: {address: 'https://v:8200', path: p, role_id: r, secret_id_file: secret}}", ""},
		{"AppRole without its secret", "method: reject", "password: {vault: {address: 'https://v:8200', path: p, role_id: r}}", "databases.app.password.vault.secret_id_file: is missing"},
		{"AppRole and a token", "method: reject", "password: {vault: {address: 'https://v:8200', path: p, role_id: r, secret_id_file: secret, token_file: secret}}", "databases.app.password.vault.role_id: is one way to log in to Vault"},
		{"Vault over http", "method: reject", "password: {vault: {address: 'http://v:8200', path: p, token_file: secret}}", `databases.app.password.vault.address: "http://v:8200" is no https address`},
		{"a token that everybody reads", "method: reject", "password: {vault: {address: 'https://v', path: p, token_file: open}}", "databases.app.password.vault.token_file: everybody on this machine may read"},
		{"no token", "method: reject", "password: {vault: {address: 'https://v', path: p, token_env: CLAIMPOOL_NOT_SET}}", "warning: databases.app.password.vault.token_env: the environment variable CLAIMPOOL_NOT_SET is not set here"},
		{"leased users without their name", "method: reject", "role: app, password: {vault: {address: 'https://v', path: database/creds/app, token_file: secret}}", "databases.app.password.vault.user_field: is missing"},
		{"one leased user for all roles", "method: reject", "password: {vault: {address: 'https://v', path: database/creds/app, user_field: username, token_file: secret}}", "databases.app.password.vault.user_field: would log the servers of all roles in as one user"},
		{"tokens of a cloud", "method: reject", "password: {cloud: google}", ""},
		{"a cloud and a file", "method: reject", "password: {cloud: aws, file: secret}", "databases.app.password: has cloud and file"},
		{"a region of another cloud", "method: reject", "password: {cloud: {from: google, region: x}}", "databases.app.password.cloud.region: is only used with aws"},
		{"an account of no cloud", "method: reject", "password: {cloud: {account: x}}", "databases.app.password.cloud.from: is missing"},

		{"peer over the network", "method: peer", "", "rules[0].tls: must be local for the method peer"},
		{"peer", "method: peer, tls: local", "", ""},
		{"addresses of a unix socket", "method: peer, tls: local, addresses: 127.0.0.1", "", "rules[0].addresses: do not go with unix sockets"},
		{"certificates of nobody", "method: cert", "", "rules[0]: asks for certificates of clients, but nothing says who signs them"},
		{"certificates without TLS", "method: cert, tls: off", "", "rules[0].tls: leaves no client with a certificate"},
		{"claims of no certificate", "method: reject, cert_claims: names", "", "rules[0].cert_claims: is only used with"},
		{"a map that is not there", "method: peer, tls: local, user_map: staff", "", "rules[0].user_map: there is no line of \"staff\" in user_maps"},
		{"a map of no use", "method: reject, user_map: staff", "", "rules[0].user_map: is only used with certificates"},
		{"a socket that is missing", "method: pam", "", "rules[0].pam_socket: is missing"},
		{"passwords in the clear", "method: pam, pam_socket: secret, tls: off", "", "rules[0].tls: would have passwords cross the network in the clear"},
		{"a directory that is missing", "method: ldap", "", "rules[0].ldap.urls: is missing"},
		{"a directory", "method: ldap, ldap: {urls: 'ldaps://l', template: 'uid={user},dc=x'}", "", ""},
		{"everybody is one entry", "method: ldap, ldap: {urls: 'ldaps://l', template: 'dc=x'}", "", "rules[0].ldap.template: holds no {user}"},
		{"a filter without the user", "method: ldap, ldap: {urls: 'ldaps://l', base: 'dc=x', filter: '(uid=*)'}", "", "rules[0].ldap.filter: holds no {user}"},
		{"known and searched for", "method: ldap, ldap: {urls: 'ldaps://l', template: 'uid={user}', base: 'dc=x'}", "", "rules[0].ldap.template: does not go with base"},
		{"no address of a directory", "method: ldap, ldap: {urls: 'http://l', base: 'dc=x'}", "", "rules[0].ldap.urls[0]: \"http://l\" is no address of a directory"},
		{"a search without a password", "method: ldap, ldap: {urls: 'ldaps://l', base: 'dc=x', bind_dn: 'cn=x'}", "", "rules[0].ldap.bind_password: is missing"},
		{"a directory of no use", "method: reject, ldap: {urls: 'ldaps://l'}", "", "rules[0].ldap: is only used with"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := "listen: 'unix:/s'\nrules: [{" + tc.rule + "}]\ndatabases: {app: {hosts: h, " + tc.database + "}}\n"
			got := ""
			c, err := Parse(dir+"/c.yaml", []byte(text))
			if err == nil {
				got = c.Check().Error()
			} else {
				got = err.Error()
			}
			if got = strings.ReplaceAll(got, dir+"/", ""); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
