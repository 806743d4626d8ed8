package config

import (
	"strings"
	"testing"
)

func TestCheckIntrospection(t *testing.T) {
	dir := folder(t)
	issuer := func(in string) string { return "{id: {issuer: x, audience: pg, introspection: " + in + "}}" }
	const good = "{url: https://id.example/introspect, client_id: proxy, client_secret: {env: PATH}}"
	for _, tc := range []struct{ name, issuers, want string }{
		{"good", issuer(good), ""},
		{"on this machine", issuer(strings.Replace(good, "https://id.example", "http://127.0.0.1:8080", 1)), ""},
		{"http elsewhere", issuer(strings.Replace(good, "https", "http", 1)), "issuers.id.introspection.url: must begin with https://. Over http everybody on the way could read the tokens"},
		{"no client", issuer("{url: https://id.example/}"), "issuers.id.introspection.client_id: is missing"},
		{"no secret", issuer("{url: https://id.example/, client_id: proxy}"), "issuers.id.introspection.client_secret: is missing"},
		{"no address", issuer("{client_id: proxy}"), "issuers.id.introspection.url: is missing"},
		{"keys, too", strings.Replace(issuer(good), "audience", "keys: jwks, audience", 1), "issuers.id: has keys and introspection. Keep one of them."},
		{"two of them in one rule", "{a: {issuer: x, audience: pg, introspection: " + good + "}, b: {issuer: y, audience: pg, introspection: " + good + "}}", `rules[0].issuers: has several issuers that are asked about tokens, "a" and "b"`},
	} {
		got := check(t, dir, map[string]string{"issuers": tc.issuers, "rules": "{method: jwt}"})
		if tc.want == "" && strings.Contains(got, "introspection") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
