package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
)

// startNative is startTenants with the extension in place of the SQL dialect.
func startNative(t *testing.T, inst cluster.Installation, change func(*pgtest.ProxyOptions)) *tenants {
	t.Helper()
	return nativeOn(t, pgtest.SharedNative(t, inst), change)
}

// nativeOn is startNative on a cluster that the test may break.
func nativeOn(t *testing.T, n *pgtest.Native, change func(*pgtest.ProxyOptions)) *tenants {
	t.Helper()
	f := &tenants{dialect: native, cluster: n.Cluster, issuer: pgtest.NewIssuer(t, "https://issuer.test")}
	f.database = n.NewDatabaseLike(t, "tenants", func(model string) {
		n.Install(t, model)
		n.Exec(t, model, notes)
	})
	f.role, f.password = n.NewRole(t)
	n.Exec(t, f.database, fmt.Sprintf(`GRANT SELECT, INSERT, UPDATE, DELETE ON note TO %[1]s;
		ALTER ROLE %[1]s SET claimpool.gate = on;`, pgx.Identifier{f.role}.Sanitize()))
	o := pgtest.ProxyOptions{
		Cluster: n.Cluster, Database: f.database, Role: f.role, Password: f.password,
		Dialect: &trusted.Native{Key: n.Key},
		Rules:   []auth.Rule{pgtest.JWTRule(t, f.role, f.issuer)},
	}
	if change != nil {
		change(&o)
	}
	f.options = o
	f.Proxy = pgtest.StartProxy(t, o)
	return f
}

func TestNativeTenantsShareServers(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = 3
		})
		var wg sync.WaitGroup
		errs := make(chan error, 50)
		pids := sync.Map{}
		for i := range 20 {
			tenant := fmt.Sprintf("t%d", i)
			c := f.connect(t, tenant)
			wg.Go(func() { errs <- checkOwnRows(t.Context(), c, tenant, 100, &pids) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// TestNativeSurvivesErrors: a failed transaction takes the context away; the next one must find it again, in a pipeline too.
func TestNativeSurvivesErrors(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
			f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
				o.Pool = pgtest.DefaultPool()
				o.Pool.Size, o.Pool.Mode = 1, mode
			})
			c := f.connect(t, "t7")
			for range 3 {
				if _, err := c.Exec(t.Context(), "SELECT 1/0"); err == nil {
					t.Fatal("divided by zero")
				}
				if got := value(t, c, "SELECT count(*) FROM note"); got != "10" {
					t.Errorf("%s: saw %s rows after an error", mode, got)
				}
			}
			tx, err := c.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			inner, err := tx.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := inner.Exec(t.Context(), "SELECT 1/0"); err == nil {
				t.Fatal("divided by zero")
			}
			if err := inner.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			var rows int
			if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM note").Scan(&rows); err != nil || rows != 10 {
				t.Errorf("%s: %d rows behind a savepoint, %v", mode, rows, err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			batches := c.PgConn().StartPipeline(context.Background())
			for _, sql := range []string{"SELECT 1/0", "SELECT count(*)::text FROM note", "SELECT 2/0", "SELECT count(*)::text FROM note"} {
				batches.SendQueryParams(sql, nil, nil, nil, nil)
				if err := batches.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			for {
				result, err := batches.GetResults()
				if err != nil {
					got += "error "
					continue
				}
				if result == nil {
					break
				}
				got += pipelineResult(result)
			}
			if err := batches.Close(); err != nil {
				t.Fatal(err)
			}
			if want := "error sync 10 sync error sync 10 sync "; got != want {
				t.Errorf("%s: pipeline gave %q, want %q", mode, got, want)
			}
		}
	})
}

// pipelineResult is one word for what a pipeline gave.
func pipelineResult(result any) string {
	switch r := result.(type) {
	case *pgconn.ResultReader:
		read := r.Read()
		if read.Err != nil {
			return "error "
		}
		return string(read.Rows[0][0]) + " "
	case *pgconn.PipelineSync:
		return "sync "
	}
	return "? "
}

// TestNativeRunsEveryRequestOnce: the request that follows a hand-over in the same write must not run again behind it, even
// when a neighbour cancels hand-overs so that requests are tried again on another server.
func TestNativeRunsEveryRequestOnce(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = 1
		})
		f.cluster.Exec(t, f.database, "CREATE TABLE done (who text, n int); GRANT ALL ON done TO PUBLIC")
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		for n := range 100 {
			for _, c := range []*pgx.Conn{a, b} {
				if _, err := c.Exec(t.Context(), "INSERT INTO done VALUES (jwt('tenant_id'), $1)", n); err != nil {
					t.Fatal(err)
				}
			}
		}
		admin := f.cluster.Connect(t, f.database, "postgres", "")
		got := value(t, admin, "SELECT string_agg(w, ' ' ORDER BY w) FROM (SELECT who || ':' || count(*) || ':' || count(DISTINCT n) w FROM done GROUP BY who) x")
		if got != "t1:100:100 t2:100:100" {
			t.Errorf("inserted %s", got)
		}
	})
}

// TestAttackCancelHandOvers: whoever can make a hand-over fail hopes that the request behind it, which writes to a table without
// policies, runs under the context of the identity before, or under none, or twice; in the native dialect it follows the hand-over
// in the same write. The attacker cancels what the pool's connections do, without end.
//
// Must: A request may fail with 57014 or 57P03, and then has not run; all others have run once, under their own identity.
// Dialects: sql, native
// Not pgbouncer: it has no hand-overs
func TestAttackCancelHandOvers(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		stop := f.cancelAll(t)
		var work sync.WaitGroup
		turns := pgtest.Leases(t, 900) / 3
		ran, hits := map[string]int{}, 0
		var mu sync.Mutex
		for i := range 3 {
			tenant := fmt.Sprintf("t%d", i)
			c := f.connect(t, tenant)
			work.Go(func() {
				for n := range turns {
					mode := pgx.QueryExecModeExec
					if n%2 == 0 {
						mode = pgx.QueryExecModeCacheStatement // prepared, on whatever server there is
					}
					_, err := c.Exec(t.Context(), "INSERT INTO done VALUES (jwt('tenant_id'), $1, $2)", mode, tenant, n)
					mu.Lock()
					switch {
					case err == nil:
						ran[tenant]++
					case strings.Contains("57014 57P03", sqlState(err)):
						hits++
					default:
						t.Errorf("%s: %v", tenant, err)
					}
					mu.Unlock()
				}
			})
		}
		work.Wait()
		admin := stop()
		for tenant, n := range ran {
			got := value(t, admin, "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || bool_and(who = mine) FROM done WHERE mine = '"+tenant+"'")
			if want := fmt.Sprintf("%d %d true", n, n); got != want {
				t.Errorf("%s: %s, want %s", tenant, got, want)
			}
		}
		t.Logf("%d requests, %d refused, %d hand-overs failed", 3*turns, hits, strings.Count(f.Log.String(), "reason=handover_failed"))
	})
}

// cancelAll makes the table done, and cancels what the pool's connections do, without end, until it is stopped. It gives a
// connection to look at what was done.
func (f *tenants) cancelAll(t *testing.T) (stop func() *pgx.Conn) {
	t.Helper()
	f.cluster.Exec(t, f.database, "CREATE TABLE done (who text, mine text, n int); GRANT ALL ON done TO PUBLIC")
	admin := f.cluster.Connect(t, f.database, "postgres", "")
	ctx, cancel := context.WithCancel(t.Context())
	var attack sync.WaitGroup
	attack.Go(func() {
		for ctx.Err() == nil {
			admin.Exec(ctx, "SELECT pg_cancel_backend(pid), pg_sleep(0.001) FROM pg_stat_activity WHERE usename = $1", f.role)
		}
	})
	return func() *pgx.Conn {
		cancel()
		attack.Wait()
		return f.cluster.Connect(t, f.database, "postgres", "")
	}
}
