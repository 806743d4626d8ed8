package database_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// prepared is a database with the SQL dialect, and the permanent role of a pool. The attackers in the tests have what a
// client of the pool has: any SQL as that role.
type prepared struct {
	*pgtest.Cluster
	db, role, password string
	key                *trusted.SQLKey
	secret             string // the key as hexadecimal digits, to look for it where it must not be
}

// eachVersion runs a test in a prepared database on every version.
func eachVersion(t *testing.T, test func(t *testing.T, p *prepared)) {
	t.Helper()
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) { test(t, prepare(t, pgtest.Shared(t, inst))) })
}

func prepare(t testing.TB, c *pgtest.Cluster) *prepared {
	t.Helper()
	p := &prepared{Cluster: c, db: c.NewDatabase(t)}
	p.role, p.password = c.NewRole(t)
	p.Exec(t, p.db, "revoke create on schema public from public") // as status asks for; the default from 15 on
	p.install(t)
	return p
}

// installing keeps tests from making the role claimpool_owner twice at once.
var installing sync.Mutex

func (p *prepared) install(t testing.TB) {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	conn := p.Connect(t, p.db, cluster.Superuser, "")
	k := run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{}))
	key, err := trusted.ParseSQLKey(k.File())
	if err != nil {
		t.Fatal(err)
	}
	p.key, p.secret = key, string(k.Secret)
}

// session is a server connection of the pool.
type session struct {
	t testing.TB
	*pgx.Conn
	key     *trusted.SQLKey
	binding string
	now     func() time.Time // the server's clock
}

// login opens a connection with the context pinned, as the proxy does. settings are further startup parameters: name, value …
func (p *prepared) login(t testing.TB, settings ...string) *session {
	t.Helper()
	return p.loginWith(t, append([]string{trusted.SQLSetting, ""}, settings...)...)
}

func (p *prepared) loginWith(t testing.TB, settings ...string) *session {
	t.Helper()
	cfg, err := pgx.ParseConfig(p.DSN(p.db, p.role, p.password))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		cfg.RuntimeParams[settings[i]] = settings[i+1]
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // no statements are prepared behind the test's back
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	s := &session{t: t, Conn: conn, key: p.key}
	greeting, err := trusted.ParseSQLGreeting(s.value(trusted.SQLGreeting))
	if err != nil {
		t.Fatal(err)
	}
	offset := time.Until(greeting.Clock)
	s.binding, s.now = greeting.Binding, func() time.Time { return time.Now().Add(offset) }
	return s
}

// seal seals claims for this connection as of now.
func (s *session) seal(claims string) string { return s.sealAt(claims, 0, 30*time.Second) }

func (s *session) sealAt(claims string, ago, window time.Duration) string {
	s.t.Helper()
	seal, err := s.key.Sealer().AppendSeal(nil, s.binding, s.now().Add(-ago), window, []byte(claims))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(seal)
}

// set puts a value into the setting, as the proxy and any client can.
func (s *session) set(value string) *session {
	s.t.Helper()
	s.exec("select pg_catalog.set_config($1, $2, false)", trusted.SQLSetting, value)
	return s
}

// as installs claims.
func (s *session) as(claims string) *session {
	s.t.Helper()
	return s.set(s.seal(claims))
}

func (s *session) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// ask gives the one value of a query: "NULL" for null, the SQLSTATE for an error.
func (s *session) ask(sql string, args ...any) string {
	s.t.Helper()
	var v *string
	err := s.QueryRow(s.t.Context(), sql, args...).Scan(&v)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Code
	case errors.Is(err, pgx.ErrNoRows): // a command, or an empty result
		return "no row"
	case err != nil:
		s.t.Fatalf("%s: %v", sql, err)
	case v == nil:
		return "NULL"
	}
	return *v
}

// value is ask for queries that must not fail.
func (s *session) value(sql string) string {
	s.t.Helper()
	var v string
	if err := s.QueryRow(s.t.Context(), sql).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// want checks the answer of a query.
func (s *session) want(sql, want string) {
	s.t.Helper()
	if got := s.ask(sql); got != want {
		s.t.Errorf("%s: got %s, want %s", sql, got, want)
	}
}

const (
	invalid = "28000" // what is set does not verify, or what is required is missing
	denied  = "42501"
)
