package config

import (
	"strings"
	"testing"
)

func TestCheckJIT(t *testing.T) {
	dir := folder(t)
	app := func(jit string) string { return "{app: {hosts: h, jit: " + jit + "}}" }
	for _, tc := range []struct{ name, rules, databases, want string }{
		{"an address by itself", "{method: jit, databases: app}", app("https://api.example/jit"), ""},
		{"on this machine", "{method: jit, databases: app}", app("http://127.0.0.1:8080/jit"), ""},
		{"http elsewhere", "{method: jit, databases: app}", app("http://api.example/jit"), "databases.app.jit.api_url: must begin with https://. Over http everybody on the way could read the tokens"},
		{"no address", "{method: jit, databases: app}", app("api"), `databases.app.jit.api_url: "api" is no address`},
		{"a password in the address", "{method: jit, databases: app}", app("https://u:p@api.example/"), "databases.app.jit.api_url: holds more than an address"},
		{"settings without an API", "{method: reject}", app("{hand_on: cleartext}"), "databases.app.jit.api_url: is missing"},
		{"a rule without an API", "{method: jit, databases: app}", "{app: {hosts: h}}", "databases.app.jit: is missing"},
		{"a rule for all databases", "{method: jit}", app("https://api.example/jit"), "rules[0].databases: is missing"},
		{"in the clear", "{method: jit, databases: app, tls: off}", app("https://api.example/jit"), "rules[0].tls: would have tokens cross the network in the clear"},
		{"contexts on top", "{method: jit, databases: app, context_issuers: id}", app("https://api.example/jit"), "rules[0].context_issuers: is not used with the method jit"},
	} {
		got := check(t, dir, map[string]string{"rules": tc.rules, "databases": tc.databases})
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
