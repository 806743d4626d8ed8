package fetch_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/fetch"
)

func TestCheckURL(t *testing.T) {
	for address, good := range map[string]bool{
		"https://id.example":            true,
		"https://id.example:8443/a?b=c": true,
		"http://127.0.0.1:8080/":        true,
		"http://[::1]/":                 true,
		"http://localhost/":             true,
		"http://id.example":             false,
		"http://127.0.0.1.example/":     false,
		"http://0.0.0.0/":               false,
		"ftp://127.0.0.1/":              false,
		"id.example":                    false,
		"https://":                      false,
		"https:id.example":              false,
		"https://user@id.example/":      false,
		"https://id.example/#part":      false,
		"":                              false,
		"https://id.example/%zz":        false,
	} {
		if err := fetch.CheckURL(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := fetch.NewClient(address, fetch.Options{}); (err == nil) != good {
			t.Errorf("a client for %q: %v", address, err)
		}
	}
}

func serve(t *testing.T, do http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(do)
	t.Cleanup(s.Close)
	return s.URL
}

func TestClient(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.WriteHeader(418)
		io.WriteString(w, r.Method+" "+r.Header.Get("X-Test")+" "+r.Header.Get("User-Agent")+" "+string(body))
	})
	for _, keep := range []bool{false, true} {
		c, err := fetch.NewClient(address, fetch.Options{Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"X-Test": {"x"}}
		for range 2 {
			a, err := c.Post(t.Context(), header, []byte("body"), 100)
			if err != nil || a.Code != 418 || !a.JSON() || string(a.Body) != "POST x claimpool body" || !strings.HasPrefix(a.Status, "418 ") {
				t.Errorf("%+v %v", a, err)
			}
		}
		if a, err := c.Get(t.Context(), nil, 100); err != nil || string(a.Body) != "GET  claimpool " {
			t.Errorf("%+v %v", a, err)
		}
		if _, err := c.Post(t.Context(), header, []byte("secret"), 10); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("an answer that is too long: %v", err)
		}
		if header.Get("User-Agent") != "" {
			t.Error("it changes the caller's header")
		}
		c.Close()
	}
}

// Services of the machine itself are asked without a proxy of the environment, over http where they are; all other rules stay.
func TestMachine(t *testing.T) {
	for address, good := range map[string]bool{
		"http://169.254.169.254/x": true, "http://metadata.google.internal/x": true, "https://169.254.169.254/": true,
		"ftp://169.254.169.254/": false, "http://u:p@169.254.169.254/": false, "": false, "http:///x": false,
	} {
		if _, err := fetch.NewClient(address, fetch.Options{Machine: true}); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := fetch.NewClient("ftp://id.example/?key=tell-tale", fetch.Options{Machine: true}); err == nil || strings.Contains(err.Error(), "tell-tale") {
		t.Errorf("the query: %v", err)
	}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method+" "+r.Header.Get("X-Test")) })
	c, err := fetch.NewClient(address, fetch.Options{Machine: true})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Put(t.Context(), http.Header{"X-Test": {"1"}}, 100); err != nil || string(a.Body) != "PUT 1" {
		t.Errorf("%+v %v", a, err)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "elsewhere") })
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/there":
			io.WriteString(w, "there")
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	})
	get := func(path string, follow bool) (string, error) {
		c, err := fetch.NewClient(address+path, fetch.Options{Redirects: follow})
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Get(t.Context(), nil, 1000)
		if err != nil {
			return "", err
		}
		return a.Status[:3] + " " + string(a.Body), nil
	}
	if got, err := get("/", true); err != nil || got != "200 there" {
		t.Errorf("on the same server: %q %v", got, err)
	}
	for _, path := range []string{"/away", "/round"} {
		if got, err := get(path, true); err == nil {
			t.Errorf("%s: %q", path, got)
		}
		if got, err := get(path, false); err != nil || !strings.HasPrefix(got, "302 ") {
			t.Errorf("%s, where none is followed: %q %v", path, got, err)
		}
	}
}

func TestClientEndsWithItsContext(t *testing.T) {
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c, err := fetch.NewClient(address, fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.Get(ctx, nil, 10); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestAttackKeyInAddress: the attacker reads the log. The address of an API holds a key behind a question mark, and the API is down, slow, redirects or talks
// too much.
//
// Must: The log says where it was asked, and never what stands behind the question mark.
// Dialects: none
func TestAttackKeyInAddress(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/away":
			http.Redirect(w, r, "https://elsewhere.example/?key=tell-tale", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round?key=tell-tale", http.StatusFound)
		default:
			io.WriteString(w, strings.Repeat("long", 100))
		}
	})
	for _, where := range []string{address + "/slow", address + "/away", address + "/round", address + "/long", "http://127.0.0.1:1/down", "https://127.0.0.1:1/down"} {
		c, err := fetch.NewClient(where+"?key=tell-tale", fetch.Options{Redirects: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = c.Get(ctx, nil, 10)
		cancel()
		if err == nil || strings.Contains(err.Error(), "tell-tale") || !strings.HasPrefix(err.Error(), where) {
			t.Errorf("%s: %v", where, err)
		}
		if c.Place() != where {
			t.Error(c.Place())
		}
	}
}
