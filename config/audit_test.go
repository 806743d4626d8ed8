package config

import (
	"strings"
	"testing"
)

func TestCheckOfAudit(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no file":                    {"audit: {to: file}", "audit.file: is missing"},
		"a file for another":         {"audit: {to: stdout, file: x}", "audit.to: is not file"},
		"no table":                   {"audit: {to: table}", "audit.dsn: is missing"},
		"a table for another":        {"audit: {to: stdout, dsn: 'postgres://writer@127.0.0.1/audit'}", "audit.to: is not table"},
		"a password for another":     {"audit: {to: stdout, password: {env: X}}", "audit.to: is not table"},
		"a password in the URL":      {"audit: {to: table, dsn: 'postgres://writer:secret@127.0.0.1/audit'}", "audit.dsn: holds a password"},
		"no such password":           {"audit: {to: table, dsn: 'postgres://writer@127.0.0.1/audit', password: {file: gone}}", "audit.password.file: there is no file"},
		"a server that is not known": {"audit: {to: table, dsn: 'postgres://writer@db.example.com/audit'}", "audit.dsn: does not check whose server it is"},
		"good":                       {"audit: {to: table, dsn: 'postgres://writer@db.example.com/audit?sslmode=verify-full', transactions: 100}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("/etc/claimpool/claimpool.yaml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, p := range c.Check() {
				if strings.Contains(p.String(), "audit.") {
					all = append(all, p.String())
				}
			}
			if got := strings.Join(all, "\n"); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}
