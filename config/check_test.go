package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a folder with the files that the tests name.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"jwks", "users", "secret", "tc.key", "ca.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The parts of a configuration that has no problem. A row of the test replaces one of them.
var good = map[string]string{
	"tls":        "{cert_file: cert, key_file: key}",
	"issuers":    "{id: {issuer: https://id, audience: pg, keys: jwks}}",
	"rules":      "[{method: jwt}, {method: md5, name: old, tls: any}]",
	"users_file": "users",
	"databases":  "{app: {hosts: db, password: {file: secret}, context: {dialect: sql, key_file: tc.key}}}",
	"pool":       "{}",
	"listen":     "[':6432', unix:/run/claimpool/s]",
}

// check writes the good configuration with some parts replaced, and returns its problems, one in each line, without the
// name of the folder.
func check(t *testing.T, dir string, replaced map[string]string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"listen", "tls", "issuers", "users_file", "rules", "pool", "databases"} {
		value, ok := replaced[name]
		if !ok {
			value = good[name]
		}
		if value != "" {
			text.WriteString(name + ": " + value + "\n")
		}
	}
	c, err := Parse(filepath.Join(dir, "c.yaml"), []byte(text.String()))
	if err != nil {
		t.Fatalf("does not even parse: %v", err)
	}
	return strings.ReplaceAll(c.Check().Error(), dir+"/", "")
}

func TestCheckAcceptsAGoodConfiguration(t *testing.T) {
	if got := check(t, folder(t), nil); got != "" {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	dir := folder(t)
	for _, tc := range []struct{ name, part, text, want string }{
		{"no rules", "rules", "", "c.yaml: rules: there are no rules, so nobody can log in. As in: rules: [{method: jwt}]"},
		{"no databases", "databases", "", "c.yaml: databases: there are no databases"},
		{"balancers everywhere", "listen", "{address: ':6432', proxy_protocol: [0.0.0.0/0]}", "listen[0].proxy_protocol: believes everybody who says whose connection it is"},
		{"no listener", "listen", "[]", "c.yaml:1:1: listen: there is no address to listen on"},
		{"a listener without a port", "listen", "localhost", `c.yaml:1:9: listen[0].address: cannot understand the address "localhost". Write`},
		{"a listener with a named port", "listen", "'localhost:pg'", `the port must be a number up to 65535, not "pg"`},
		{"a relative socket", "listen", "unix:s", `the path of a unix socket must begin with /, not "s"`},
		{"a long socket", "listen", "unix:/" + strings.Repeat("x", 107), "the path of a unix socket has at most 107 bytes, this one has 108"},
		{"a listener twice", "listen", "[':1', ':1']", `listen[1].address: ":1" is listed twice`},
		{"a certificate without its key", "tls", "{cert_file: cert}", "c.yaml:2:1: tls.key_file: is missing. A cert_file needs its private key."},
		{"a key without its certificate", "tls", "{key_file: key}", "tls.cert_file: is missing"},
		{"a certificate that is not there", "tls", "{cert_file: nope, key_file: key}", "c.yaml:2:7: tls.cert_file: there is no file nope. Relative paths begin in the folder"},
		{"a certificate that is a folder", "tls", "{cert_file: ., key_file: key}", " is a folder. Name a file in it."},
		{"a certificate that is none", "tls", "{cert_file: jwks, key_file: key}", "tls.cert_file: the certificate and its key cannot be used: failed to find any PEM data"},
		{"a listener's certificate that is none", "listen", "{address: ':1', tls: {cert_file: jwks, key_file: key}}", "listen[0].tls.cert_file: the certificate and its key cannot be used"},
		{"no certificate for TCP", "tls", "", `warning: rules[0].tls: needs TLS, but there is no certificate, so no TCP client can use this rule`},

		{"an issuer without its name", "issuers", "{id: {audience: pg, keys: jwks}}", `issuers.id.issuer: is missing. It is compared with the token's "iss".`},
		{"an issuer twice", "issuers", "{a: {issuer: x, audience: pg, keys: jwks}, b: {issuer: x, audience: pg, keys: jwks}}", "issuers.b.issuer: is the same as that of a"},
		{"no audience", "issuers", "{id: {issuer: x, keys: jwks}}", "issuers.id.audience: is missing. Without it a token that was made for another service"},
		{"any audience", "issuers", "{id: {issuer: x, audience: '*', keys: jwks}}", "warning: issuers.id.audience: accepts tokens that the issuer made for other services"},
		{"any audience, and another", "issuers", "{id: {issuer: x, audience: ['*', pg], keys: jwks}}", `issuers.id.audience: "*" stands alone or not at all`},
		{"a secret that everybody reads", "issuers", "{id: {issuer: x, audience: pg, keys: {file: open, algorithms: HS256}}}", "issuers.id.keys[0].file: everybody on this machine may read or write open"},
		{"no keys", "issuers", "{id: {issuer: x, audience: pg}}", "issuers.id.keys: there are no keys"},
		{"two places of keys", "issuers", "{id: {issuer: 'https://x', audience: pg, keys: jwks, jwks_url: 'https://x/jwks'}}", "c.yaml:3:11: issuers.id: has keys and jwks_url. Keep one of them."},
		{"the description of another", "issuers", "{id: {issuer: 'https://x', audience: pg, discovery: 'https://x/'}}", `issuers.id.discovery: is not the issuer "https://x". An issuer's description`},
		{"a discovery that is no address", "issuers", "{id: {audience: pg, discovery: id.example.com}}", `issuers.id.discovery: "id.example.com" is no address. As in: https://id.example.com`},
		{"keys over http", "issuers", "{id: {issuer: x, audience: pg, jwks_url: 'http://id.example.com/jwks'}}", "issuers.id.jwks_url: must begin with https://"},
		{"algorithms for files", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, algorithms: RS256}}", "issuers.id.algorithms: is for fetched keys"},
		{"an authority for files", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, fetch: {x5c_ca_file: ca.pem}}}", "issuers.id.fetch.x5c_ca_file: is only used with discovery or jwks_url"},
		{"an authority that is not there", "issuers", "{id: {audience: pg, discovery: 'https://x', fetch: {ca_file: nope}}}", "issuers.id.fetch.ca_file: there is no file nope"},
		{"stale before it is fetched", "issuers", "{id: {audience: pg, discovery: 'https://x', fetch: {interval: 1h, stale_after: 10m}}}", "issuers.id.fetch.stale_after: is shorter than the interval"},
		{"a key file that is not there", "issuers", "{id: {issuer: x, audience: pg, keys: [jwks, nope]}}", "issuers.id.keys[1].file: there is no file nope"},
		{"a key entry without a file", "issuers", "{id: {issuer: x, audience: pg, keys: {kid: a}}}", "issuers.id.keys[0].file: is missing"},
		{"secrets and public keys mixed", "issuers", "{id: {issuer: x, audience: pg, keys: {file: jwks, algorithms: [HS256, RS256]}}}", "HS algorithms and others are mixed"},
		{"a role claim without its name", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {from: claim, allow: [a]}}}", "issuers.id.role.claim: is missing"},
		{"a role claim that may say anything", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {from: claim, claim: r}}}", "issuers.id.role.allow: is missing. List the roles"},
		{"a fixed role without a value", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: fixed}}", "issuers.id.role.value: is missing"},
		{"a role expression that is missing", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {from: expression, allow: a}}}", "issuers.id.role.expression: is missing"},
		{"a role expression that may say anything", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {from: expression, expression: claims.r}}}", "issuers.id.role.allow: is missing"},
		{"a role expression that is not used", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {expression: claims.r}}}", `issuers.id.role.expression: is only used with "from: expression"`},
		{"a role expression with a wrong name", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {from: expression, expression: claim.r, allow: a}}}",
			"c.yaml:3:78: issuers.id.role.expression: undeclared reference to 'claim' (in container '') (line 1, column 1 of the expression)"},
		{"a condition of the wrong type", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, conditions: [claims.a, '5']}}", "c.yaml:3:76: issuers.id.conditions[1]: the expression gives int, not a bool (line 1, column 1 of the expression)"},
		{"a context that is no map", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, context: '[1]'}}", "issuers.id.context: the expression gives list(int), not a map"},
		{"a claim that is not used", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {claim: r}}}", `issuers.id.role.claim: is only used with "from: claim"`},
		{"a value that is not used", "issuers", "{id: {issuer: x, audience: pg, keys: jwks, role: {value: r}}}", `issuers.id.role.value: is only used with "from: fixed"`},

		{"a rule without a method", "rules", "[{tls: any}]", "rules[0].method: is missing. Say how"},
		{"two rules of one name", "rules", "[{method: jwt, name: a}, {method: jwt, name: a}]", `rules[1].name: "a" is used twice`},
		{"a rule behind one for all", "rules", "[{method: jwt, tls: any, users: all}, {method: reject}]", `warning: rules[1]: is never reached. "rule 1" matches every client`},
		{"an unknown database", "rules", "[{method: jwt, databases: [ap]}]", `rules[0].databases[0]: there is no database "ap". Did you mean "app"?`},
		{"an unknown issuer", "rules", "[{method: jwt, issuers: [idd]}]", `rules[0].issuers[0]: there is no issuer "idd". Did you mean "id"?`},
		{"jwt without issuers", "issuers", "", `issuers: is missing. The method jwt of "rule 1" needs to know whose tokens to accept.`},
		{"jwt with a role", "rules", "[{method: jwt, role: a}]", "rules[0].role: is not used with the method jwt"},
		{"tokens in the clear only", "rules", "[{method: jwt, tls: off}]", "warning: rules[0].tls: tokens cross the network in the clear"},
		{"passwords without a file", "users_file", "", `users_file: is missing. The method md5 of "old" needs the users' passwords.`},
		{"a users file that is not there", "users_file", "nope", "users_file: there is no file nope"},
		{"a users file that everybody reads", "users_file", "open", ": users_file: everybody on this machine may read or write open. Run: chmod o= open"},
		{"trust for the network", "rules", "[{method: trust, addresses: [127.0.0.0/8, '::1', 10.0.0.0/8]}]", "rules[0].addresses[2]: the method trust is only for loopback"},
		{"trust for everything", "rules", "[{method: trust, addresses: [0.0.0.0/0]}]", "rules[0].addresses[0]: the method trust is only for loopback"},
		{"trust at all", "rules", "[{method: trust, addresses: [127.0.0.1]}]", "warning: rules[0].method: trust lets everybody on this machine in"},
		{"issuers that are not used", "rules", "[{method: md5, issuers: [id]}]", `rules[0].issuers: is only used with "method: jwt"`},

		{"contexts of an unknown issuer", "rules", "[{method: md5, context_issuers: [idd]}]", `rules[0].context_issuers[0]: there is no issuer "idd". Did you mean "id"?`},
		{"contexts on top of a token", "rules", "[{method: jwt, context_issuers: [id]}]", "rules[0].context_issuers: is not used with the method jwt"},
		{"contexts in the clear", "rules", "[{method: md5, tls: off, context_issuers: [id]}]", "rules[0].context_issuers: would have tokens cross the network in the clear"},
		{"no hosts", "databases", "{a: {}}", "databases.a.hosts: is missing"},
		{"a host that is a URL", "databases", "{a: {hosts: 'postgres://u:p@h/db'}}", "databases.a.hosts[0]: cannot understand the address"},
		{"a host with a named port", "databases", "{a: {hosts: 'h:pg'}}", `databases.a.hosts[0]: the port must be a number from 1 to 65535, not "pg"`},
		{"a socket folder with a bad port", "databases", "{a: {hosts: '/tmp:0'}}", `databases.a.hosts[0]: the port must be a number from 1`},
		{"claims that reach nobody", "databases", "{a: {hosts: h}}", "warning: databases.a.context: clients log in with tokens, but their claims do not reach this database"},
		{"a dialect without a key", "databases", "{a: {hosts: h, context: sql}}", `databases.a.context.key_file: is missing. Run "claimpool db install --key-file FILE"`},
		{"a key without a dialect", "databases", "{a: {hosts: h, context: {key_file: tc.key}}}", "databases.a.context.dialect: is missing"},
		{"two places of a password", "databases", "{a: {hosts: h, password: {file: secret, env: HOME}}}", "databases.a.password: has env and file. Keep one of them."},
		{"a variable that is not set", "databases", "{a: {hosts: h, password: {env: CLAIMPOOL_NOT_SET}}}", "warning: databases.a.password.env: the environment variable CLAIMPOOL_NOT_SET is not set here"},
		{"a program that is not there", "databases", "{a: {hosts: h, password: {command: [/nope/pass, x]}}}", "databases.a.password.command: there is no program /nope/pass"},
		{"a password that is not there", "databases", "{a: {hosts: h, passwords: {app: {file: nope}}}}", "databases.a.passwords.app.file: there is no file nope"},
		{"a password that nobody uses", "databases", "{a: {hosts: h, role: x, passwords: {app: {file: secret}}}}", `databases.a.passwords.app: is never used: the role is always "x"`},
		{"a client certificate without its key", "databases", "{a: {hosts: h, tls: {cert_file: cert}}}", "databases.a.tls.key_file: is missing"},
		{"a client certificate that is none", "databases", "{a: {hosts: h, tls: {cert_file: ca.pem, key_file: key}}}", "databases.a.tls.cert_file: the certificate and its key cannot be used"},
		{"certificates without TLS", "databases", "{a: {hosts: h, tls: {mode: disable, ca_file: ca.pem}}}", "databases.a.tls.mode: is disable, but there are certificates"},
		{"certificates that are not looked at", "databases", "{a: {hosts: h, tls: {mode: prefer, ca_file: ca.pem}}}", "warning: databases.a.tls.mode: does not verify the server's certificate"},
		{"a parameter of the proxy's own", "databases", "{a: {hosts: h, parameters: {Role: x}}}", "databases.a.parameters.Role: is set by the proxy itself"},
		{"a parameter of the context", "databases", "{a: {hosts: h, parameters: {claimpool.claims: x}}}", "databases.a.parameters.claimpool.claims: is set by the proxy itself"},
		{"a parameter that is none", "databases", "{a: {hosts: h, parameters: {'a b': x}}}", "is not the name of a PostgreSQL setting"},
		{"another encoding", "databases", "{a: {hosts: h, parameters: {Client_Encoding: LATIN1}}}", "databases.a.parameters.Client_Encoding: must be UTF8"},
		{"a parameter with a zero byte", "databases", `{a: {hosts: h, parameters: {a: "x\0"}}}`, "holds a zero byte"},

		{"a minimum above the size", "pool", "{size: 3, min_size: 4}", "pool.min_size: is 4, more than the size, 3"},
		{"a reserve that comes too late", "pool", "{reserve_size: 3, reserve_after: 10s}", "pool.reserve_after: is not shorter than queue_wait"},
		{"one session at a time", "pool", "{mode: session, size: 1, queue_length: 0}", "warning: pool.size: lets in one client at a time"},
		{"writing where nothing writes", "databases", "{app: {hosts: db, password: {file: secret}, context: {dialect: sql, key_file: tc.key}, target_session_attrs: read-write, parameters: {default_transaction_read_only: yes}}}",
			"databases.app.target_session_attrs: is read-write, but parameters make every server read-only"},
		{"writing to any host", "databases", "{app: {hosts: [a, b], password: {file: secret}, context: {dialect: sql, key_file: tc.key}, load_balance_hosts: random}}",
			"databases.app.load_balance_hosts: spreads clients over all hosts"},
		{"replication past the claims", "databases", "{app: {hosts: a, password: {file: secret}, context: {dialect: sql, key_file: tc.key}, replication: allow-with-claims}}",
			"databases.app.replication: lets clients read all rows"},
		{"no isolation under a context", "pool", "{isolation: off}", "databases.app.pool.isolation: is off, but the database has a context"},
		{"a database's own pool", "databases", "{a: {hosts: h, pool: {min_size: 30}}}", "databases.a.pool.min_size: is 30, more than the size, 20"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := check(t, dir, map[string]string{tc.part: tc.text}); !strings.Contains(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestCheckOfTheDefaultsNamesWhatIsMissing(t *testing.T) {
	got := Default().Check().Errors().Error()
	for _, want := range []string{"rules: there are no rules", "databases: there are no databases"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
