package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/claimpool/claimpool/revocation"
)

// audited gives the events of a kind in an audit file.
func audited(t *testing.T, path, kind string) (list []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("not a line: %s", line)
		}
		if m["event"] == kind {
			list = append(list, m)
		}
	}
	return list
}

// The audit stream tells of logins, refusals, hand-overs, fresh tokens, revocations and ends, and holds no token.
func TestServeAudit(t *testing.T) {
	s := newStage(t)
	dsn := s.withRevocations()
	path := filepath.Join(s.dir, "audit.jsonl")
	s.settings["more"] += "audit: {to: file, file: audit.jsonl, handovers: 1}\n"
	p := s.serve()
	token := s.issuer.Mint("someone", map[string]any{"tenant_id": "t1", "jti": "j1"})
	ada, err := s.dial(p, s.role, token, "server.test")
	if err != nil {
		t.Fatal(err)
	}
	s.one(ada, "SELECT 'a'")
	fresh := s.issuer.Mint("someone", map[string]any{"tenant_id": "t2", "jti": "j2"})
	if _, err := ada.Exec(t.Context(), "SET jwt.context = '"+fresh+"'"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dial(p, s.role, fresh+"x", "server.test"); err == nil {
		t.Error("a broken token is good")
	}
	connect, err := revocation.Connector("revocation", dsn, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := (&revocation.Request{Issuer: "https://issuer.test", Token: "j2", Reason: "a test"}).Entry()
	if err != nil {
		t.Fatal(err)
	}
	if err := (&revocation.Table{Connect: connect}).Revoke(t.Context(), []revocation.Entry{e}, nil); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"login", "handover", "renewal", "refusal", "revocation", "end"} {
		soon(t, kind, func() bool { return len(audited(t, path, kind)) == 1 })
	}
	login, renewal, end := audited(t, path, "login")[0], audited(t, path, "renewal")[0], audited(t, path, "end")[0]
	if login["iss"] != "https://issuer.test" || login["sub"] != "someone" || login["role"] != s.role || login["db"] != "app" || login["method"] != "jwt" || login["addr"] == nil {
		t.Errorf("%v", login)
	}
	if login["token_hash"] == renewal["token_hash"] || renewal["token_hash"] != audited(t, path, "revocation")[0]["token_hash"] {
		t.Errorf("%v %v", login, renewal)
	}
	if end["reason"] != "you have been signed out" || end["client"] != login["client"] || audited(t, path, "refusal")[0]["sqlstate"] != "28P01" {
		t.Errorf("%v", end)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, fresh, strings.Split(token, ".")[2], "tenant_id", "j1\"", "t1"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the stream holds %q", secret)
		}
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	s.login(p, "t3")
	soon(t, "the new file", func() bool { return len(audited(t, path, "login")) == 1 })
}
