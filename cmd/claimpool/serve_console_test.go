package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
)

// withConsole gives the stage a console, for ann and bob by their tokens, for ops with a password, and a user without rights.
func (s *stage) withConsole() {
	s.t.Helper()
	s.put("users.txt", []byte("\"ops\" \"swordfish\"\n\"guest\" \"guest\"\n"))
	s.settings["rules"] = "  - {method: scram-sha-256, users: [ops, guest, ann], tls: any}\n"
	s.settings["more"] += `users_file: users.txt
console:
  database: claimpool
  admins: [ops, {subject: ann, issuer: test}]
  readers: {subject: bob, issuer: test}
audit: {to: file, file: audit.log}
`
}

// steer connects to the console.
func (s *stage) steer(p *process, user, password string, mode pgx.QueryExecMode) (*pgx.Conn, error) {
	_, port, _ := net.SplitHostPort(p.address())
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%s dbname=claimpool user=%s password='%s' sslmode=require", port, user, password))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = mode
	c, err := pgx.ConnectConfig(s.t.Context(), cfg)
	if err == nil {
		s.t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// psql runs commands in the console.
func (s *stage) psql(p *process, user, password string, args ...string) (string, error) {
	path, _ := pgtest.Tool(s.t, "psql")
	_, port, _ := net.SplitHostPort(p.address())
	cmd := exec.CommandContext(s.t.Context(), path, append([]string{"-X", "-h", "127.0.0.1", "-p", port, "-U", user, "-d", "claimpool", "-v", "ON_ERROR_STOP=1"}, args...)...)
	cmd.Env = []string{"PGPASSWORD=" + password, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestServeConsole: psql and pgx, in each of its modes, see the pools and sign somebody out.
func TestServeConsole(t *testing.T) {
	s := newStage(t)
	s.withRevocations()
	s.withConsole()
	p := s.serve()
	victim := s.login(p, "t1")
	if s.one(victim, "SELECT 'in'") != "in" {
		t.Fatal("not in")
	}
	out, err := s.psql(p, "ops", "swordfish", "-c", "SHOW VERSION", "-c", "SHOW POOLS", "-c", "SHOW HELP;")
	for _, part := range []string{"claimpool development", "app      |        | " + s.role + " | transaction |", "(1 row)", "REVOKE SUB 'sub'"} {
		if err != nil || !strings.Contains(out, part) {
			t.Errorf("no %q in (%v)\n%s", part, err, out)
		}
	}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeCacheStatement,
	} {
		c, err := s.steer(p, s.role, s.issuer.Mint("bob", nil), mode)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var database string
			var size int64
			rows, _ := c.Query(t.Context(), "SHOW POOLS")
			pools, err := pgx.CollectRows(rows, pgx.RowToMap)
			if len(pools) == 1 {
				database, _ = pools[0]["database"].(string)
				size, _ = pools[0]["size"].(int64)
			}
			if err != nil || database != "app" || size != 2 {
				t.Errorf("%v: %v %v", mode, pools, err)
			}
		}
	}
	out, err = s.psql(p, "ops", "swordfish", "-At", "-c", "SHOW CLIENTS", "-c", "SHOW SERVERS", "-c", "SHOW DATABASES", "-c", "SHOW CONFIG", "-c", "SHOW STATS", "-c", "SHOW LOGINS")
	for _, part := range []string{
		"|app||" + s.role + "|someone@https://issuer.test|jwt|idle|", "|claimpool||ops|ops|scram-sha-256|console|", "|" + s.cluster.Address() + "|app||" + s.role + "|idle|f||",
		"app|" + s.cluster.Address() + "|" + s.database + "|" + s.role + "|transaction|2|0|sql|any", "databases.app.pool.size|2|t", "loops|0|f", "databases.app.password|file|t",
		"app||" + s.role + "|1|", "\njwt|6|0|0|",
	} {
		if err != nil || !strings.Contains(out, part) {
			t.Errorf("no %q in (%v)\n%s", part, err, out)
		}
	}
	c, err := s.steer(p, s.role, s.issuer.Mint("ann", nil), pgx.QueryExecModeCacheStatement)
	if err != nil {
		t.Fatal(err)
	}
	var kind, hash string
	if err := c.QueryRow(t.Context(), "REVOKE SUB $1 ISSUER $2 REASON 'it''s a test'", "someone", "https://issuer.test").Scan(&kind, &hash); err != nil || kind != "subject" || len(hash) != 64 {
		t.Errorf("%s %s %v", kind, hash, err)
	}
	p.await("connection ended", 1)
	if _, err := victim.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("still served")
	}
	out, err = s.psql(p, "ops", "swordfish", "-At", "-c", "SHOW REVOCATIONS", "-c", "RELOAD")
	if err != nil || !strings.Contains(out, "|https://issuer.test|someone|") || !strings.Contains(out, "it's a test") || !strings.HasSuffix(out, "RELOAD\n") {
		t.Errorf("%v %s", err, out)
	}
	p.await("configuration reloaded", 1)
	for name, login := range map[string][2]string{
		"a stranger": {"guest", "guest"}, "another token": {s.role, s.issuer.Mint("eve", nil)}, "nobody's proof": {"nobody", ""},
	} {
		if _, err := s.steer(p, login[0], login[1], pgx.QueryExecModeExec); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever logs in by OAUTHBEARER has the rights that his token's subject has.
func TestServeConsoleOAuth(t *testing.T) {
	s := newStage(t)
	s.withConsole()
	s.settings["rules"] = "  - {method: oauth, databases: [claimpool], issuers: [test], scope: openid, tls: any}\n"
	p := s.serve()
	_, port, _ := net.SplitHostPort(p.address())
	dsn := fmt.Sprintf("host=127.0.0.1 port=%s dbname=claimpool user=%s sslmode=require", port, s.role)
	steer := func(subject, sql string) (answer string, err error) {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.OAuthTokenProvider = func(context.Context) (string, error) { return s.issuer.Mint(subject, nil), nil }
		c, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			return "", err
		}
		defer c.Close(context.Background())
		tag, err := c.Exec(t.Context(), sql)
		return tag.String(), err
	}
	for _, test := range []struct{ subject, sql, want, code string }{
		{"ann", "RELOAD", "RELOAD", ""}, {"bob", "SHOW VERSION", "SHOW", ""}, {"bob", "RELOAD", "", "42501"}, {"eve", "SHOW VERSION", "", "42501"},
	} {
		got, err := steer(test.subject, test.sql)
		if got != test.want || (err != nil) != (test.code != "") || err != nil && !strings.Contains(err.Error(), test.code) {
			t.Errorf("%s, %s: %q, %v", test.subject, test.sql, got, err)
		}
	}
}
