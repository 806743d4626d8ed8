package credential

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// vault is a fake that lets an AppRole log in and gives a lease to whoever has its last token.
type vault struct {
	mu      sync.Mutex
	logins  int
	refuses bool  // every token
	down    bool  // for logins
	life    int64 // of tokens, in seconds
}

func (v *vault) set(change func(*vault)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
}

func (v *vault) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/v1/auth/services/login" && v.down:
		w.WriteHeader(503)
	case r.URL.Path == "/v1/auth/services/login" && r.Method == "POST" && r.Header.Get("X-Vault-Namespace") == "team" && r.Header.Get("Content-Type") == "application/json":
		v.logins++
		fmt.Fprintf(w, `{"auth":{"client_token":"hvs.%d","lease_duration":%d,"renewable":true}}`, v.logins, v.life)
	case r.URL.Path == "/v1/database/creds/shop" && r.Header.Get("X-Vault-Token") == fmt.Sprintf("hvs.%d", v.logins) && !v.refuses:
		io.WriteString(w, creds)
	default:
		w.WriteHeader(403)
		io.WriteString(w, `{"errors":["permission denied"]}`)
	}
}

// A role logs in once for many secrets, again before its token ends, and at once when Vault does not take the token any more.
func TestAppRole(t *testing.T) {
	fake := &vault{life: 1200}
	s := serve(t, fake.serve)
	now := epoch
	source, err := Vault{
		Address: s.URL, Path: "database/creds/shop", Field: "password", UserField: "username", Namespace: "team", Clock: func() time.Time { return now },
		AppRole: AppRole{RoleID: "role", SecretIDFile: file(t, "the secret id\n", 0o600), Mount: "/services/"},
	}.Source()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		change func()
		logins int
		life   time.Duration // of the lease; zero: there is none
	}{
		{"the first", func() {}, 1, 20 * time.Minute}, // not an hour: the lease ends with the token
		{"with the same token", func() { now = now.Add(14 * time.Minute) }, 1, 6 * time.Minute},
		{"shortly before its end", func() { now = now.Add(2 * time.Minute) }, 2, 20 * time.Minute},
		{"Vault has forgotten the token", func() { fake.set(func(v *vault) { v.logins++ }) }, 4, 20 * time.Minute},
		{"Vault takes none: one more login, and no other", func() { fake.set(func(v *vault) { v.refuses = true }) }, 5, 0},
		{"it takes them again", func() { fake.set(func(v *vault) { v.refuses, v.life = false, 7200 }) }, 5, 20 * time.Minute},
		{"shortly before the end no login works", func() {
			now = now.Add(16 * time.Minute)
			fake.set(func(v *vault) { v.down = true })
		}, 5, 4 * time.Minute},
		{"at the end", func() { now = now.Add(4 * time.Minute) }, 5, 0},
		{"a longer token", func() { fake.set(func(v *vault) { v.down = false }) }, 6, time.Hour},
	} {
		step.change()
		c, err := source(t.Context())
		switch {
		case (err == nil) != (step.life > 0) || shows(err, "the secret id", "hvs.") != "":
			t.Errorf("%s: %v", step.name, err)
		case err == nil && (string(c.Password) != "leased" || c.Expires.Sub(now) != step.life):
			t.Errorf("%s: it lasts for %v", step.name, c.Expires.Sub(now))
		}
		fake.set(func(v *vault) {
			if v.logins != step.logins {
				t.Errorf("%s: %d logins, want %d", step.name, v.logins, step.logins)
			}
		})
	}
	var asked map[string]string
	_, body, _ := strings.Cut(s.lines(), "/login ")
	body, _, _ = strings.Cut(body, "\n")
	if json.Unmarshal([]byte(body), &asked) != nil || asked["role_id"] != "role" || asked["secret_id"] != "the secret id" {
		t.Errorf("the login was %s", body)
	}
}

// TestAttackAppRole: somebody else answers in Vault's place, or the file of the secret id can be read by all.
//
// Must: Nothing is taken for a token, no redirect is followed with the secret id, no error shows it, and a file that others can read is refused.
// Dialects: none
func TestAttackAppRole(t *testing.T) {
	elsewhere := serve(t, says(`{"auth":{"client_token":"hvs.x","lease_duration":60},"data":{"password":"x"}}`))
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"refused": status(400, `{"errors":["invalid secret id: tell-tale"]}`),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"no token":           says(`{"auth":{"client_token":""}}`),
		"nothing":            says(`{}`),
		"HTML":               says("<html>tell-tale"),
		"a line break":       says(`{"auth":{"client_token":"hvs.x\r\nX: tell-tale","lease_duration":60}}`),
		"a megabyte":         says(`{"auth":{"client_token":"tell-tale` + strings.Repeat("x", 1<<20) + `"}}`),
		"a token of numbers": says(`{"auth":{"client_token":1}}`),
	} {
		s := serve(t, answer)
		for _, secret := range []string{file(t, "secret-id", 0o600), file(t, "secret-id", 0o644)} {
			source, err := Vault{Address: s.URL, Path: "secret/shop", Field: "password", AppRole: AppRole{RoleID: "role", SecretIDFile: secret}}.Source()
			if err != nil {
				t.Fatal(err)
			}
			if c, err := source(t.Context()); err == nil || c.Password != nil || shows(err, "tell-tale", "secret-id") != "" {
				t.Errorf("%s: %v", name, err)
			}
		}
		if lines := strings.Split(s.lines(), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], "POST /v1/auth/approle/login ") {
			t.Errorf("%s: asked %q", name, lines)
		}
	}
	if elsewhere.lines() != "" {
		t.Errorf("the secret id went elsewhere: %s", elsewhere.lines())
	}
}
