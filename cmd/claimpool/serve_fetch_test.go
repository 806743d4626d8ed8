package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
)

// provided is an issuer with a web server of its own.
type provided struct {
	*pgtest.Provider
	*pgtest.Issuer
}

// provide starts one, and gives its line of the configuration.
func (s *stage) provide(name string) (provided, string) {
	s.t.Helper()
	p := pgtest.StartProvider(s.t)
	ca, err := os.ReadFile(p.CAFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(name+".ca", ca)
	is := provided{p, pgtest.NewIssuer(s.t, p.URL)}
	is.Publish(is.JWK())
	return is, fmt.Sprintf("  %s: {discovery: %q, audience: claimpool, fetch: {ca_file: %s.ca, interval: 1h, unknown_kid_interval: 1s}, role: {from: fixed, value: %s}}\n",
		name, p.URL, name, s.role)
}

// try logs in with a token of an issuer.
func (s *stage) try(p *process, issuer *pgtest.Issuer) error {
	c, err := s.dial(p, s.role, issuer.Mint("someone", map[string]any{"tenant_id": "t1"}), "server.test")
	if err != nil {
		return err
	}
	defer c.Close(s.t.Context())
	if got := s.one(c, whoAmI); got != "t1" {
		s.t.Errorf("the tenant is %s", got)
	}
	return nil
}

// Issuers whose keys are in a file, come from a URL that works, and come from one that does not, side by side.
func TestServeFetchesKeys(t *testing.T) {
	s := newStage(t)
	good, goodLine := s.provide("good")
	down, downLine := s.provide("down")
	down.Instead(pgtest.DiscoveryPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	s.settings["issuers"] = goodLine + downLine
	p := s.serve()
	line := p.await("the keys of an issuer cannot be fetched: its tokens are refused until that works", 1)
	if line["iss"] != down.URL || !strings.Contains(fmt.Sprint(line["err"]), "503") {
		t.Errorf("logged: %v", line)
	}
	if line := p.await("the keys of an issuer are fetched", 1); line["iss"] != good.URL || line["kid"] != "k1" {
		t.Errorf("logged: %v", line)
	}
	for _, is := range []*pgtest.Issuer{s.issuer, good.Issuer} {
		if err := s.try(p, is); err != nil {
			t.Errorf("%s: %v", is.Name, err)
		}
	}
	err := s.try(p, down.Issuer)
	if err == nil || !strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "503") {
		t.Errorf("of the issuer that is down: %v", err)
	}
	refused := p.await("connection refused", 1)
	if got := fmt.Sprint(refused["err"], refused["reason"]); refused["sqlstate"] != "28P01" || !strings.Contains(got, "keys_unavailable") || !strings.Contains(got, "503") {
		t.Errorf("logged: %v", refused)
	}
	t.Run("a new key, at once", func(t *testing.T) { s.rotates(t, p, good) })
	t.Run("the end of the outage", func(t *testing.T) {
		down.Instead(pgtest.DiscoveryPath, nil)
		soon(t, "keys", func() bool { return s.try(p, down.Issuer) == nil })
	})
	t.Run("a clock that is not ours", func(t *testing.T) { s.skews(t, p, good, goodLine+downLine) })
	t.Run("a reload", func(t *testing.T) { s.reloadsRemotes(t, p, good, goodLine) })
	p.signal(syscall.SIGTERM)
	p.exits()
}

// rotates holds that a new key works with its first token, and the old one no more.
func (s *stage) rotates(t *testing.T, p *process, good provided) {
	next := pgtest.NewIssuer(t, good.URL)
	next.KeyID = "k2"
	good.Publish(next.JWK())
	if err := s.try(p, next); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if err := s.try(p, good.Issuer); err == nil {
		t.Error("the old key works")
	}
	*good.Issuer = *next
}

// skews holds that the tokens of an issuer whose clock is three minutes ahead are refused for that, and taken where the leeway allows it.
func (s *stage) skews(t *testing.T, p *process, good provided, lines string) {
	good.Skew(3 * time.Minute)
	good.Clock = good.Provider.Now
	defer func() { good.Clock = nil }()
	err := s.try(p, good.Issuer)
	if err == nil || !strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "clock") {
		t.Errorf("ahead: %v", err)
	}
	soon(t, "the reason in the log", func() bool {
		return slices.ContainsFunc(p.lines("connection refused"), func(line map[string]any) bool {
			return strings.Contains(fmt.Sprint(line["reason"]), "issued_in_future")
		})
	})
	s.settings["issuers"] = strings.Replace(lines, "audience:", "leeway: 5m, audience:", 1)
	s.configure()
	p.signal(syscall.SIGHUP)
	soon(t, "a login within the leeway", func() bool { return s.try(p, good.Issuer) == nil })
}

// reloadsRemotes holds that a reload keeps what it can, takes what is new, and drops what is gone.
func (s *stage) reloadsRemotes(t *testing.T, p *process, good provided, goodLine string) {
	fetched := len(p.lines("the keys of an issuer are fetched"))
	third, line := s.provide("third")
	s.settings["issuers"] = goodLine + line
	s.configure()
	reloads := len(p.lines("configuration reloaded"))
	p.signal(syscall.SIGHUP)
	p.await("configuration reloaded", reloads+1)
	p.await("the keys of an issuer are fetched", fetched+1) // of the third alone
	for _, is := range []*pgtest.Issuer{good.Issuer, third.Issuer} {
		if err := s.try(p, is); err != nil {
			t.Errorf("%s: %v", is.Name, err)
		}
	}
	if got := len(p.lines("the keys of an issuer are fetched")); got != fetched+1 {
		t.Errorf("%d issuers were fetched", got-fetched)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "claimpool.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.put("claimpool.yaml", []byte(strings.Replace(string(text), "ca_file: third.ca", "ca_file: nowhere", 1)))
	p.signal(syscall.SIGHUP)
	p.await("the configuration was not reloaded: the old one stays", 1)
	if err := s.try(p, third.Issuer); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
}
