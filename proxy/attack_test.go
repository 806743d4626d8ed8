package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// The attackers in the files attack_*_test.go are tenants: they have a valid token of their own, run any SQL as the pool's
// role and send any bytes of the protocol, and share the server connections with their victims. Everything goes through the
// real proxy to a real PostgreSQL.

// The dialects, as the comments of attacks name them.
const (
	sql    = "sql"
	native = "native"
)

// eachTenants runs an attack in both dialects on every version, with a pool of the given size.
func eachTenants(t *testing.T, size int, attack func(t *testing.T, f *tenants)) {
	t.Helper()
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) { attack(t, start(t, poolOf(size))) })
}

// starter starts a database and a proxy before it, in the dialect and on the version of a subtest.
type starter func(t *testing.T, change func(*pgtest.ProxyOptions)) *tenants

var starts = map[string]func(*testing.T, cluster.Installation, func(*pgtest.ProxyOptions)) *tenants{
	sql: startTenants, native: startNative, bouncer: startBouncer,
}

// eachDialect runs an attack as a subtest for each dialect and version, TestAttackX/sql/pg15, all of them at once; the table of
// make attack reads the names. The extension is tried on the versions whose headers are there.
func eachDialect(t *testing.T, dialects []string, attack func(t *testing.T, start starter)) {
	t.Helper()
	eachDialectAlone(t, dialects, func(t *testing.T, start starter) {
		t.Parallel()
		attack(t, start)
	})
}

// eachDialectAlone is eachDialect one after the other, for what is measured in the whole process.
func eachDialectAlone(t *testing.T, dialects []string, attack func(t *testing.T, start starter)) {
	t.Helper()
	for _, dialect := range targets(dialects) {
		start, ran := starts[dialect], false
		for _, inst := range pgtest.Versions(t) {
			if dialect == native && pgtest.Headers(inst.Major) == "" {
				continue
			}
			ran = true
			t.Run(fmt.Sprintf("%s/pg%d", dialect, inst.Major), func(t *testing.T) {
				attack(t, func(t *testing.T, change func(*pgtest.ProxyOptions)) *tenants { return start(t, inst, change) })
			})
		}
		if !ran {
			t.Errorf("no version of PostgreSQL for the dialect %s: run scripts/setup.sh test", dialect)
		}
	}
}

// setting is where the dialect's context would be, for those who try to write it.
func (f *tenants) setting() string {
	switch f.dialect {
	case native:
		return "jwt.context"
	case bouncer:
		return "app.claims"
	}
	return trusted.SQLSetting
}

// window shortens the time for which a seal is good. The native dialect has none.
func window(o *pgtest.ProxyOptions, d time.Duration) {
	if dialect, ok := o.Dialect.(*trusted.SQL); ok {
		dialect.Window = d
	}
}

// poolOf gives the proxy a pool of so many servers.
func poolOf(size int) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		o.Pool = pgtest.DefaultPool()
		o.Pool.Size = size
	}
}

// inMode gives the proxy one server in a pool mode.
func inMode(mode pool.Mode, size int) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		poolOf(size)(o)
		o.Pool.Mode = mode
	}
}

// again is the same database before another proxy, which knows nothing yet.
func (f *tenants) again(t testing.TB) *tenants {
	t.Helper()
	second := *f
	if f.dialect == bouncer {
		second.Proxy = pgtest.StartPgBouncer(t, f.options)
	} else {
		second.Proxy = pgtest.StartProxy(t, f.options)
	}
	return &second
}

// raw is a member of a tenant who speaks the protocol by hand.
func (f *tenants) raw(t testing.TB, tenant string, params ...[2]string) *peer {
	t.Helper()
	if f.dialect == bouncer { // it asks for no password
		p := (&plain{Proxy: f.Proxy}).dialTLS(t).start(wire.Version30, f.role, append([][2]string{{"database", f.database}}, params...)...).ready()
		p.claim = f.claim(tenant)
		return p
	}
	return f.rawWith(t, f.token(tenant), params...)
}

// rawWith logs in with a token.
func (f *tenants) rawWith(t testing.TB, token string, params ...[2]string) *peer {
	t.Helper()
	p := f.knock(t, params...)
	p.send(wire.AppendPassword(nil, []byte(token)))
	return p.ready()
}

// knock is a client that is asked for its password.
func (f *tenants) knock(t testing.TB, params ...[2]string) *peer {
	t.Helper()
	p := (&plain{Proxy: f.Proxy}).dialTLS(t)
	p.start(wire.Version30, f.role, append([][2]string{{"database", f.database}}, params...)...)
	if word, _ := p.message(); word != "R" {
		t.Fatalf("the proxy asks for no password but says %s", word)
	}
	return p
}

// connectWith logs in with a token.
func (f *tenants) connectWith(t testing.TB, token string) *pgx.Conn {
	t.Helper()
	c, err := f.dial(t.Context(), f.role, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// admin is a superuser beside the proxy.
func (f *tenants) admin(t testing.TB) *pgx.Conn {
	t.Helper()
	return f.cluster.Connect(t, f.database, cluster.Superuser, "")
}

// run executes SQL that must succeed; by the simple protocol, so that several statements are allowed.
func run(t testing.TB, c *pgx.Conn, sql string) {
	t.Helper()
	if _, err := c.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// code runs SQL by the simple protocol and gives its SQLSTATE; "00000" when it succeeds, "08006" when the connection is lost.
func code(t testing.TB, c *pgx.Conn, sql string) string {
	t.Helper()
	_, err := c.PgConn().Exec(t.Context(), sql).ReadAll()
	return sqlState(err)
}

func sqlState(err error) string {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return "00000"
	case errors.As(err, &e):
		return e.Code
	}
	return "08006"
}

// whoami is what a client sees of the rows: whose they are and how many, and on which server connection.
const whoami = "SELECT coalesce(string_agg(DISTINCT tenant, ','), 'nobody') || ' ' || count(*) FROM note"

// own is the answer to whoami that a tenant must get.
func own(tenant string) string { return tenant + " 10" }

// mustBe fails unless the client sees its own rows and nothing else.
func mustBe(t testing.TB, c *pgx.Conn, tenant string) {
	t.Helper()
	if got := value(t, c, whoami); got != own(tenant) {
		t.Errorf("tenant %s sees %q", tenant, got)
	}
}

func backend(t testing.TB, c *pgx.Conn) string {
	t.Helper()
	return value(t, c, "SELECT pg_backend_pid()::text")
}

// servers lists the pool's server connections as "pid state", oldest first.
func (f *tenants) servers(t testing.TB, admin *pgx.Conn) []string {
	t.Helper()
	rows, err := admin.Query(t.Context(), `SELECT pid || ' ' || coalesce(state, '') FROM pg_stat_activity
		WHERE usename = $1 AND backend_type = 'client backend' ORDER BY backend_start`, f.role)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// atRest waits until no client is left and every server connection is idle, at most so many.
func (f *tenants) atRest(t testing.TB, clients, servers int) {
	t.Helper()
	admin := f.admin(t)
	soon(t, "for clients and server connections to be at rest", func() bool {
		list := f.servers(t, admin)
		busy := slices.ContainsFunc(list, func(s string) bool { return !strings.HasSuffix(s, " idle") })
		return !busy && len(list) <= servers && (f.dialect == bouncer || f.Clients() == clients)
	})
}

// alternate lets two tenants take turns on the servers until stop, and reports everything that was not theirs. Errors that
// tolerate accepts are counted instead.
func alternate(ctx context.Context, conns map[string]*pgx.Conn, turns int, tolerate func(error) bool) (tolerated int, err error) {
	for range turns {
		for tenant, c := range conns {
			got, err := fetch(ctx, c, whoami)
			switch {
			case err != nil && tolerate != nil && tolerate(err):
				tolerated++
			case err != nil:
				return tolerated, fmt.Errorf("tenant %s: %w", tenant, err)
			case got == nil || *got != own(tenant):
				return tolerated, fmt.Errorf("tenant %s sees %q", tenant, deref(got))
			}
		}
	}
	return tolerated, nil
}
