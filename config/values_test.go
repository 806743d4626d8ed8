package config

import (
	"strings"
	"testing"
)

// TestValues: each setting is listed as it is in force.
func TestValues(t *testing.T) {
	c, err := Parse("c.yaml", []byte(`
databases: {app: {hosts: ["a:1", "b:2"], pool: {size: 7, queue_wait: 90s}, parameters: {search_path: app}, password: {file: p}}}
listen: [":1"]
issuers: {i: {issuer: "https://id.example.com/", audience: a, jwks_url: "https://id.example.com/keys"}}
rules: [{method: jwt, users: [ann, bob]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Value{}
	for _, v := range c.Values() {
		if _, twice := got[v.Key]; twice {
			t.Errorf("%s is there twice", v.Key)
		}
		got[v.Key] = v
	}
	for _, want := range []Value{
		{"databases.app.pool.size", "7", true}, {"databases.app.pool.queue_wait", "1m30s", true}, {"databases.app.hosts", "a:1, b:2", true},
		{"databases.app.password", "file", true}, {"databases.app.parameters.search_path", "set", true}, {"rules[0].users", "ann, bob", true},
		{"issuers.i.jwks_url", "https://id.example.com/keys", true}, {"issuers.i.issuer", "https://id.example.com/", true},
		{"listen[0].address", ":1", false}, {"listen[0].tls.cert_file", "", true}, {"revocation.password", "", false}, {"limits.max_clients", "10000", true},
	} {
		if got[want.Key] != want {
			t.Errorf("got %+v, want %+v", got[want.Key], want)
		}
	}
}

// TestAttackSecretsInValues: the attacker may read in the console. Whoever wrote the configuration has put secrets into places where they do not
// belong: addresses, connection strings, parameters, arguments of programs.
//
// Must: None of them must be among the values that are shown.
// Dialects: none
func TestAttackSecretsInValues(t *testing.T) {
	c := Default()
	c.Issuers["a"] = Issuer{JWKSURL: "https://me:hunter2@id.example.com/keys?token=hunter2", Introspection: Introspection{ClientSecret: Secret{Env: "hunter2"}}}
	c.Issuers["b"] = Issuer{Discovery: "https://hunter2@id.example.com", JWKSURL: "https://id.example.com/keys?code=hunter2"}
	c.Databases["d"] = Database{
		Parameters: map[string]string{"app.key": "hunter2"}, Password: Secret{Command: []string{"get", "--key=hunter2"}},
		JIT: JIT{APIURL: "https://hunter2user:hunter2@x/"}, Passwords: map[string]Secret{"r": {File: "/hunter2"}},
	}
	c.Revocation.DSN = "host=x user=y password='hunter2 with spaces' sslpassword=hunter2"
	c.Audit.DSN = "postgres://u:hunter2@h/d?sslpassword=hunter2"
	for _, v := range c.Values() {
		if strings.Contains(strings.ReplaceAll(v.Text, "hunter2user", ""), "hunter2") || strings.Contains(v.Text, "spaces") {
			t.Errorf("%s: %s", v.Key, v.Text)
		}
	}
}
