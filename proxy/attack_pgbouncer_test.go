package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// The same attacks against PgBouncer, for make attack TARGET=pgbouncer. Its users write their claims into a setting of the
// session, and policies read it. They do that as well as it can be done: in each transaction, for that transaction alone, and in
// the same message as the query, so that there is none without the other.

// bouncer is the dialect of those tests.
const bouncer = "pgbouncer"

// targets are the dialects that a test runs against: its own, or PgBouncer.
func targets(own []string) []string {
	if os.Getenv("ATTACK_TARGET") == bouncer {
		return []string{bouncer}
	}
	return own
}

// startBouncer is startTenants with PgBouncer in place of the proxy.
func startBouncer(t *testing.T, inst cluster.Installation, change func(*pgtest.ProxyOptions)) *tenants {
	t.Helper()
	c := pgtest.Shared(t, inst)
	f := &tenants{dialect: bouncer, cluster: c, database: c.NewDatabase(t), issuer: pgtest.NewIssuer(t, "https://issuer.test")}
	f.role, f.password = c.NewRole(t)
	c.Exec(t, f.database, fmt.Sprintf(`
		CREATE FUNCTION jwt(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('app.claims', true), '')::jsonb ->> $1 $$;
		CREATE TABLE note (id int PRIMARY KEY, tenant text NOT NULL, body text);
		INSERT INTO note SELECT n, 't' || n %% 50, 'note ' || n FROM generate_series(0, 499) n;
		ALTER TABLE note ENABLE ROW LEVEL SECURITY;
		ALTER TABLE note FORCE ROW LEVEL SECURITY;
		CREATE POLICY own ON note USING (tenant = (SELECT jwt('tenant_id')));
		GRANT SELECT, INSERT, UPDATE, DELETE ON note TO %s;`, pgx.Identifier{f.role}.Sanitize()))
	o := pgtest.ProxyOptions{Cluster: c, Database: f.database, Role: f.role, Password: f.password}
	if change != nil {
		change(&o)
	}
	f.options = o
	f.Proxy = pgtest.StartPgBouncer(t, o)
	return f
}

// claim is what an application sends in front of its own SQL: its user's claims. Empty where a proxy brings them.
func (f *tenants) claim(tenant string) string {
	if f.dialect != bouncer {
		return ""
	}
	return fmt.Sprintf(`SELECT set_config('app.claims', '{"tenant_id":"%s"}', true); `, tenant)
}

// claimKey is where a connection of pgx carries what claim gives.
const claimKey = "claim"

// fetch runs SQL of an application that gives one value, NULL or not.
func fetch(ctx context.Context, c *pgx.Conn, sql string, args ...any) (*string, error) {
	claim, _ := c.PgConn().CustomData()[claimKey].(string)
	if claim == "" || c.PgConn().TxStatus() != 'I' {
		var v *string
		return v, c.QueryRow(ctx, sql, args...).Scan(&v)
	}
	results, err := c.PgConn().Exec(ctx, claim+sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if last := results[len(results)-1]; len(last.Rows) == 1 && len(last.Rows[0]) == 1 {
		if last.Rows[0][0] == nil {
			return nil, nil
		}
		v := string(last.Rows[0][0])
		return &v, nil
	}
	return nil, errors.New("not one value")
}

// put is fetch for a peer: an application's question and its whole answer.
func (p *peer) put(sql string) string {
	p.t.Helper()
	got := p.ask(p.claim + sql)
	if p.claim != "" {
		if _, behind, ok := strings.Cut(got, "C(SELECT 1) "); ok && strings.HasPrefix(got, `T D({"tenant_id"`) {
			return behind
		}
	}
	return got
}
