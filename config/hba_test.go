package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readLines reads rules from a file of these lines: each rule in one line, or the problems.
func readLines(t testing.TB, text string) (string, error) {
	t.Helper()
	c := Default()
	c.HBAFile = filepath.Join(t.TempDir(), "hba")
	if err := os.WriteFile(c.HBAFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if problems := c.readHBA(); len(problems) > 0 {
		return "", problems
	}
	var b strings.Builder
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "%s: %q %q %v tls=%q %s", r.Name, r.Databases, r.Users, r.Addresses, r.TLS, r.Method)
		for name, value := range map[string]string{" map=": r.UserMap, " cert=": strings.Replace(r.ClientCert, "none", "", 1), " name=": strings.Replace(r.CertName, "cn", "", 1), " issuers=": strings.Join(r.Issuers, " ")} {
			if value != "" {
				b.WriteString(name + value)
			}
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

func TestHBA(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"local all all peer", `["all"] ["all"] [] tls="local" peer`},
		{"local\tall\tall peer map=staff # who is here", `["all"] ["all"] [] tls="local" peer map=staff`},
		{"host a,b anna 10.1.2.3/8 md5", `["a" "b"] ["anna"] [10.0.0.0/8] tls="" md5`},
		{"host a, b anna 10.1.2.3 255.255.0.0 reject", `["a" "b"] ["anna"] [10.1.0.0/16] tls="" reject`},
		{`hostssl "a b" "anna#" ::1/128 scram-sha-256 clientcert=verify-ca`, `["a b"] ["anna#"] [::1/128] tls="required" scram-sha-256 cert=verify-ca`},
		{"hostssl all all fe80:: ffff:ffff:: cert clientname=DN", `["all"] ["all"] [fe80::/32] tls="required" cert name=dn`},
		{"hostnossl all all all scram-sha-256", `["all"] ["all"] [0.0.0.0/0 ::/0] tls="off" scram-sha-256`},
		{"host all all 127.0.0.1/32 jwt issuers=shop+staff", `["all"] ["all"] [127.0.0.1/32] tls="" jwt issuers=shop staff`},
		{"host \\\n  all all \\\n all trust", `["all"] ["all"] [0.0.0.0/0 ::/0] tls="" trust`},
		{`host all "+dba" 0.0.0.0/0 md5`, `["all"] ["+dba"] [0.0.0.0/0] tls="" md5`},
		{"\n# nothing\n   \nhost replication all all trust\nlocal replication all peer", ""},
	} {
		got, err := readLines(t, tc.line+"\n")
		if _, got, _ = strings.Cut(strings.TrimSuffix(got, "\n"), ": "); err != nil || got != tc.want {
			t.Errorf("%q\ngot  %s %v\nwant %s", tc.line, got, err, tc.want)
		}
	}
}

// TestAttackHBAThatMeansMore: an administrator brings a file that PostgreSQL understands, and the proxy would understand otherwise: a line
// that it left out, or read as less, would let somebody in by the next one.
//
// Must: The file is refused, with its line.
func TestAttackHBAThatMeansMore(t *testing.T) {
	for line, want := range map[string]string{
		"hostgssenc all all all gss":                           "hostgssenc is not supported",
		"hosts all all all md5":                                "unknown type of connection",
		"include other.conf":                                   "include is not supported",
		"host all all all":                                     "the line ends too early",
		"local all all":                                        "the line ends too early",
		"host sameuser all all md5":                            "sameuser is not supported",
		"host samerole all all md5":                            "samerole is not supported",
		"host all,replication all all md5":                     "replication is not supported",
		"host all +dba all reject":                             `"+dba" is not supported`,
		"host all @users all reject":                           `"@users" is not supported`,
		"host /^a all all reject":                              `"/^a" is not supported`,
		`host "all" all all reject`:                            "a database of the name all",
		`host "*" all all md5`:                                 "a database of the name *",
		`host "" all all reject`:                               "an empty name",
		`host a"b"c"d" all all reject`:                         "two pairs of quotes",
		`host "a all all reject`:                               "a quote does not end",
		"host ,a all all reject":                               "a comma without a word",
		"host all all db.example.com md5":                      "names of hosts are not supported",
		"host all all .example.com md5":                        "names of hosts are not supported",
		"host all all samenet trust":                           "samenet is not supported",
		"host all all 10.0.0.0 md5":                            "is no mask",
		"host all all 10.0.0.0 255.0.255.0 md5":                "ones behind zeros",
		"host all all 10.0.0.0 ffff:: md5":                     "is no mask of this address",
		"host all all 10.0.0.0/33 md5":                         "is no network",
		"host all all fe80::1%eth0/64 md5":                     "is no network",
		"host all all 10.0.0.0/8,11.0.0.0/8 md5":               "there must be one address",
		"host all all all password":                            "the method password is not supported",
		"host all all all ident":                               "the method ident is not supported",
		"host all all all ldap ldapserver=x":                   "the method ldap is not supported in this file",
		"host all all all Trust":                               `unknown method "Trust"`,
		"host all all all cert":                                "the method cert needs hostssl",
		"host all all all peer":                                "the method peer needs local",
		"hostssl all all all md5 clientcert=1":                 `the option "clientcert=1" is not supported`,
		"host all all all md5 clientcert=verify-full":          "is not supported here",
		"hostssl all all all md5 map=staff":                    "is not supported here",
		"host all all all md5 trust":                           "is no option",
		"host all all all md5 \\":                              "the last line goes on",
		"local all all peer\nhost all all all krb5\nlocal x y": `hba:2:1: unknown method "krb5"`,
	} {
		if got, err := readLines(t, line+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s%v, want %q", line, got, err, want)
		}
	}
	c, err := Parse("/etc/claimpool/c.yaml", []byte("rules: [{method: reject}]\nhba_file: "+filepath.Join(t.TempDir(), "none")))
	if err == nil || !strings.Contains(err.Error(), "cannot read") {
		t.Errorf("a file that is not there: %v %v", c, err)
	}
}

func FuzzHBA(f *testing.F) {
	f.Add("local all all peer map=x")
	f.Add("host \"a\",b all 10.0.0.0 255.0.0.0 md5 # x")
	f.Fuzz(func(t *testing.T, line string) {
		fields, err := hbaFields(line)
		if err != nil || len(fields) == 0 {
			return
		}
		c := Default()
		r, err := c.hbaRule(fields)
		if err != nil || r == nil {
			return
		}
		// What was read must never be for more than the line names.
		if len(r.Databases) == 0 || len(r.Users) == 0 || r.Method == "" || r.TLS != "local" && len(r.Addresses) == 0 {
			t.Errorf("%q became %+v", line, r)
		}
	})
}
