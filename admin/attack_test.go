package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// counted counts what reaches the table.
type counted struct {
	calls int
	fail  error
}

func (c *counted) Revoke(context.Context, []revocation.Entry, *claimpool.Mark) error {
	c.calls++
	return c.fail
}

func (c *counted) Undo(context.Context, int64, string) error {
	c.calls++
	return c.fail
}

func (c *counted) List(context.Context) ([]revocation.Entry, error) {
	c.calls++
	return nil, c.fail
}

// Pools is part of admin.Pools.
func (c *counted) Pools(context.Context) ([]admin.Pool, error) {
	c.calls++
	return nil, c.fail
}

const secret = "0123456789abcdef0123456789abcdef"

func newLog() (*slog.Logger, *pgtest.LogBuffer) {
	b := new(pgtest.LogBuffer)
	return slog.New(slog.NewTextHandler(b, nil)), b
}

// serve is an endpoint on loopback with the limits of the real one.
func serve(t *testing.T, h http.Handler, log *slog.Logger) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, ended := admin.NewServer(h, log), make(chan error, 1)
	go func() { ended <- admin.Serve(s, l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func ask(t *testing.T, method, url, body string, header ...string) (status int, answer string, got http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req) // follows nothing
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// TestAttackKillOfEverybody: the attacker chooses the role that a program of administrators ends the clients of, and chooses none.
//
// Must: Nobody must be ended (42704).
// Dialects: none
func TestAttackKillOfEverybody(t *testing.T) {
	d := sit(t)
	bound := wire.AppendBind(wire.AppendParse(nil, "", "KILL DATABASE 'app' ROLE $1"), "", "", [][]byte{{}})
	for _, got := range []string{d.say("KILL DATABASE 'app' ROLE ''"), d.ask(wire.AppendSync(wire.AppendExecute(bound, "", 0)))} {
		if !strings.Contains(got, "ERROR(42704") || d.killed != "" {
			t.Errorf("%s, %s", got, d.killed)
		}
	}
}

// TestAttackEndpointWithoutToken: the attacker reaches the endpoint of administrators, from another program or through the browser of
// somebody on this machine. He has no token, a wrong one, the right one in the wrong place, or an endpoint whose token is empty.
//
// Must: Every request must be refused alike (401) before anything of it is read, the log must say so without the token, and no answer may let another site read it.
// Dialects: none
func TestAttackEndpointWithoutToken(t *testing.T) {
	log, lines := newLog()
	table := new(counted)
	url := serve(t, admin.Handler(claimpool.Secret(secret), table, table, nil, log), log)
	open := serve(t, admin.Handler(nil, table, table, nil, log), log)
	body := `{"iss": "i", "sub": "ann"}`
	for name, header := range map[string][]string{
		"nothing":           nil,
		"a wrong token":     {"Authorization", "Bearer " + strings.Repeat("0", 32)},
		"half of it":        {"Authorization", "Bearer " + secret[:16]},
		"more than it":      {"Authorization", "Bearer " + secret + "0"},
		"with a space":      {"Authorization", "Bearer  " + secret},
		"another scheme":    {"Authorization", "Basic " + secret},
		"an empty one":      {"Authorization", "Bearer "},
		"another header":    {"X-Token", secret},
		"a cookie":          {"Cookie", "token=" + secret},
		"another site":      {"Origin", "https://evil.example", "Content-Type", "application/json"},
		"behind a good one": {"Authorization", "Bearer x", "Authorization", "Bearer " + secret},
	} {
		for _, where := range []string{url, open} {
			for _, request := range [][2]string{{"GET", "/revocations"}, {"POST", "/revocations"}, {"OPTIONS", "/revocations"}, {"DELETE", "/revocations/7"}, {"GET", "/"}, {"GET", "/revocations?token=" + secret},
				{"GET", "/pools"}, {"HEAD", "/pools"}, {"POST", "/pools"}, {"GET", "/pools?token=" + secret}, {"GET", "//pools"}} {
				status, text, got := ask(t, request[0], where+request[1], body, header...)
				if status != http.StatusUnauthorized || !strings.Contains(text, "a token is needed") && request[0] != "HEAD" {
					t.Errorf("%s: %v: %d %s", name, request, status, text)
				}
				for h := range got {
					if strings.HasPrefix(h, "Access-Control-") {
						t.Errorf("%s: %s", name, h)
					}
				}
			}
		}
	}
	if table.calls != 0 {
		t.Errorf("%d requests have reached the table or the pools", table.calls)
	}
	if !strings.Contains(lines.String(), "request of an administrator refused") || strings.Contains(lines.String(), secret) {
		t.Error(lines.String())
	}
}

// TestAttackEndpointBodies: the attacker has the token, or what he sends is passed on by somebody who has it. He sends bodies that are
// long, of another type, ambiguous, or name several things; names with line breaks that should become lines of the log.
//
// Must: What is not one plain request must be refused (400), and the log must have one line for each request.
// Dialects: none
func TestAttackEndpointBodies(t *testing.T) {
	log, lines := newLog()
	table := new(counted)
	url := serve(t, admin.Handler(claimpool.Secret(secret), table, table, nil, log), log) + "/revocations"
	token, kind := "Bearer "+secret, "application/json"
	for name, test := range map[string]struct{ kind, body string }{
		"a form":            {"application/x-www-form-urlencoded", `{"issuer": "i", "sub": "ann"}`},
		"plain text":        {"text/plain", `{"issuer": "i", "sub": "ann"}`},
		"no type":           {"", `{"issuer": "i", "sub": "ann"}`},
		"a list":            {kind, `[{"issuer": "i", "sub": "ann"}]`},
		"two objects":       {kind, `{"issuer": "i", "sub": "ann"}{"issuer": "i", "sub": "bob"}`},
		"an unknown field":  {kind, `{"issuer": "i", "sub": "ann", "keep": false}`},
		"two things":        {kind, `{"issuer": "i", "sub": "ann", "jti": "j"}`},
		"nothing":           {kind, `{}`},
		"a time of no kind": {kind, `{"issuer": "i", "sub": "ann", "before": "tomorrow"}`},
		"a name twice":      {kind, `{"issuer": "i", "sub": "ann", "sub": "bob"}`},
		"another spelling":  {kind, `{"issuer": "i", "SUB": "ann"}`},
		"twice, by case":    {kind, `{"issuer": "i", "sub": "ann", "Sub": "bob"}`},
		"twice, escaped":    {kind, `{"issuer": "i", "sub": "ann", "s\u0075b": "bob"}`},
		"null":              {kind, `null`},
		"a long body":       {kind, `{"issuer": "i", "sub": "` + strings.Repeat("a", 1<<20) + `"}`},
	} {
		status, text, _ := ask(t, "POST", url, test.body, "Authorization", token, "Content-Type", test.kind)
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if table.calls != 0 {
		t.Errorf("%d requests have reached the table", table.calls)
	}
	if status, text, got := ask(t, "POST", url, `{"issuer": "i", "sub": "ann\n\rlevel=ERROR msg=forged"}`, "Authorization", token, "Content-Type", kind); status != http.StatusCreated || got.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s %v", status, text, got)
	}
	if n := strings.Count(lines.String(), "\n"); n != 1 || strings.Contains(lines.String(), "\nlevel=ERROR") {
		t.Errorf("%d lines: %s", n, lines.String())
	}
	table.fail = errors.New("password of the table")
	for _, url := range []string{url, strings.Replace(url, "/revocations", "/pools", 1)} {
		if status, text, _ := ask(t, "GET", url, "", "Authorization", token); status != http.StatusServiceUnavailable || strings.Contains(text, "password") {
			t.Errorf("%d %s", status, text)
		}
	}
}

// TestAttackLogoutEndpoint: the attacker reaches the endpoint for issuers. He sends what is no logout token, one twice, one in the
// address, two in one form, or nothing for a long time.
//
// Must: All of it must be refused with 400 (405 for other methods, 404 elsewhere), with an answer that says nothing and is not kept by caches.
// Dialects: none
func TestAttackLogoutEndpoint(t *testing.T) {
	log, lines := newLog()
	table := new(counted)
	verify := func(raw []byte) (*admin.Logout, error) {
		if string(raw) == "good" {
			return &admin.Logout{Issuer: "i", Subject: "ann", ID: "1", Issued: time.Now()}, nil
		}
		return nil, errors.New("bad_signature: secret reason")
	}
	h := admin.LogoutHandler(verify, table, nil, log)
	url, form := serve(t, h, log)+admin.LogoutPath, "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		method, url, kind, body string
		status                  int
	}{
		"a bad token":    {"POST", url, form, "logout_token=bad", 400},
		"none":           {"POST", url, form, "", 400},
		"two":            {"POST", url, form, "logout_token=bad&logout_token=good", 400},
		"in the address": {"POST", url + "?logout_token=good", form, "", 400},
		"JSON":           {"POST", url, "application/json", `{"logout_token": "good"}`, 400},
		"a long form":    {"POST", url, form, "logout_token=" + strings.Repeat("a", 1<<20), 400},
		"another method": {"GET", url + "?logout_token=good", form, "", 405},
		"another path":   {"POST", url + "/x", form, "logout_token=good", 404},
	} {
		status, text, got := ask(t, test.method, test.url, test.body, "Content-Type", test.kind)
		if status != test.status || strings.Contains(text, "secret") || got.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v", name, status, text, got)
		}
	}
	if table.calls != 0 {
		t.Errorf("%d requests have reached the table", table.calls)
	}
	if status, text, got := ask(t, "POST", url, "logout_token=good", "Content-Type", form); status != 200 || text != "" || got.Get("Cache-Control") != "no-store" {
		t.Errorf("a good one: %d %s", status, text)
	}
	table.fail = revocation.ErrReplayed
	if status, _, _ := ask(t, "POST", url, "logout_token=good", "Content-Type", form); status != 400 || !strings.Contains(lines.String(), "taken before") {
		t.Errorf("a second time: %d", status)
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("PUT", admin.LogoutPath, nil)); w.Code != 405 {
		t.Error(w.Code)
	}
}
