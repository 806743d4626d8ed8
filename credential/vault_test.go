package credential

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What Vault's documentation shows as its answers, shortened.
const (
	kv1    = `{"auth":null,"lease_id":"","lease_duration":2764800,"renewable":false,"data":{"password":"kv one","ttl":"30m"}}`
	kv2    = `{"lease_id":"","lease_duration":0,"data":{"data":{"password":"kv two","username":"x"},"metadata":{"created_time":"2026-11-22T15:40:54Z","deletion_time":"","destroyed":false,"version":1}}}`
	creds  = `{"lease_id":"database/creds/shop/e1c9","lease_duration":3600,"renewable":true,"data":{"username":"v-root-shop-Gs2","password":"leased"}}`
	static = `{"lease_id":"","lease_duration":0,"data":{"username":"app_user","password":"static","last_vault_rotation":"2026-05-06T15:26:42Z","rotation_period":86400,"ttl":83000}}`
)

func TestVault(t *testing.T) {
	for _, test := range []struct {
		name, answer, path, user string
		want                     string
		life                     time.Duration
	}{
		{"key-value, version 1", kv1, "secret/shop", "", " kv one", 0},
		{"key-value, version 2", kv2, "/secret/data/shop/", "", " kv two", 0},
		{"leased user", creds, "database/creds/shop", "username", "v-root-shop-Gs2 leased", time.Hour},
		{"static role", static, "database/static-creds/shop", "", " static", 83_000 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, says(test.answer), "X-Vault-Token", "X-Vault-Namespace")
			source, err := Vault{
				Address: s.URL + "/", Path: test.path, Field: "password", UserField: test.user, Namespace: "team", TokenFile: file(t, "hvs.one\n", 0o600), Clock: clock,
			}.Source()
			if err != nil {
				t.Fatal(err)
			}
			c, err := source(t.Context())
			if got := c.User + " " + string(c.Password); err != nil || got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
			if life := c.Expires.Sub(epoch); !c.Expires.IsZero() && life != test.life || c.Expires.IsZero() && test.life != 0 {
				t.Errorf("it lasts for %v", life)
			}
			if want := "GET /v1/" + strings.Trim(test.path, "/") + " X-Vault-Token=hvs.one X-Vault-Namespace=team"; s.lines() != want {
				t.Errorf("asked %s", s.lines())
			}
		})
	}
}

func TestVaultAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://vault.example.com:8200": true, "http://127.0.0.1:8200": true, "http://localhost:8200": true, "https://v/prefix": true,
		"http://vault.example.com:8200": false, "vault.example.com": false, "": false, "https://u:p@v": false, "https://v?x=1": false, "ftp://v": false,
	} {
		if _, err := (Vault{Address: address, Path: "p", Field: "f"}).Source(); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestAttackVaultAnswers: whoever answers in Vault's place, or Vault on a bad day, sends what should not be believed.
//
// Must: There is no credential, no redirect is followed with the token, and no error shows the token or what was sent.
// Dialects: none
func TestAttackVaultAnswers(t *testing.T) {
	elsewhere := serve(t, says(kv1), "X-Vault-Token")
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"refused":             status(403, `{"errors":["tell-tale hvs.one"]}`),
		"broken":              status(500, "tell-tale"),
		"a redirect":          func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"HTML":                says("<html>tell-tale"),
		"no such field":       says(`{"data":{"passwort":"tell-tale"}}`),
		"a deleted secret":    says(`{"data":{"data":null,"metadata":{"deletion_time":"2026-11-22T15:40:54Z"}}}`),
		"an empty password":   says(`{"data":{"password":"","x":"tell-tale"}}`),
		"a password of lies":  says(`{"data":{"password":{"tell":"tell-tale"}}}`),
		"a NUL byte":          says(`{"data":{"password":"tell-tale\u0000"}}`),
		"too long":            says(`{"data":{"password":"tell-tale` + strings.Repeat("x", maxAnswer) + `"}}`),
		"longer than allowed": says(`{"data":{"password":"tell-tale` + strings.Repeat("x", 70_000) + `"}}`),
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte(`{"data":{"password":"tell-tale"`))
		},
	} {
		s := serve(t, answer)
		source, err := Vault{Address: s.URL, Path: "secret/shop", Field: "password", TokenFile: file(t, "hvs.one", 0o600)}.Source()
		if err != nil {
			t.Fatal(err)
		}
		c, err := source(t.Context())
		if err == nil || c.Password != nil {
			t.Errorf("%s: taken", name)
		}
		if secret := shows(err, "hvs.one", "tell-tale"); secret != "" {
			t.Errorf("%s: %v shows %q", name, err, secret)
		}
	}
	if elsewhere.lines() != "" {
		t.Errorf("the token went elsewhere: %s", elsewhere.lines())
	}
	for name, token := range map[string]string{"readable by all": file(t, "hvs.one", 0o644), "empty": file(t, "\n", 0o600), "two lines": file(t, "a\nb", 0o600), "none": "/nowhere", "a folder": t.TempDir()} {
		source, err := Vault{Address: elsewhere.URL, Path: "p", Field: "password", TokenFile: token}.Source()
		if err == nil {
			_, err = source(t.Context())
		}
		if err == nil || shows(err, "hvs.one") != "" {
			t.Errorf("token file %s: %v", name, err)
		}
	}
}
