package proxy_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// speedOnly matches the settings that change how fast PostgreSQL is, or what it writes in its log, but neither answers nor
// rights nor what others see. The last line is not as harmless: what these should be only the administrator knows; he can
// pin them with databases.NAME.parameters.
var speedOnly = regexp.MustCompile(`^(enable_|jit|geqo|vacuum_|cpu_|parallel_|max_parallel_|min_parallel_|tcp_|trace_|io_|file_|effective_` +
	`|debug_(pretty_print|parallel_query)$|force_parallel_mode$|(seq|random)_page_cost$|.*_collapse_limit$|.*work_mem$|temp_buffers$` +
	`|hash_mem_multiplier$|maintenance_io_concurrency$|gin_pending_list_limit$|backend_flush_after$|recursive_worktable_factor$` +
	`|default_statistics_target$|cursor_tuple_fraction$|plan_cache_mode$|constraint_exclusion$|commit_siblings$|wal_skip_threshold$` +
	`|wal_sender_timeout$|stats_fetch_consistency$|synchronize_seqscans$|default_toast_compression$|client_connection_check_interval$` +
	`|password_encryption$|log_parameter_max_length_on_error$|createrole_self_grant$|debug_logical_replication_streaming$|logical_replication_mode$|icu_validation_level$|md5_password_warnings$|scram_iterations$` +
	`|synchronous_commit$|default_text_search_config$|lc_(monetary|numeric|time)$|restrict_nonsystem_relation_kind$)`)

// poisons lists every setting that the attacker may give his role for all later connections, with a value that it does not
// have.
func poisons(t *testing.T, admin *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := admin.Query(t.Context(), `SELECT name, coalesce(CASE
			WHEN vartype = 'bool' THEN CASE setting WHEN 'on' THEN 'off' ELSE 'on' END
			WHEN vartype = 'enum' THEN (SELECT e FROM unnest(enumvals) e WHERE e <> setting LIMIT 1)
			WHEN vartype = 'string' THEN 'C'
			ELSE CASE WHEN min_val IN (setting, '0') THEN '1' WHEN min_val = '-1' THEN '7' ELSE min_val END END, 'no such value')
		FROM pg_settings WHERE context IN ('user', 'backend', 'superuser-backend')`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Value string }])
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{
		"role": "pg_monitor", "session_authorization": "postgres", "claimpool.context": "planted", "my.setting": "planted",
	}
	for _, s := range list {
		m[s.Name] = s.Value
	}
	for name, v := range map[string]string{
		"client_encoding": "LATIN1", "DateStyle": "German, DMY", "TimeZone": "Asia/Tokyo", "timezone_abbreviations": "India",
		"search_path": "pg_temp, evil", "local_preload_libraries": "no_such_library", "default_text_search_config": "simple",
		"restrict_nonsystem_relation_kind": "view, foreign-table", "temp_tablespaces": "pg_global", "default_table_access_method": "no_such",
	} {
		if _, ok := m[name]; ok {
			m[name] = v
		}
	}
	// A parallel worker begins with the role's settings, whatever its leader has pinned: with a transaction_timeout of 1 ms it
	// may not live to be told the leader's. That ends queries of others, and nothing but the administrator's ALTER ROLE …
	// RESET ALL helps. TestAttackPoisonedTimeouts has the rest.
	delete(m, "transaction_timeout")
	return m
}

// settings are what a connection has, for itself.
func settings(t *testing.T, c *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := c.Query(t.Context(), `SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'transaction\_%' OR name = 'transaction_timeout'
		UNION ALL SELECT 'current_user', current_user::text UNION ALL SELECT 'claimpool.context', left(coalesce(current_setting('claimpool.context', true), ''), 0)
		UNION ALL SELECT 'my.setting', coalesce(current_setting('my.setting', true), '')`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Value string }])
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, s := range list {
		m[s.Name] = s.Value
	}
	return m
}

// TestAttackPoisonTheRole: the attacker may run ALTER ROLE CURRENT_USER SET, and every later connection of the shared role
// begins with what he wrote: a search_path, a time limit of 1 ms, a library to load, a context.
//
// Must: New server connections must come up all the same, for a proxy that has been running and for one that has just been
// started, and a neighbour's must have none of it but what changes speed alone.
// Dialects: sql, native, pgbouncer
func TestAttackPoisonTheRole(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		admin := f.admin(t)
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		want, old := settings(t, b), backend(t, b)
		taken := 0
		for name, v := range poisons(t, admin) {
			switch c := code(t, a, fmt.Sprintf("ALTER ROLE CURRENT_USER SET %s = '%s'", name, v)); c {
			case "00000":
				taken++
			case "0A000", "22023", "25001", "42501", "42602", "42704", "55000", "55P02":
			default:
				t.Errorf("ALTER ROLE … SET %s answered %s", name, c)
			}
		}
		if taken < 50 {
			t.Fatalf("only %d settings were taken", taken)
		}
		if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", f.role); err != nil {
			t.Fatal(err)
		}
		soon(t, "for the old server connection to end", func() bool { return !slices.Contains(f.servers(t, admin), old+" idle") })
		f.compare(t, b, want)
		mustBe(t, b, "t2")

		second := f.again(t) // a proxy that does not know the server's version yet
		c := second.connect(t, "t3")
		f.compare(t, c, want)
		mustBe(t, c, "t3")
	})
}

// compare reports the settings that the attacker has got through.
func (f *tenants) compare(t *testing.T, c *pgx.Conn, want map[string]string) {
	t.Helper()
	var bad []string
	for name, v := range settings(t, c) {
		if v != want[name] && !speedOnly.MatchString(name) {
			bad = append(bad, fmt.Sprintf("%s = %q, not %q", name, v, want[name]))
		}
	}
	slices.Sort(bad)
	if len(bad) > 0 {
		t.Errorf("poisoned: %s", strings.Join(bad, "; "))
	}
}

// TestAttackPoisonedTimeouts: the attacker gives the role a time limit of 1 ms for everything, so that no new server
// connection lives long enough to serve anybody.
//
// Must: New server connections come up and serve others, for a proxy that knows nothing yet.
// Dialects: sql, native, pgbouncer
func TestAttackPoisonedTimeouts(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		admin := f.admin(t)
		a := f.connect(t, "t1")
		for _, name := range []string{"statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"} {
			if c := code(t, a, "ALTER ROLE CURRENT_USER SET "+name+" = '1ms'"); c != "00000" && !(name == "transaction_timeout" && c == "42704") {
				t.Fatalf("%s: %s", name, c)
			}
		}
		a.Close(context.Background())
		for range 3 { // each a proxy that knows nothing yet
			p := f.again(t)
			c := p.connect(t, "t2")
			run(t, c, "SELECT pg_sleep(0.05)")
			mustBe(t, c, "t2")
			c.Close(context.Background())
		}
		if got := value(t, admin, "SELECT count(*)::text FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE rolname = $1", f.role); got != "1" {
			t.Errorf("the role has %s rows of settings", got)
		}
	})
}
