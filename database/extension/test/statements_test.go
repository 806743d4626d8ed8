package extension_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackReadStatements: the attacker reads pg_stat_statements, which is loaded before claimpool or behind it, what
// has been prepared, and what others run.
//
// Must: There are statements in plenty, and no token in any of them.
// Dialects: native
// Not sql: tokens are read in the database by the extension alone
func TestAttackReadStatements(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		path := library(t, inst.Major)
		for _, order := range []string{"pg_stat_statements," + path, path + ",pg_stat_statements"} {
			name, _, _ := strings.Cut(order, ",")
			t.Run(name[strings.LastIndex(name, "/")+1:]+" first", func(t *testing.T) { readStatements(t, startBeside(t, inst, order)) })
		}
	})
}

// startBeside starts a server of its own with these libraries.
func startBeside(t *testing.T, inst cluster.Installation, libraries string) *server {
	t.Helper()
	c, err := cluster.Start(context.Background(), cluster.Options{Installation: inst, Settings: map[string]string{
		"shared_preload_libraries": libraries,
		"pg_stat_statements.track": "all",
		"pg_stat_statements.max":   "100", // the smallest: entries are thrown out all the time
		"log_statement":            "all",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &server{Cluster: c}
	s.login(t, "postgres").mustExec(extensionScript(t, inst.Major) + `; create extension pg_stat_statements;
		create role gated login password 'gated'; alter role gated set claimpool.gate = on`)
	return s
}

func readStatements(t *testing.T, s *server) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	admin := s.login(t, "postgres")
	admin.mustExec("alter database postgres set jwt.pubkey = '" + spki(t, key) + "'")
	c, token := s.login(t, "postgres"), mint(t, key, edHeader, claims(""))
	signature := token[strings.LastIndex(token, ".")+1:]
	watch := func(name string) {
		t.Helper()
		if got := admin.one(fmt.Sprintf("select query from pg_stat_activity where pid = %d", c.pid)); strings.Contains(got, signature) {
			t.Errorf("%s: pg_stat_activity: %s", name, got)
		}
	}
	for name, sql := range map[string]string{
		"SET":            "set jwt.context = '%s'",
		"SET LOCAL":      "begin; set local jwt.context = '%s'; commit",
		"set_config":     "select set_config('jwt.context', '%s', false)",
		"DO":             "do $$ begin perform set_config('jwt.context', '%s', false); end $$",
		"DO with SET":    "do $$ begin execute 'set jwt.context = ''%s'''; end $$",
		"PREPARE":        "prepare p as select set_config('jwt.context', '%s', false)",
		"EXPLAIN":        "explain analyze select set_config('jwt.context', '%s', false)",
		"CREATE TABLE":   "create temp table t as select set_config('jwt.context', '%s', false)",
		"COPY":           "copy (select set_config('jwt.context', '%s', false)) to stdout",
		"DECLARE":        "begin; declare d cursor for select set_config('jwt.context', '%s', false); fetch d; commit",
		"several":        "select 1; select jwt_verify(null, '%s'); select 2",
		"encrypted":      "select '" + "eyJhbGciOiJFQ0RILUVTIn0..AAAA.AAAA.%s'",
		"with a proof":   "select 'x~%s'",
		"CREATE VIEW":    "create temp view v as select '%s' as x",
		"secret":         "set jwt.secret = '" + b64(make([]byte, 33)) + "'",
		"a failing one":  "select 1 / 0, '%s'",
		"no such column": "select nothing('%s')",
	} {
		if strings.Contains(sql, "%s") {
			sql = fmt.Sprintf(sql, token)
		}
		c.exec(sql)
		watch(name)
	}
	c.exec("execute p")
	c.send(&pgproto3.Parse{Name: "q", Query: "select set_config('jwt.context', '" + token + "', false)"}, &pgproto3.Bind{PreparedStatement: "q"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	c.receive()
	watch("Parse")
	if got := c.one("select string_agg(statement, '; ') from pg_prepared_statements where name = 'p'"); strings.Contains(got, signature) {
		t.Errorf("pg_prepared_statements: %s", got)
	}
	r := admin.mustExec("select query from pg_stat_statements")
	if len(r.rows) < 10 {
		t.Errorf("%d statements", len(r.rows))
	}
	for _, row := range r.rows {
		if strings.Contains(row[0], signature) || strings.Contains(row[0], "eyJ") || strings.Contains(row[0], b64(make([]byte, 33))) {
			t.Errorf("pg_stat_statements: %s", row[0])
		}
	}
	if got := s.login(t, "postgres", "jwt.context", token).one("select jwt('tenant')"); got != "t1" {
		t.Error(got)
	}
	if r := s.login(t, "gated").exec("select 1"); r.code() != "28000" {
		t.Errorf("the gate: %s", describe(r))
	}
}
