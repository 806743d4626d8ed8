package database_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// looks gives the forms in which a key could be printed: as hexadecimal digits, base64, decimal bytes of a plan's node, and the same
// for the two blocks that the database keeps.
func looks(secret string) []string {
	key, err := hex.DecodeString(secret)
	if err != nil {
		panic(err) // cannot happen: our own key
	}
	var texts []string
	for _, pad := range []byte{0, 0x36, 0x5c} {
		block := make([]byte, len(key))
		for i := range key {
			block[i] = key[i] ^ pad
		}
		var signed, unsigned strings.Builder
		for _, b := range block[:8] {
			fmt.Fprintf(&signed, "%d ", int8(b))
			fmt.Fprintf(&unsigned, "%d ", b)
		}
		texts = append(texts, hex.EncodeToString(block[:12]), strings.ToUpper(hex.EncodeToString(block[:12])),
			base64.StdEncoding.EncodeToString(block[:12]), signed.String(), unsigned.String())
	}
	return texts
}

// talkative makes the server write all that it can.
var talkative = map[string]string{
	"shared_preload_libraries": "pg_stat_statements,auto_explain", "pg_stat_statements.track": "all",
	"auto_explain.log_min_duration": "0", "auto_explain.log_nested_statements": "on", "auto_explain.log_analyze": "on",
	"auto_explain.log_verbose": "on", "auto_explain.log_settings": "on",
	"log_statement": "all", "log_min_duration_statement": "0", "log_min_messages": "debug5", "log_min_error_statement": "debug5",
	"log_error_verbosity": "verbose", "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1",
	"debug_print_parse": "on", "debug_print_rewritten": "on", "debug_print_plan": "on", "track_activity_query_size": "100kB",
}

// TestAttackFindTheKey: the attacker reads every log, view and message that he can make the server write, with the most
// talkative settings; so does the one who reads the server's log.
//
// Must: The key is in none of them, from its making on.
// Dialects: sql
// Not native: the database has no key: the proxy's public key is no secret
func TestAttackFindTheKey(t *testing.T) {
	for _, inst := range pgtest.Versions(t) {
		t.Run(inst.Version, func(t *testing.T) {
			var options []pgtest.Option
			for name, value := range talkative {
				options = append(options, pgtest.WithSetting(name, value))
			}
			c := pgtest.Start(t, inst, options...)
			p := prepare(t, c)
			c.Exec(t, p.db, "create extension pg_stat_statements; grant pg_monitor to "+p.role)
			s, seen := spy(t, p)
			provoke(s, seen)
			lookAround(s, seen)
			if !strings.Contains(seen.String(), "PLANNEDSTMT") || !strings.Contains(seen.String(), "claimpool.keys k") {
				t.Fatal("the talkative settings did not talk: this test looks in the wrong place")
			}
			second := secondKey(t, c, p.db)
			log, err := c.Log()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(log), "add_key") || !strings.Contains(string(log), "Query Text: SELECT k.inside") {
				t.Fatal("the log does not tell what it should: this test looks in the wrong place")
			}
			for _, text := range append(looks(p.secret), looks(second)...) {
				if strings.Contains(seen.String(), text) {
					t.Errorf("the attacker sees the key as %q", text)
				}
				if i := strings.Index(string(log), text); i >= 0 {
					t.Errorf("the server's log has the key as %q: %.400s", text, log[max(0, i-300):])
				}
			}
		})
	}
}

// spy is a client who sees every message of the server's, down to debug5. What he sees is collected.
func spy(t *testing.T, p *prepared) (*session, *strings.Builder) {
	t.Helper()
	cfg, err := pgx.ParseConfig(p.DSN(p.db, p.role, p.password))
	if err != nil {
		t.Fatal(err)
	}
	seen := &strings.Builder{}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		fmt.Fprintln(seen, n.Message, n.Detail, n.Hint, n.Where, n.InternalQuery)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	cfg.RuntimeParams[trusted.SQLSetting] = ""
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	s := &session{t: t, Conn: conn, key: p.key}
	for _, setting := range []string{"client_min_messages = debug5", "debug_print_parse = on", "debug_print_rewritten = on", "debug_print_plan = on"} {
		s.exec("set " + setting)
	}
	g, err := trusted.ParseSQLGreeting(s.value(trusted.SQLGreeting))
	if err != nil {
		t.Fatal(err)
	}
	s.binding, s.now = g.Binding, func() time.Time { return g.Clock }
	return s, seen
}

// provoke reads claims with every kind of plan, and makes every kind of error.
func provoke(s *session, seen *strings.Builder) {
	s.t.Helper()
	seal := s.sealAt(`{"sub":"mallory"}`, 0, time.Hour)
	for _, mode := range []string{"auto", "force_custom_plan", "force_generic_plan"} {
		s.exec("set plan_cache_mode = " + mode)
		s.set(seal)
		for range 7 { // a generic plan may come after the fifth
			s.want("select jwt('sub')", "mallory")
		}
		s.want("select jwt_required('none')", invalid)
		s.set(seal[1:]).want("select jwt('sub')", invalid)
		s.set(seal)
		fmt.Fprintln(seen, s.ask("do $$begin perform jwt('sub'); raise 'x'; end$$"))
	}
}

// lookAround reads every view that might tell something.
func lookAround(s *session, seen *strings.Builder) {
	s.t.Helper()
	for _, sql := range []string{
		"explain (analyze, verbose, settings) select jwt('sub')",
		"select pg_get_functiondef('claimpool.jwt()'::regprocedure)", "select prosrc from pg_proc",
		"select * from pg_stat_activity", "select * from pg_stat_statements", "select * from pg_settings", "select * from pg_stats",
		"select * from pg_db_role_setting", "select * from pg_file_settings", "select * from pg_prepared_statements",
		"select * from pg_description", "select * from pg_backend_memory_contexts",
	} {
		results, err := s.PgConn().Exec(s.t.Context(), sql).ReadAll()
		if err != nil {
			fmt.Fprintln(seen, err)
		}
		for _, r := range results {
			for _, row := range r.Rows {
				fmt.Fprintf(seen, "%s\n", row)
			}
		}
	}
}

// secondKey makes a key in a session with talkative settings.
func secondKey(t *testing.T, c *pgtest.Cluster, db string) string {
	t.Helper()
	conn := c.Connect(t, db, cluster.Superuser, "")
	var secret string
	if err := conn.QueryRow(t.Context(), "select claimpool.add_key($1)", "k2").Scan(&secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestAttackReadAnotherHandover: the attacker reads the log and pg_stat_activity while others are handed over.
//
// Must: Nothing of a hand-over stands there: a fastpath call has no text.
// Dialects: sql
// Not native: TestAttackReadLog and TestAttackReadSecrets are about it there
func TestAttackReadAnotherHandover(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t), pgtest.WithSetting("log_statement", "all"), pgtest.WithSetting("log_min_duration_statement", "0"),
		pgtest.WithSetting("log_min_messages", "debug5"))
	p := prepare(t, c)
	p.Exec(t, p.db, "grant pg_monitor to "+p.role)
	victim := fastpath(t, p, `{"sub":"the-victims-claim"}`)
	other := p.login(t)
	if got := other.value("select string_agg(query, ' ') from pg_stat_activity where pid <> pg_backend_pid()"); strings.Contains(got, "the-victims-claim") {
		t.Errorf("pg_stat_activity shows %q", got)
	}
	exchange(t, victim, queryMessage("select jwt('sub')"))
	if there := c.LogHas(t, "the-victims-claim"); there != nil {
		t.Error("the log shows the claims")
	}
	if c.LogHas(t, "fastpath function call") == nil {
		t.Error("the log shows no call: this test looks in the wrong place")
	}
}
