package proxy_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
)

// tenants is a database with one of the dialects and a table under row-level security, behind a proxy.
type tenants struct {
	*pgtest.Proxy
	dialect  string // sql, native or pgbouncer
	cluster  *pgtest.Cluster
	database string
	role     string
	password string
	issuer   *pgtest.Issuer
	options  pgtest.ProxyOptions
}

// notes is what is in the tenants' databases.
const notes = `
	CREATE TABLE note (id int PRIMARY KEY, tenant text NOT NULL, body text);
	INSERT INTO note SELECT n, 't' || n % 50, 'note ' || n FROM generate_series(0, 499) n;
	ALTER TABLE note ENABLE ROW LEVEL SECURITY;
	ALTER TABLE note FORCE ROW LEVEL SECURITY;
	CREATE POLICY own ON note USING (tenant = (SELECT jwt('tenant_id')))`

var modelKeys sync.Map // *trusted.SQLKey, by *pgtest.Cluster: the databases of a cluster share it

func startTenants(t *testing.T, inst cluster.Installation, change func(*pgtest.ProxyOptions)) *tenants {
	t.Helper()
	return tenantsOn(t, pgtest.Shared(t, inst), change)
}

// tenantsOn is startTenants on a cluster that the test may break.
func tenantsOn(t *testing.T, c *pgtest.Cluster, change func(*pgtest.ProxyOptions)) *tenants {
	t.Helper()
	f := &tenants{dialect: sql, cluster: c, issuer: pgtest.NewIssuer(t, "https://issuer.test")}
	f.database = c.NewDatabaseLike(t, "tenants", func(model string) {
		modelKeys.Store(c, c.InstallSQL(t, model))
		c.Exec(t, model, notes)
	})
	sqlKey, _ := modelKeys.Load(c)
	f.role, f.password = c.NewRole(t)
	c.Exec(t, f.database, "GRANT SELECT, INSERT, UPDATE, DELETE ON note TO "+pgx.Identifier{f.role}.Sanitize())
	o := pgtest.ProxyOptions{
		Cluster: c, Database: f.database, Role: f.role, Password: f.password,
		Dialect: &trusted.SQL{Key: sqlKey.(*trusted.SQLKey), Window: 3 * time.Second},
		Rules:   []auth.Rule{pgtest.JWTRule(t, f.role, f.issuer)},
	}
	if change != nil {
		change(&o)
	}
	f.options = o
	f.Proxy = pgtest.StartProxy(t, o)
	return f
}

// token is a tenant's, and lasts for the longest attack.
func (f *tenants) token(tenant string) string {
	return f.issuer.Mint("user-of-"+tenant, map[string]any{"tenant_id": tenant, "exp": time.Now().Add(6 * time.Hour).Unix()})
}

// connect logs in as a member of a tenant. pgx's exec mode prepares nothing that outlives its transaction.
func (f *tenants) connect(t testing.TB, tenant string) *pgx.Conn {
	t.Helper()
	c, err := f.dial(t.Context(), f.role, f.token(tenant))
	if err != nil {
		t.Fatal(err)
	}
	c.PgConn().CustomData()[claimKey] = f.claim(tenant)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func (f *tenants) dial(ctx context.Context, user, password string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, f.DSN(f.database, user, password, "require"))
}

func value(t testing.TB, c *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	v, err := fetch(t.Context(), c, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return deref(v)
}

func TestTenantsShareOneServerAndSeeTheirOwnRows(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startTenants(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = 1
		})
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		const ask = "SELECT string_agg(DISTINCT tenant, ',') || ' ' || count(*) || ' ' || pg_backend_pid() FROM note"
		first := value(t, a, ask)
		for range 5 {
			gotA, gotB := value(t, a, ask), value(t, b, ask)
			if gotA != first || gotA[:5] != "t1 10" || gotB[:5] != "t2 10" || gotA[5:] != gotB[5:] {
				t.Fatalf("tenant t1 saw %q, tenant t2 saw %q", gotA, gotB)
			}
		}
	})
}

// TestManyIdentitiesOverFewServers is the promise of the whole program under load: every row that anybody sees is their own.
func TestManyIdentitiesOverFewServers(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		const identities, transactions, servers = 50, 100, 5
		f := startTenants(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = servers
		})
		var wg sync.WaitGroup
		errs := make(chan error, identities)
		pids := sync.Map{}
		for i := range identities {
			tenant := fmt.Sprintf("t%d", i)
			c := f.connect(t, tenant)
			wg.Go(func() { errs <- checkOwnRows(t.Context(), c, tenant, transactions, &pids) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		n := 0
		pids.Range(func(any, any) bool { n++; return true })
		t.Logf("%d transactions of %d identities over %d server connections", identities*transactions, identities, n)
		if n > 2*servers {
			t.Errorf("%d server connections served a pool of %d", n, servers)
		}
	})
}

func checkOwnRows(ctx context.Context, c *pgx.Conn, tenant string, transactions int, pids *sync.Map) error {
	for range transactions {
		var who string
		var rows, pid int
		err := c.QueryRow(ctx, "SELECT coalesce(string_agg(DISTINCT tenant, ','), 'nobody'), count(*), pg_backend_pid() FROM note").Scan(&who, &rows, &pid)
		if err != nil {
			return fmt.Errorf("%s: %w", tenant, err)
		}
		if who != tenant || rows != 10 {
			return fmt.Errorf("%s saw %d rows of %s", tenant, rows, who)
		}
		pids.Store(pid, true)
	}
	return nil
}

func TestPoolModes(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Session, pool.Transaction, pool.Statement} {
		t.Run(string(mode), func(t *testing.T) {
			f := startTenants(t, pgtest.Newest(t), func(o *pgtest.ProxyOptions) {
				o.Pool = pgtest.DefaultPool()
				o.Pool.Mode = mode
			})
			c := f.connect(t, "t7")
			if got := value(t, c, "SELECT count(*) FROM note"); got != "10" {
				t.Errorf("saw %s rows", got)
			}
			tx, err := c.Begin(t.Context())
			if mode == pool.Statement {
				if err == nil {
					_, err = tx.Exec(t.Context(), "SELECT 1")
				}
				if err == nil {
					t.Error("a transaction block was allowed in statement mode")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), "INSERT INTO note VALUES (1000, 't8', 'foreign')"); err == nil {
				t.Error("inserted a row of another tenant")
			}
			tx.Rollback(t.Context())
		})
	}
}
