package proxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestAttackErrorsOfWorkers: a parallel worker takes over the settings of its leader, and says in its errors what it was doing.
// The attacker makes workers fail, at their most talkative, and reads all that they say; so does whoever reads the server's log.
//
// Must: Neither the token nor a seal stands there, and the failure is the query's own.
// Dialects: sql, native
// Not pgbouncer: it has no secret of ours
func TestAttackErrorsOfWorkers(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		admin := f.admin(t)
		for _, s := range []string{"log_min_messages = debug5", "log_error_verbosity = verbose", "log_statement = 'all'"} {
			run(t, admin, fmt.Sprintf("ALTER ROLE %s SET %s", f.role, s))
		}
		run(t, admin, "ALTER TABLE note SET (parallel_workers = 2); GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
		run(t, admin, `CREATE FUNCTION fail(int, text) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS $$
			BEGIN RAISE NOTICE 'worker %', $2; RETURN 1 / ($1 % 50 - 1); END $$`)
		const classified = "classified-4712-"
		token := f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t1", "clearance": classified})
		cfg, err := pgx.ParseConfig(f.DSN(f.database, f.role, token, "require"))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said = append(said, fmt.Sprintf("%+v", *n)) }
		a, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close(t.Context())
		secrets := []string{classified, strings.Split(token, ".")[1], strings.Split(token, ".")[2]}
		workers := false
		for range 5 {
			// In one transaction: the seal of the SQL dialect is another one in the next.
			batch := "BEGIN; SET LOCAL client_min_messages = debug5; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_setup_cost = 0;" +
				"SET LOCAL parallel_tuple_cost = 0; SET LOCAL parallel_leader_participation = off;"
			if f.dialect == sql {
				secrets = append(secrets, value(t, a, "SELECT left(current_setting('claimpool.context'), 64)"))
			}
			_, err := a.PgConn().Exec(t.Context(), batch+"SELECT sum(fail(id, body)) FROM note").ReadAll()
			var e *pgconn.PgError
			if !errors.As(err, &e) || e.Code != "22012" {
				t.Fatalf("the workers' error: %v", err)
			}
			text := fmt.Sprintf("%+v", *e)
			workers = workers || strings.Contains(text, "parallel worker")
			said = append(said, text)
			run(t, a, "ROLLBACK")
		}
		if !workers {
			t.Errorf("no worker has failed: %q", said[max(0, len(said)-1):])
		}
		log, err := f.cluster.Log()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(said, string(log), f.Log.String()) {
			for _, secret := range secrets {
				if at := strings.Index(text, secret); at >= 0 {
					t.Errorf("%q stands in %q", secret[:12], text[max(0, at-200):at+12])
				}
			}
		}
		mustBe(t, a, "t1")
	})
}
