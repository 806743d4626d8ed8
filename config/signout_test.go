package config

import (
	"strings"
	"testing"
)

func TestCheckOfSignOut(t *testing.T) {
	const issuer = "issuers: {a: {issuer: 'https://a.example', audience: x, keys: k.pem%s}}\n"
	const table = "revocation: {dsn: 'postgres://door@127.0.0.1/app'}\n"
	for name, test := range map[string]struct{ text, want string }{
		"tokens without an end":      {strings.Replace(issuer, "%s", "", 1) + table, "issuers.a.max_lifetime: is missing"},
		"tokens that live longer":    {strings.Replace(issuer, "%s", ", max_lifetime: 2d", 1) + table, "issuers.a.max_lifetime: is longer than revocation.keep"},
		"a password in the URL":      {"revocation: {dsn: 'postgres://door:secret@127.0.0.1/app'}", "revocation.dsn: holds a password"},
		"a password among words":     {"revocation: {dsn: 'host=/run user=door password=secret'}", "revocation.dsn: holds a password"},
		"a password without a table": {"revocation: {password: {env: X}}", "revocation.dsn: is missing"},
		"a server that is not known": {"revocation: {dsn: 'postgres://door@db.example.com/app'}", "revocation.dsn: does not check whose server it is"},
		"always stale":               {"revocation: {dsn: 'postgres://door@127.0.0.1/app', stale_after: 5s, poll_interval: 3s}", "revocation.stale_after: is shorter than two poll intervals"},
		"no token":                   {"admin: {listen: '127.0.0.1:6433'}", "admin.token: is missing"},
		"in the clear":               {"admin: {listen: ':6433', token: {env: X}}", "admin.tls: is missing"},
		"no port":                    {"admin: {listen: '127.0.0.1', token: {env: X}}", "admin.listen: cannot understand"},
		"metrics without a place":    {"admin: {metrics_token: {env: X}}", "admin.listen: is missing"},
		"one token for both":         {"admin: {listen: '127.0.0.1:6433', token: {env: X}, metrics_token: {env: X}}", "admin.metrics_token: is that of administrators"},
		"health on no port":          {"admin: {health_listen: '127.0.0.1'}", "admin.health_listen: cannot understand"},
		"health among secrets":       {"admin: {listen: '127.0.0.1:6433', token: {env: X}, health_listen: '127.0.0.1:6433'}", "admin.health_listen: is that of another endpoint"},
		"logouts for nobody":         {table + "logout: {listen: '127.0.0.1:6434'}", "logout.listen: is for nobody"},
		"logouts without a table":    {"logout: {listen: '127.0.0.1:6434'}", "logout.listen: needs revocation.dsn"},
		"logouts from nowhere":       {strings.Replace(issuer, "%s", ", max_lifetime: 1h, logout: client", 1) + table, "logout.listen: is missing"},
		"one port for both":          {table + "admin: {listen: '127.0.0.1:6433', token: {env: X}}\nlogout: {listen: '127.0.0.1:6433'}", "logout.listen: is that of admin"},
		"types without an audience":  {strings.Replace(issuer, "%s", ", logout: {types: JWT}", 1), "issuers.a.logout.audience: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("/etc/claimpool/claimpool.yaml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, p := range c.Check() {
				all = append(all, p.String())
			}
			if !strings.Contains(strings.Join(all, "\n"), test.want) {
				t.Errorf("got\n%s", strings.Join(all, "\n"))
			}
		})
	}
}
