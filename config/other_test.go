package config

import (
	"strings"
	"testing"
)

func TestCheckOther(t *testing.T) {
	dir := folder(t)
	for _, tc := range []struct{ name, part, text, want string }{
		{"tokens without an issuer", "issuers", "{id: {issuer: '-', audience: pg, keys: jwks}}", ""},
		{"a key in the environment", "issuers", "{id: {issuer: x, audience: pg, keys: {env: PATH}}}", ""},
		{"a key that is not there", "issuers", "{id: {issuer: x, audience: pg, keys: {env: NOT_THERE}}}", "issuers.id.keys[0].env: the environment variable NOT_THERE is not set here"},
		{"a key at two places", "issuers", "{id: {issuer: x, audience: pg, keys: {env: PATH, file: jwks}}}", "issuers.id.keys[0]: has file and env"},
		{"a secret in the environment", "issuers", "{id: {issuer: x, audience: pg, keys: {env: PATH, algorithms: HS256}}}", "issuers.id.keys[0].algorithms: are those of a secret"},
		{"just-in-time access for all", "databases", "{'*': {hosts: h, jit: 'https://api.example/'}}", "databases.*.jit: is not for databases that are not listed"},
		{"a context for all", "databases", "{'*': {hosts: h, context: {dialect: sql, key_file: jwks}}}", "databases.*.context: is not for databases that are not listed"},
		{"a database behind another name", "databases", "{'*': {hosts: h}, app: {hosts: h, dbname: shop, context: {dialect: sql, key_file: jwks}}}", `databases.*: is also the way to "shop", the database behind "app"`},
		{"a database of its own name", "databases", "{'*': {hosts: h}, app: {hosts: h, context: {dialect: sql, key_file: jwks}}}", ""},
		{"a database at another host", "databases", "{'*': {hosts: h}, app: {hosts: g, dbname: shop, context: {dialect: sql, key_file: jwks}}}", ""},
		{"look-ups for all", "databases", "{'*': {hosts: h, lookup: {role: r}}}", "databases.*.lookup: is not for databases that are not listed"},
	} {
		got := check(t, dir, map[string]string{"rules": "{method: jwt}", tc.part: tc.text})
		if !strings.Contains(got, tc.want) || tc.want == "" && (strings.Contains(got, "issuers") || strings.Contains(got, "the way to")) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
