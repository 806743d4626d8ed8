package config

import (
	"strings"
	"testing"
)

func TestCheckTenants(t *testing.T) {
	dir := folder(t)
	two := "{app: {hosts: h, tenant: abc}, b: {hosts: h, tenant: xyz}}\ntenants_by: user"
	for _, tc := range []struct{ name, rules, want string }{
		{"tokens for all", "[{name: people, method: jwt}]", `tenant_claim: is missing: a token that rule "people" takes is good for the databases of several tenants: app, b.`},
		{"a rule for each", "[{method: jwt, databases: app}, {method: jwt, databases: b}]", ""},
		{"no tokens", "[{method: reject}]", ""},
	} {
		got := check(t, dir, map[string]string{"rules": tc.rules, "databases": two})
		if tc.want == "" && strings.Contains(got, "tenant") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if got := check(t, dir, map[string]string{"rules": tc.rules, "databases": two + "\ntenant_claim: t"}); strings.Contains(got, "tenant") {
			t.Errorf("%s, bound: %q", tc.name, got)
		}
	}
	for _, tc := range []struct{ name, databases, want string }{
		{"one", "{app: {hosts: h, tenant: abc}}\ntenants_by: user", ""},
		{"by a claim", "{app: {hosts: h, tenant: abc}}\ntenant_claim: tenant_id", ""},
		{"by a claim, but nobody has one", "{app: {hosts: h}}\ntenant_claim: tenant_id", "tenant_claim: is set, but no database has a tenant"},
		{"by all", "{app: {hosts: h, tenant: abc}}\ntenants_by: [user, options, sni]", ""},
		{"nobody says where", "{app: {hosts: h, tenant: abc}}", "tenants_by: is missing. Say where clients name the tenant \"abc\""},
		{"nobody has one", "{app: {hosts: h}}\ntenants_by: user", "tenants_by: is set, but no database has a tenant"},
		{"one of two databases", "{app: {hosts: h, tenant: abc}, b: {hosts: h, tenant: abc}}\ntenants_by: user", "databases.b.tenant: is that of app, too"},
		{"a dot", "{app: {hosts: h, tenant: a.b}}\ntenants_by: user", `databases.app.tenant: cannot be told apart: "a.b"`},
		{"upper case", "{app: {hosts: h, tenant: ABC}}\ntenants_by: sni", `databases.app.tenant: cannot be told apart: "ABC"`},
		{"for all", "{'*': {hosts: h, tenant: abc}}\ntenants_by: user", "databases.*.tenant: is not for databases that are not listed"},
	} {
		got := check(t, dir, map[string]string{"rules": "{method: reject}", "databases": tc.databases})
		if tc.want == "" && strings.Contains(got, "tenant") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
