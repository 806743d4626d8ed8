package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parse1 parses a file that must be right.
func parse1(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/claimpool/claimpool.yaml", []byte(text))
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}

func TestParseReadsEverySettingOfTheExample(t *testing.T) {
	c := parse1(t, example)
	tls := TLS{CertFile: "/etc/claimpool/proxy.pem", KeyFile: "/etc/claimpool/proxy.key", MinVersion: "1.2"}
	pool := defaultPool()
	shopPool := pool
	shopPool.Size = 40
	want := Default()
	want.Listen = []Listener{{Address: "127.0.0.1:6432", TLS: tls}}
	want.TLS = tls
	want.Issuers = map[string]Issuer{"shop": {
		Issuer: "https://id.example.com", Audience: []string{"postgres"},
		Keys:  []KeyFile{{File: "/etc/claimpool/id.jwks.json"}},
		Role:  RoleRule{From: "claim", Claim: "role", Allow: []string{"app_user", "app_reader"}},
		Fetch: want.NewIssuer().Fetch, Introspection: want.NewIssuer().Introspection,
	}}
	people, reports := want.NewRule(), want.NewRule()
	people.Name, people.Method = "people", "jwt"
	reports.Name, reports.Method, reports.Users = "reports", "scram-sha-256", []string{"report"}
	reports.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Rules = []Rule{people, reports}
	want.UsersFile = "/etc/claimpool/userlist.txt"
	want.Databases = map[string]Database{"shop": {
		Hosts: []string{"db1.example.com:5432", "db2.example.com:5433"}, DBName: "shop",
		TargetSessionAttrs: "any", LoadBalanceHosts: "disable", Replication: "refuse", MaxReplication: 10,
		TLS:        ServerTLS{Mode: "verify-full", CAFile: "/etc/claimpool/ca.pem"},
		Password:   Secret{File: "/etc/claimpool/pool-password"},
		Context:    Context{Dialect: "sql", KeyFile: "/etc/claimpool/claimpool.key", Window: 3 * time.Second},
		JIT:        JIT{Timeout: 3 * time.Second, HandOn: "never"},
		Parameters: map[string]string{"search_path": "shop"},
		Lookup:     want.NewDatabase().Lookup,
		Pool:       shopPool,
	}}
	if d := cmp.Diff(want, c, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "file" || p.String() == "at"
	}, cmp.Ignore())); d != "" {
		t.Error(d)
	}
}

func TestParseAnEmptyFileGivesTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "rules:\n", "listen: 127.0.0.1:6432"} {
		want := Default()
		want.Complete()
		a, b := Diff(want, parse1(t, text))
		if len(a)+len(b) > 0 {
			t.Errorf("%q changed %v %v", text, a, b)
		}
	}
}

func TestParseValues(t *testing.T) {
	size := func(c *Config) any { return c.Pool.Size }
	wait := func(c *Config) any { return c.Pool.QueueWait }
	host := func(c *Config) any { return c.Databases["a"].Hosts[0] }
	address := func(c *Config) any { return c.Rules[0].Addresses[0].String() }
	for _, tc := range []struct {
		name, text string
		get        func(*Config) any
		want       any
	}{
		{"a number with separators", "pool: {queue_length: 10_000}", func(c *Config) any { return c.Pool.QueueLength }, 10000},
		{"a number in quotes", `pool: {size: "7"}`, size, 7},
		{"minutes", "pool: {queue_wait: 2m}", wait, 2 * time.Minute},
		{"a sum of units", "pool: {idle_timeout: 1d2h3m}", func(c *Config) any { return c.Pool.IdleTimeout }, 26*time.Hour + 3*time.Minute},
		{"zero needs no unit", "pool: {lifetime: 0}", func(c *Config) any { return c.Pool.Lifetime }, time.Duration(0)},
		{"a number where text is due keeps its digits", "tls: {min_version: 1.3}", func(c *Config) any { return c.TLS.MinVersion }, "1.3"},
		{"off is a word, not false", "rules: [{tls: off, method: jwt}]", func(c *Config) any { return c.Rules[0].TLS }, "off"},
		{"an address stands for itself alone", "rules: {addresses: 10.1.2.3}", address, "10.1.2.3/32"},
		{"an IPv6 address", "rules: [{addresses: ['::1']}]", address, "::1/128"},
		{"a network loses its host bits", "rules: [{addresses: [10.1.2.3/8]}]", address, "10.0.0.0/8"},
		{"a host without a port", "databases: {a: {hosts: db}}", host, "db:5432"},
		{"an IPv6 host without a port", "databases: {a: {hosts: '::1'}}", host, "[::1]:5432"},
		{"a bracketed IPv6 host without a port", "databases: {a: {hosts: '[::1]'}}", host, "[::1]:5432"},
		{"a socket folder", "databases: {a: {hosts: /run/postgresql}}", host, "/run/postgresql:5432"},
		{"a socket folder with a port", "databases: {a: {hosts: /run/postgresql:5433}}", host, "/run/postgresql:5433"},
		{"one listener", "listen: unix:/run/s", func(c *Config) any { return c.Listen[0].Address }, "unix:/run/s"},
		{"two listeners, one with its own certificate", "listen: [':1', {address: ':2', tls: {cert_file: /c, key_file: k}}]\ntls: {cert_file: /d, key_file: /e}",
			func(c *Config) any {
				return c.Listen[0].TLS.CertFile + c.Listen[1].TLS.CertFile + c.Listen[1].TLS.KeyFile
			}, "/d/c/etc/claimpool/k"},
		{"a listener with an older TLS", "listen: {address: ':1', tls: {min_version: 1.2}}\ntls: {cert_file: /d, key_file: /e, min_version: 1.3}",
			func(c *Config) any { return c.Listen[0].TLS }, TLS{CertFile: "/d", KeyFile: "/e", MinVersion: "1.2"}},
		{"a listener with the common TLS", "tls: {cert_file: /d, key_file: /e, min_version: 1.3}",
			func(c *Config) any { return c.Listen[0].TLS }, TLS{CertFile: "/d", KeyFile: "/e", MinVersion: "1.3"}},
		{"a database begins with the pool settings, wherever they stand", "databases: {a: {pool: {size: 3}}, b: {}}\npool: {mode: session, size: 9}",
			func(c *Config) any {
				return []any{c.Databases["a"].Pool.Size, c.Databases["a"].Pool.Mode, c.Databases["b"].Pool.Size}
			}, []any{3, "session", 9}},
		{"a database name of digits", "databases: {2024: {}}", func(c *Config) any { return c.Databases["2024"].DBName }, "2024"},
		{"a parameter that looks like a number", "databases: {a: {parameters: {work_mem: 64}}}", func(c *Config) any { return c.Databases["a"].Parameters["work_mem"] }, "64"},
		{"a mode without its group", "databases: {a: {tls: require, context: native}}",
			func(c *Config) any { return c.Databases["a"].TLS.Mode + c.Databases["a"].Context.Dialect }, "requirenative"},
		{"a command is not a path", "databases: {a: {password: {command: [pass, show, db]}}}",
			func(c *Config) any { return c.Databases["a"].Password.Command }, []string{"pass", "show", "db"}},
		{"rules get names", "rules: [{method: jwt}, {method: md5, name: old}, {method: reject}]",
			func(c *Config) any { return c.Rules[0].Name + c.Rules[1].Name + c.Rules[2].Name }, "rule 1oldrule 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.get(parse1(t, tc.text))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown key", "pool:\n  szie: 3\n", `c.yaml:2:3: pool.szie: unknown key. Did you mean "size"?`},
		{"an unknown key like nothing", "xyzzy: 1\n", `c.yaml:1:1: xyzzy: unknown key. Known here: tls, listen,`},
		{"a key in another program's spelling", "limits: {maxClients: 1}\n", `c.yaml:1:10: limits.maxClients: unknown key. Did you mean "max_clients"?`},
		{"a key given twice", "pool:\n  size: 3\n  mode: session\n  size: 4\n", "c.yaml:4:3: pool.size: given twice, first in line 2"},
		{"a database given twice", "databases:\n  a: {}\n  a: {}\n", "c.yaml:3:3: databases.a: given twice, first in line 2"},
		{"a time without a unit", "pool: {queue_wait: 10}", "c.yaml:1:20: pool.queue_wait: has no unit. Write a number and a unit: 500ms,"},
		{"a time that is none", "pool: {queue_wait: soon}", `pool.queue_wait: must be a time, not "soon"`},
		{"a negative time", "pool: {lifetime: -1s}", `pool.lifetime: must be a time, not "-1s"`},
		{"a time too long for the machine", "pool: {lifetime: 32767000d}", "pool.lifetime: must be a time"},
		{"a sum of times too long for the machine", "pool: {lifetime: 30000d2562047h}", "pool.lifetime: must be a time"},
		{"a number that is none", "pool: {size: many}", `pool.size: must be a whole number, not "many"`},
		{"a number below its bounds", "pool: {size: 0}", "pool.size: must be at least 1"},
		{"a number above its bounds", "loops: 1000", "loops: must be at most 256"},
		{"a time below its bounds", "watch_interval: 1ms", "watch_interval: must be at least 100ms"},
		{"a word that is not allowed", "pool: {mode: transactoin}", `pool.mode: must be session, transaction or statement, not "transactoin". Did you mean "transaction"?`},
		{"an algorithm that is not allowed", "issuers: {a: {keys: {file: k, algorithms: [ES256, none]}}}", `issuers.a.keys[0].algorithms[1]: must be EdDSA, `},
		{"an address that is none", "rules: [{addresses: [10.0.0.0/33]}]", `rules[0].addresses[0]: must be an address or a network, not "10.0.0.0/33"`},
		{"a list where one value is due", "pool: {size: [1, 2]}", "pool.size: needs a single value, not a list"},
		{"a value where a group is due", "pool: 20", "pool: needs settings below it, not a single value. The settings are: mode, size,"},
		{"a value where names are due", "databases: shop", "databases: needs names below it, not a single value"},
		{"a list of lists", "rules: [[{method: jwt}]]", "rules[0]: needs settings below it, not a list"},
		{"a key without its value", "users_file:\n", "users_file: has no value"},
		{"an anchor", "pool: &p {size: 1}", "pool: YAML anchors, aliases and tags are not supported"},
		{"a merge key", "a: {size: 1}\npool:\n  <<: {size: 2}\n", "pool: a key must be plain text"},
		{"a tag", "pool: !!map {size: 1}", "pool: YAML anchors, aliases and tags are not supported"},
		{"a second document", "pool: {size: 1}\n---\npool: {size: 2}\n", "a second YAML document"},
		{"broken YAML", "pool: {size: 1\nlisten: x\n", "c.yaml:2:1: not valid YAML"},
		{"a tab", "pool:\n\tsize: 1\n", "not valid YAML"},
		{"text", "hello", "needs settings below it, not a single value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Parse("c.yaml", []byte(tc.text))
			if err == nil || c != nil {
				t.Fatalf("accepted: %+v", c)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
		})
	}
}

func TestParseTellsEverythingAtOnce(t *testing.T) {
	_, err := Parse("c.yaml", []byte("loops: x\npool: {size: 0, modd: session}\nlimit: {}\n"))
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d lines, want 4:\n%v", n, err)
	}
}

// TestAttackSecretInTheFileIsNotRepeated: somebody pastes a password into the file.
//
// Must: The message that refuses it, which may reach a log that many can read, must not show it.
func TestAttackSecretInTheFileIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"databases: {a: {password: hunter2-secret}}",
		"databases: {a: {password: [hunter2-secret]}}",
		"databases: {a: {passwords: {app: hunter2-secret}}}",
	} {
		_, err := Parse("c.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), "a secret is never written into this file") {
			t.Errorf("%s: got %v", text, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is in the message: %v", err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), "read the configuration: open "+path) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was accepted")
	}
	write("loops: 1")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+": rules: there are no rules") {
		t.Errorf("a file without rules: %v", err)
	}
	write("rules: {method: trust, tls: any}\ndatabases: {a: {hosts: /tmp}}")
	if _, err := Load(path); err != nil {
		t.Errorf("a file with only a warning: %v", err)
	}
	write("#" + strings.Repeat("x", maxFile))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

// FuzzParse: whatever stands in the file, Parse neither panics nor accepts what its own check of bounds would refuse, and
// what it accepts can be checked and compared.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	for _, text := range []string{"", "pool: {size: 0x10}", "rules:\n- method: jwt\n  tls: off\n", "? [a]\n: b\n", "a: &x [*x]", "listen: |\n  x\n", "\x00", "databases: {'': {}}",
		"{{{{{{{{{{", "pool: !!binary aGk=", "<<: {a: b}", "listen: [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "a: .inf\nb: .nan\nc: ~\n", "- - - -", "%YAML 1.2\n---\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("c.yaml", data)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Error("an error with a configuration, or without a text")
			}
			return
		}
		if c.Pool.Size < 1 || c.Limits.MaxClients < 1 || c.WatchInterval < 100*time.Millisecond {
			t.Errorf("out of bounds: %+v", c)
		}
		if a, b := Diff(c, c); len(a)+len(b) > 0 {
			t.Errorf("differs from itself: %v %v", a, b)
		}
	})
}
