package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
)

// jitPsql runs a statement with libpq's psql and options=--jit=true, as Supavisor's users do.
func (s *stage) jitPsql(p *process, password, options string) (string, error) {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(p.address())
	program := filepath.Join(s.cluster.Installation.BinDir, "psql")
	if _, err := os.Stat(program); err != nil {
		program = "psql"
	}
	cmd := exec.CommandContext(s.t.Context(), program, "-XAtw", "-c", "select jwt('sub')",
		fmt.Sprintf("host=localhost hostaddr=127.0.0.1 port=%s dbname=app user=%s sslmode=require", port, s.role))
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGOPTIONS="+options)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Just-in-time access through the program itself: psql, an API, a database that sees who it is.
func TestServeJIT(t *testing.T) {
	s, api := newStage(t), pgtest.StartJITAPI(t)
	const token = "sbp_0123456789012345678901234567890123456789"
	api.Answer(token, pgtest.JITGrant(s.role))
	s.settings["database"] = "    jit: {api_url: \"" + api.URL + "?key=sbp_of_the_proxy\", timeout: 30s}\n"
	s.settings["more"] = "users_file: users"
	s.put("users", fmt.Appendf(nil, "%q \"correct\"\n", s.role))
	s.settings["rules"] = fmt.Sprintf("  - {method: scram-sha-256, users: %s, addresses: 127.0.0.1}\n", s.role)
	p := s.serve()
	if out, err := s.jitPsql(p, token, "--jit=true"); err != nil || out != pgtest.JITUser {
		t.Errorf("%q %v", out, err)
	}
	if out, err := s.jitPsql(p, "correct", "-c jit=off"); err != nil || out != "" {
		t.Errorf("with a password: %q %v", out, err)
	}
	q := api.Asked()
	if len(q) != 1 || q[0].Body != fmt.Sprintf(`{"rhost":"127.0.0.1","role":%q}`, s.role) || q[0].Token != token {
		t.Fatalf("the API was asked: %+v", q)
	}
	for _, wrong := range []struct{ token, want, code, reason string }{
		{pgtest.JITOther, "password authentication failed for user", "28P01", "does not accept"},
		{pgtest.JITForbidden, "password authentication failed for user", "28P01", "403"},
		{pgtest.JITOutage, "(EJITREQUESTFAILED) failed to reach JIT provider for user", "XX000", "503"},
		{token, "password authentication failed for user", "28P01", "401"},
	} {
		if wrong.token == token {
			api.Answer(token, pgtest.JITAnswer{}) // revoked
		}
		n := len(p.lines("connection refused"))
		if out, err := s.jitPsql(p, wrong.token, "--jit=true"); err == nil || !strings.Contains(out, wrong.want) {
			t.Errorf("%q %v", out, err)
		}
		if line := p.await("connection refused", n+1); line["sqlstate"] != wrong.code || !strings.Contains(fmt.Sprint(line["reason"]), wrong.reason) {
			t.Errorf("logged: %v", line)
		}
	}
	if line := p.await("connection authenticated", 1); line["method"] != "jit" || line["identity"] != pgtest.JITUser+"@"+api.URL {
		t.Errorf("logged: %v", line)
	}
	for _, line := range p.all() {
		if strings.Contains(line, "sbp_") {
			t.Errorf("a token, or the API's key, is in the log: %s", line)
		}
	}
	p.signal(syscall.SIGHUP)
	api.Answer(token, pgtest.JITGrant(s.role))
	if out, err := s.jitPsql(p, token, "--jit=true"); err != nil || out != pgtest.JITUser {
		t.Errorf("after a reload: %q %v", out, err)
	}
	p.signal(syscall.SIGTERM)
	p.exits()
}

// all gives the whole log.
func (p *process) all() (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		list = append(list, fmt.Sprint(line))
	}
	return list
}
