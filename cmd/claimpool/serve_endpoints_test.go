package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// call sends a request to an endpoint of a proxy.
func call(t *testing.T, method, address, path, kind, body, bearer string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// pools looks at GET /pools of a proxy with one client.
func pools(t *testing.T, admin, role, secret string) {
	t.Helper()
	if status, text := call(t, "GET", admin, "/pools", "", "", "wrong"); status != 401 || strings.Contains(text, role) {
		t.Errorf("%d %s", status, text)
	}
	var status int
	var text string
	soon(t, "the client is counted", func() bool {
		status, text = call(t, "GET", admin, "/pools", "", "", secret)
		return strings.Contains(text, `"connected":1`)
	})
	for _, part := range []string{`"role":"` + role + `","mode":"transaction"`, `"pinned":0,"pinned_by":{},"oldest_pin_ms":0`, `"connected":1,"active":0,"waiting":0`, `"pin_timeout_ms":300000`} {
		if status != 200 || !strings.Contains(text, part) {
			t.Errorf("%d %s has no %s", status, text, part)
		}
	}
	if strings.Contains(text, "someone") || strings.Contains(text, "t1") {
		t.Errorf("people are named: %s", text)
	}
}

// The endpoints sign people out: administrators with their token, the issuer with a logout token.
func TestServeEndpoints(t *testing.T) {
	s := newStage(t)
	s.withRevocations()
	const secret = "0123456789abcdef0123456789abcdef"
	s.put("admin.token", []byte(secret+"\n"))
	s.settings["lifetime"] += ", logout: shop-client"
	s.settings["more"] += "admin: {listen: '127.0.0.1:0', token: {file: admin.token}}\nlogout: {listen: '127.0.0.1:0'}\n"
	p := s.serve()
	admin := p.await("listening for admin", 1)["addr"].(string)
	logout := p.await("listening for logout", 1)["addr"].(string)

	ada := s.login(p, "t1")
	pools(t, admin, s.role, secret)
	if status, text := call(t, "POST", admin, "/pools", "application/json", "{}", secret); status != 405 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := call(t, "POST", admin, "/revocations", "application/json", `{"issuer": "https://issuer.test", "sub": "someone"}`, "wrong"); status != 401 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := call(t, "POST", admin, "/revocations", "application/json", `{"issuer": "https://issuer.test", "sub": "someone", "reason": "a test"}`, secret); status != 201 {
		t.Errorf("%d %s", status, text)
	}
	p.await("connection ended", 1)
	if _, err := ada.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("still served")
	}
	if status, text := call(t, "GET", admin, "/revocations", "", "", secret); status != 200 || !strings.Contains(text, `"sub":"someone"`) || !strings.Contains(text, "a test") {
		t.Errorf("%d %s", status, text)
	}

	now := time.Now().Unix()
	claims := map[string]any{"iss": "https://issuer.test", "aud": "shop-client", "iat": now, "exp": now + 120, "jti": "l1", "sid": "s1",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
	sign := func(typ string) string {
		return "logout_token=" + url.QueryEscape(s.issuer.Sign(map[string]any{"alg": "EdDSA", "kid": s.issuer.KeyID, "typ": typ}, claims))
	}
	const form = "application/x-www-form-urlencoded"
	bob, err := s.dial(p, s.role, s.issuer.Mint("bob", map[string]any{"sid": "s1"}), "server.test")
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		body   string
		status int
	}{{sign("JWT"), 400}, {sign("logout+jwt"), 200}, {sign("logout+jwt"), 400}} { // the last one again
		if status, text := call(t, "POST", logout, "/backchannel-logout", form, test.body, ""); status != test.status {
			t.Errorf("%d: %d %s", i, status, text)
		}
	}
	if line := p.await("connection ended", 2); line["reason"] != "you have been signed out" {
		t.Error(line)
	}
	if _, err := bob.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("still served")
	}
	p.await("signed out by the issuer", 1)
	if line := p.await("logout token refused", 2); !strings.Contains(fmt.Sprint(line["reason"]), "taken before") {
		t.Error(line)
	}
	if status, _ := call(t, "GET", logout, "/revocations", "", "", secret); status != 404 {
		t.Errorf("the administrators' paths are open to issuers: %d", status)
	}
}
