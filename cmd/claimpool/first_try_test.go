package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/pgtest"
)

// parseServe makes a serveCommand of flags, as the command line would.
func parseServe(t *testing.T, args ...string) (*config.Config, map[string]string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{"jwks": []byte("x"), "tc.key": []byte("x"), "ca.pem": pgtest.NewCA(t).PEM} {
		pgtest.WriteFile(t, dir, name, data)
	}
	t.Chdir(dir)
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGSERVICE", "CLAIMPOOL_DSN"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	t.Setenv("PGPASSFILE", filepath.Join(dir, "none"))
	variables := map[string]string{}
	env := &environment{ctx: context.Background(), out: &bytes.Buffer{}, err: &bytes.Buffer{}, now: time.Now,
		setVariable: func(name, value string) error { variables[name] = value; return nil }}
	t.Setenv(passwordVariable, "")
	c := &commands{}
	if _, err := parser(c, env).Parse(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.Serve.configuration(env)
	return cfg, variables, err
}

var tryFlags = []string{"--jwks", "jwks", "--issuer", "https://id", "--audience", "pg"}

func TestFirstTryMakesAWholeConfiguration(t *testing.T) {
	cfg, variables, err := parseServe(t, append(tryFlags, "--dsn", "postgres://app_user:hunter2@db.example.com:5433/shop?sslmode=verify-full&sslrootcert=ca.pem&search_path=shop",
		"--listen", "127.0.0.1:7000", "--listen", "unix:/tmp/s", "--context-key", "tc.key", "--pool-size", "5", "--pool-mode", "session")...)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Listen = []config.Listener{{Address: "127.0.0.1:7000"}, {Address: "unix:/tmp/s"}}
	want.Issuers["first try"] = config.Issuer{
		Issuer: "https://id", Audience: []string{"pg"}, Keys: []config.KeyFile{{File: "jwks"}},
		Role:  config.RoleRule{From: "fixed", Value: "app_user"},
		Fetch: want.NewIssuer().Fetch, Introspection: want.NewIssuer().Introspection,
	}
	rule := want.NewRule()
	rule.Name, rule.Method, rule.TLS = "first try", "jwt", "any"
	want.Rules = []config.Rule{rule}
	want.Pool.Size, want.Pool.Mode = 5, "session"
	db := want.NewDatabase()
	db.Hosts, db.DBName, db.Role = []string{"db.example.com:5433"}, "shop", "app_user"
	db.TLS = config.ServerTLS{Mode: "verify-full", CAFile: "ca.pem"}
	db.Password = config.Secret{Env: passwordVariable}
	db.Context.Dialect, db.Context.KeyFile = "sql", "tc.key"
	db.Parameters = map[string]string{"search_path": "shop"}
	want.Databases["shop"] = db
	want.Complete()
	if a, b := config.Diff(want, cfg); len(a)+len(b) > 0 {
		t.Errorf("differs in %v %v", a, b)
	}
	if d := cmp.Diff(map[string]string{passwordVariable: "hunter2"}, variables); d != "" {
		t.Error(d)
	}
}

func TestFirstTryTranslatesDSNs(t *testing.T) {
	for _, tc := range []struct {
		name, dsn      string
		hosts          string
		database, role string
		mode           string
		password       bool
	}{
		{"a URL", "postgres://u@db/app", "db:5432", "app", "u", "auto", false},
		{"keywords", "host=db port=5433 user=u password=p dbname=app sslmode=require", "db:5433", "app", "u", "require", true},
		{"quoted keywords", "host='db' user = 'u' sslmode = 'disable'", "db:5432", "u", "u", "disable", false},
		{"no database is the user's", "postgres://u@db", "db:5432", "u", "u", "auto", false},
		{"several hosts", "postgres://u@a:1,b:2/app?sslmode=prefer", "a:1 b:2", "app", "u", "prefer", false},
		{"a socket folder", "host=/run/postgresql user=u dbname=app", "/run/postgresql:5432", "app", "u", "auto", false},
		{"IPv6", "postgres://u@[::1]:5433/app", "[::1]:5433", "app", "u", "auto", false},
		{"allow is not less than prefer", "postgres://u@db/app?sslmode=allow", "db:5432", "app", "u", "prefer", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, variables, err := parseServe(t, append(tryFlags, "--dsn", tc.dsn)...)
			if err != nil {
				t.Fatal(err)
			}
			db, ok := cfg.Databases[tc.database]
			if !ok {
				t.Fatalf("databases: %v", cfg.Databases)
			}
			if got := strings.Join(db.Hosts, " "); got != tc.hosts {
				t.Errorf("hosts %s", got)
			}
			if db.Role != tc.role || db.TLS.Mode != tc.mode || len(variables) == 1 != tc.password || db.Password.Empty() == tc.password {
				t.Errorf("%+v %v", db, variables)
			}
		})
	}
}

func TestFirstTryFetchesKeys(t *testing.T) {
	dsn := []string{"--dsn", "postgres://u@db/app", "--audience", "pg", "--issuer", "https://id"}
	for _, tc := range []struct {
		args            []string
		discovery, jwks string
		want            string
	}{
		{[]string{"--jwks", "https://id/jwks", "--alg", "RS256"}, "", "https://id/jwks", ""},
		{[]string{"--discover"}, "https://id", "", ""},
		{[]string{"--jwks", "http://id/jwks"}, "", "", "jwks_url: must begin with https://"},
		{[]string{"--jwks", "https://id/jwks", "--jwks", "jwks"}, "", "", "give one of them"},
		{[]string{"--jwks", "jwks", "--jwks", "https://id/jwks"}, "", "", "give one of them"},
		{[]string{"--jwks", "https://id/jwks", "--discover"}, "", "", "give one of them"},
		{[]string{"--key", "jwks", "--discover"}, "", "", "give one of them"},
	} {
		cfg, _, err := parseServe(t, append(dsn, tc.args...)...)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: got %v, want %s", tc.args, err, tc.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tc.args, err)
			continue
		}
		if is := cfg.Issuers["first try"]; is.Discovery != tc.discovery || is.JWKSURL != tc.jwks || len(is.Keys) != 0 {
			t.Errorf("%v: %+v", tc.args, is)
		}
	}
}

func TestFirstTryRefuses(t *testing.T) {
	dsn := []string{"--dsn", "postgres://u@db/app"}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"the network without TLS", append(dsn, "--listen", "0.0.0.0:6432"), "on 0.0.0.0:6432 tokens would cross the network in the clear"},
		{"all interfaces without TLS", append(dsn, "--listen", ":6432"), "on :6432 tokens would cross"},
		{"a certificate that is not there", append(dsn, "--tls-cert", "no", "--tls-key", "no"), "there is no file no"},
		{"a certificate without its key", append(dsn, "--tls-cert", "jwks"), "key_file: is missing"},
		{"a key file that is not there", append(dsn, "--context-key", "no"), "there is no file no"},
		{"a negative size", append(dsn, "--pool-size=-1"), "--pool-size must be at least 1"},
		{"a DSN that is none", []string{"--dsn", "postgres://u@db:x/app"}, "--dsn: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := parseServe(t, append(tc.args, tryFlags...)...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || statusOf(err) != statusUsage {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
