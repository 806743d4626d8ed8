package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// startReplication runs a proxy in front of a cluster that can be replicated. Its database is called replication, as the programs of
// PostgreSQL ask for it, and leads to the database postgres.
func startReplication(t *testing.T, inst cluster.Installation, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	c := pgtest.Start(t, inst, pgtest.WithSetting("wal_level", "logical"))
	role, password := c.NewRole(t)
	c.Exec(t, "postgres", "ALTER ROLE "+role+" REPLICATION; CREATE TABLE story (n int); INSERT INTO story VALUES (1)")
	two := &twoServers{primary: c, standby: c, role: role, password: password}
	return startOn(t, c, role, password, func(o *pgtest.ProxyOptions) {
		o.Database, o.Replication = "replication", proxy.ReplicationAllow
		o.Server = two.way(server.Policy{})
		if change != nil {
			change(o)
		}
	})
}

// must runs one of PostgreSQL's programs as a client of the proxy, with libpq's sslmode.
func (f *plain) must(t *testing.T, mode, name string, args ...string) string {
	t.Helper()
	path, _ := pgtest.Tool(t, name)
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C", "PGHOST=" + f.Host, fmt.Sprintf("PGPORT=%d", f.Port), "PGUSER=" + f.role, "PGSSLMODE=" + mode}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// lsn is where the server's log ends, but for a little that follows, so that nobody waits for it.
func (f *plain) lsn(t *testing.T) string {
	t.Helper()
	c := f.cluster.Connect(t, "postgres", cluster.Superuser, "")
	at := value(t, c, "SELECT pg_current_wal_insert_lsn()::text")
	f.cluster.Exec(t, "postgres", "INSERT INTO story VALUES (0); SELECT pg_switch_wal(); INSERT INTO story VALUES (0)")
	return at
}

// TestReplicationPrograms: what comes with PostgreSQL works through the proxy, over TLS and without.
func TestReplicationPrograms(t *testing.T) {
	t.Parallel()
	_, inst := pgtest.Tool(t, "pg_receivewal")
	f := startReplication(t, inst, nil)
	dir := t.TempDir()
	const plain, secure = "disable", "require"
	for _, mode := range []string{plain, secure} {
		base := filepath.Join(dir, mode)
		f.must(t, mode, "pg_basebackup", "-D", base, "-c", "fast", "-X", "stream", "--no-sync")
		f.must(t, plain, "pg_verifybackup", base)
	}
	var writer sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	writer.Go(func() {
		for ctx.Err() == nil {
			f.cluster.Exec(t, "postgres", "INSERT INTO story SELECT generate_series(1, 1000)")
		}
	})
	c := f.cluster.Connect(t, "postgres", cluster.Superuser, "")
	f.must(t, plain, "pg_receivewal", "-D", dir, "--no-loop", "--endpos", value(t, c, "SELECT (pg_current_wal_lsn() + 1000000)::text"))
	stop()
	writer.Wait()
	if segments, err := filepath.Glob(filepath.Join(dir, "0000*")); err != nil || len(segments) == 0 {
		t.Errorf("no segment was received: %v", err)
	}
	f.must(t, secure, "pg_recvlogical", "-d", "replication", "--slot", "s", "--create-slot", "-P", "test_decoding")
	f.cluster.Exec(t, "postgres", "INSERT INTO story SELECT generate_series(1, 20000)")
	got := f.must(t, secure, "pg_recvlogical", "-d", "replication", "--slot", "s", "--start", "-f", "-", "--no-loop", "--endpos", f.lsn(t))
	if n := strings.Count(got, "table public.story: INSERT"); n < 20000 {
		t.Errorf("%d rows were received", n)
	}
	f.must(t, plain, "pg_recvlogical", "-d", "replication", "--slot", "s", "--drop-slot")
	soon(t, "all is over", func() bool { return f.Clients() == 0 && f.count(t, "true") == 0 })
}

// replicate logs in with a replication connection.
func (f *plain) replicate(t testing.TB, value string) *peer {
	t.Helper()
	return f.dial(t).start(wire.Version32, f.role, [2]string{"database", "replication"}, [2]string{"replication", value})
}

// TestReplicationConnections: they are counted, cancelled and ended like others, and shared by nobody.
func TestReplicationConnections(t *testing.T) {
	t.Parallel()
	f := startReplication(t, pgtest.Newest(t), nil)
	walsenders := func() int { return f.count(t, "backend_type = 'walsender'") }
	a, b, c := f.replicate(t, "database").ready(), f.replicate(t, "on").ready(), f.replicate(t, "true").ready()
	if a.params["server_version"] == "" || walsenders() != 3 || f.PoolStats().Opened != 0 {
		t.Errorf("version %q, %d walsenders, %d servers in the pool", a.params["server_version"], walsenders(), f.PoolStats().Opened)
	}
	if got := b.ask("IDENTIFY_SYSTEM"); !strings.HasPrefix(got, "T D(") || !strings.HasSuffix(got, "C(IDENTIFY_SYSTEM) Z(I)") {
		t.Errorf("the physical one answered %s", got)
	}
	if pid := a.one("SELECT pg_backend_pid()"); pid != fmt.Sprint(a.pid) {
		t.Errorf("the client was told process id %d, and has %s", a.pid, pid)
	}
	if got := f.replicate(t, "1").answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("the fourth was told %s", got)
	}
	t.Run("cancel", func(t *testing.T) {
		a.query("SELECT pg_sleep(100)")
		soon(t, "the query runs", func() bool { return f.count(t, "wait_event = 'PgSleep'") > 0 })
		f.cancelKey(t, a.pid, make([]byte, len(a.secret)))
		f.cancel(t, b)
		if f.count(t, "wait_event = 'PgSleep'") != 1 {
			t.Error("a wrong key cancelled the query")
		}
		f.cancel(t, a)
		if got := a.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
			t.Errorf("the query was answered with %s", got)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		a.leave()
		soon(t, "its server connection is closed", func() bool { return walsenders() == 2 && f.Clients() == 2 })
	})
	t.Run("a server that ends it", func(t *testing.T) {
		f.cluster.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", b.pid))
		if got := b.gone(); got != "E(57P01 fatal) EOF" {
			t.Errorf("the client is told %s", got)
		}
	})
	t.Run("a reload that allows it no more", func(t *testing.T) {
		f.Reload(f.options.Config(t))
		c.expect("SHOW port", fmt.Sprintf("T D(%d) C(SHOW) Z(I)", f.cluster.Port))
		f.options.Replication = proxy.ReplicationRefuse
		f.Reload(f.options.Config(t))
		if got := c.gone(); got != "EOF" {
			t.Errorf("the client is told %s", got)
		}
		if got := f.replicate(t, "true").answer(); got != "E(0A000 fatal) EOF" {
			t.Errorf("a new one is told %s", got)
		}
	})
	soon(t, "all is over", func() bool { return f.Clients() == 0 && walsenders() == 0 })
}

// TestReplicationParameter reads the startup parameter as PostgreSQL does.
func TestReplicationParameter(t *testing.T) {
	t.Parallel()
	f := startReplication(t, pgtest.Newest(t), nil)
	const normal, sender = "client backend", "walsender"
	for value, want := range map[string]string{
		"true": sender, "TRUE": sender, "t": sender, "yes": sender, "on": sender, "1": sender, "database": sender,
		"false": normal, "f": normal, "no": normal, "off": normal, "of": normal, "0": normal,
		"": "E(22023 fatal) EOF", "o": "E(22023 fatal) EOF", "2": "E(22023 fatal) EOF", "truex": "E(22023 fatal) EOF", " on": "E(22023 fatal) EOF",
	} {
		p := f.replicate(t, value)
		got := p.answer()
		if got == "R Z(I)" {
			got = normal
			if p.ask("IDENTIFY_SYSTEM") != "E(42601) Z(I)" {
				got = sender
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
		p.Close()
		soon(t, "it is gone", func() bool { return f.Clients() == 0 })
	}
}

// TestReplicationAtTheEnd: replication connections do not hold up a proxy that stops, and end with their client's token, or when it
// is signed out.
func TestReplicationAtTheEnd(t *testing.T) {
	t.Parallel()
	f := startReplication(t, pgtest.Newest(t), nil)
	p := f.replicate(t, "true").ready()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := f.Shutdown(ctx); err != nil {
		t.Errorf("the proxy does not stop: %v", err)
	}
	if got := p.gone(); got != "EOF" {
		t.Errorf("the client is told %s", got)
	}
	issuer := pgtest.NewIssuer(t, "https://issuer.test")
	g := startOn(t, f.cluster, f.role, f.options.Password, func(o *pgtest.ProxyOptions) {
		o.Database, o.Server, o.Replication = "replication", f.options.Server, proxy.ReplicationAll
		o.Rules = []auth.Rule{pgtest.JWTRule(t, o.Role, issuer)}
	})
	dsn := g.DSN("replication", g.role, issuer.Mint("ann", map[string]any{"exp": time.Now().Add(8 * time.Second).Unix()}), "require")
	c, err := pgconn.Connect(t.Context(), dsn+" replication=database")
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the token's end", func() bool { return c.Exec(t.Context(), "SELECT 1").Close() != nil })
	soon(t, "its server connection is closed", func() bool { return g.count(t, "true") == 0 })

	set := newRevocations()
	g = startOn(t, f.cluster, f.role, f.options.Password, func(o *pgtest.ProxyOptions) {
		o.Database, o.Server, o.Replication, o.Revocations = "replication", f.options.Server, proxy.ReplicationAll, set
		o.Rules = []auth.Rule{pgtest.JWTRule(t, o.Role, issuer)}
	})
	c, err = pgconn.Connect(t.Context(), g.DSN("replication", g.role, issuer.Mint("ann", nil), "require")+" replication=database")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(t.Context(), "SELECT 1").Close(); err != nil {
		t.Fatal(err)
	}
	(&tenants{Proxy: g.Proxy, issuer: issuer}).signOut(t, set, revocation.Request{Subject: "ann"})
	soon(t, "the sign-out", func() bool { return c.Exec(t.Context(), "SELECT 1").Close() != nil })
	soon(t, "its server connection is closed", func() bool { return g.count(t, "true") == 0 })
}

// TestAttackReplication: the attacker's role may replicate. He asks for a replication connection in every spelling, through which
// PostgreSQL would send him the rows of all tenants past every policy.
//
// Must: A client with claims is refused (42501), unless the configuration says otherwise; and then SQL on such a connection shows no
// rows, because nobody's claims are on it.
// Dialects: sql, native
// Not pgbouncer: it knows no claims
func TestAttackReplication(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		try := func(f *tenants, value string) (*pgconn.PgConn, error) {
			f.cluster.Exec(t, "postgres", "ALTER ROLE "+f.role+" REPLICATION")
			cfg, err := pgconn.ParseConfig(f.DSN(f.database, f.role, f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t1"}), "require"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.RuntimeParams["replication"] = value
			return pgconn.ConnectConfig(t.Context(), cfg)
		}
		f := start(t, func(o *pgtest.ProxyOptions) { o.Replication = proxy.ReplicationAllow })
		for _, value := range []string{"database", "DATABASE", "true", "t", "yes", "on", "1"} {
			c, err := try(f, value)
			if err == nil {
				c.Close(t.Context())
			}
			var e *pgconn.PgError
			if !errors.As(err, &e) || e.Code != "42501" {
				t.Errorf("replication=%s was answered %v", value, err)
			}
		}
		o := f.options
		o.Replication = proxy.ReplicationAll
		f.Proxy = pgtest.StartProxy(t, o)
		c, err := try(f, "database")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := c.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
			t.Errorf("it is no replication connection: %v", err)
		}
		results, err := c.Exec(t.Context(), "SELECT * FROM note").ReadAll()
		for _, r := range results {
			if len(r.Rows) > 0 {
				t.Errorf("the attacker read %d rows", len(r.Rows))
			}
		}
		t.Logf("rows without claims: %v", err)
	})
}
