package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/revocation"
)

func TestMain(m *testing.M) {
	// The shared clusters end with the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/claimpool/claimpool/cluster.(*Cluster).start.func1"))
}

// shared is a database with the pack, a login role of proxies that may use it, and one of a pool that may not.
type shared struct {
	*pgtest.Cluster
	db, pool, poolPassword string
	table                  *revocation.Table
}

func eachVersion(t *testing.T, test func(t *testing.T, s *shared)) {
	t.Helper()
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		s := &shared{Cluster: c, db: c.NewDatabase(t)}
		conn := c.Connect(t, s.db, cluster.Superuser, "")
		plan, err := database.PlanInstall(t.Context(), conn, database.Options{With: []string{"revocation"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Run(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		role, password := c.NewRole(t)
		s.pool, s.poolPassword = c.NewRole(t)
		c.Exec(t, s.db, "GRANT claimpool_revocation TO "+role)
		connect, err := revocation.Connector("revocation", c.DSN(s.db, role, ""), func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil })
		if err != nil {
			t.Fatal(err)
		}
		s.table = &revocation.Table{Connect: connect}
		test(t, s)
	})
}

// follow is a proxy's view of the table, until the test ends.
func (s *shared) follow(t *testing.T, poll time.Duration) (set *revocation.Set, changes *atomic.Int64, stop func()) {
	t.Helper()
	set, changes = revocation.New(revocation.Options{Keep: time.Hour, StaleAfter: patience}), new(atomic.Int64)
	f := revocation.Follower{Table: s.table, Set: set, Poll: poll, Changed: func() { changes.Add(1) }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	nobody := claimpool.NewProof(issuer, "", "", time.Now(), "nobody")
	soon(t, "the first look", func() bool { _, err := set.Revoked(&nobody); return err == nil })
	return set, changes, stop
}

func (s *shared) revoke(t *testing.T, r revocation.Request, once *claimpool.Mark) error {
	t.Helper()
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	return s.table.Revoke(t.Context(), []revocation.Entry{e}, once)
}

const patience = time.Minute

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

func TestProxiesShareATable(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		a, _, stop := s.follow(t, time.Minute) // it will not ask by itself
		b, _, _ := s.follow(t, time.Minute)
		issued := time.Now().Add(-time.Second)
		ann, bob := claimpool.NewProof(issuer, "j", "s", issued, "ann"), claimpool.NewProof(issuer, "j2", "", issued, "bob")
		began := time.Now()
		if err := s.revoke(t, revocation.Request{Issuer: issuer, Subject: "ann", Reason: "left the company"}, nil); err != nil {
			t.Fatal(err)
		}
		for _, set := range []*revocation.Set{a, b} {
			soon(t, "ann is signed out", func() bool { return set.SignedOut(&ann, issued) })
			if set.SignedOut(&bob, issued) {
				t.Error("and bob is too")
			}
		}
		if took := time.Since(began); took > 20*time.Second { // much less than the time after which they ask
			t.Errorf("it took %v", took)
		}
		stop()
		if err := s.revoke(t, revocation.Request{Issuer: issuer, Token: "j2"}, nil); err != nil {
			t.Fatal(err)
		}
		again, _, _ := s.follow(t, time.Minute) // after a restart
		if !again.SignedOut(&ann, issued) || !again.SignedOut(&bob, issued) {
			t.Error("a restart has signed somebody in again")
		}
		list, err := s.table.List(t.Context())
		if err != nil || len(list) != 2 || list[0].Subject != "ann" || list[0].Reason != "left the company" || list[0].Before.Before(issued) || !list[1].Before.IsZero() {
			t.Errorf("%+v %v", list, err)
		}
	})
}

func TestLogoutTokensAreTakenOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		once, other := claimpool.NewMark("logout", issuer, "j1"), claimpool.NewMark("logout", issuer, "j2")
		r := revocation.Request{Issuer: issuer, Session: "s1"}
		for i, test := range []struct {
			once *claimpool.Mark
			want error
		}{{&once, nil}, {&once, revocation.ErrReplayed}, {&other, nil}, {nil, nil}} {
			if err := s.revoke(t, r, test.once); !errors.Is(err, test.want) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if list, err := s.table.List(t.Context()); err != nil || len(list) != 5 {
			t.Errorf("%d rows, %v", len(list), err)
		}
	})
}

// Where notifications do not arrive the table is asked; where the connection is cut, it is opened again.
func TestTheTableIsAskedToo(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		set, _, _ := s.follow(t, 100*time.Millisecond)
		admin := s.Connect(t, s.db, cluster.Superuser, "")
		mark := claimpool.NewMark(claimpool.MarkToken, issuer, "silent")
		if _, err := admin.Exec(t.Context(), "insert into claimpool_revocation.revocations (kind, mark, issuer, subject, reason) values ('token', $1, $2, '', '')", mark[:], issuer); err != nil {
			t.Fatal(err)
		}
		silent := claimpool.NewProof(issuer, "silent", "", time.Now(), "ann")
		soon(t, "it is found without a notification", func() bool { return set.SignedOut(&silent, time.Now()) })
		s.Exec(t, s.db, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'claimpool revocation'")
		if err := s.revoke(t, revocation.Request{Issuer: issuer, Token: "later"}, nil); err != nil {
			t.Fatal(err)
		}
		later := claimpool.NewProof(issuer, "later", "", time.Now(), "ann")
		soon(t, "the new connection has found it", func() bool { return set.SignedOut(&later, time.Now()) })
	})
}

func TestOldRowsAreForgotten(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		s.Exec(t, s.db, `insert into claimpool_revocation.revocations (kind, mark, issuer, subject, reason, made, before)
			select 'subject', sha256(n::text::bytea), 'i', 's', '', now() - n * interval '30 minutes', b
			from unnest(array[0, 1, 2, 3, 3], array[null, null, null, null, now() + interval '1 day']) u (n, b)`)
		s.Exec(t, s.db, `insert into claimpool_revocation.revocations (kind, mark, issuer, subject, reason, made)
			select 'token', sha256(n::text::bytea), 'i', 's', '', now() - interval '3 hours' from generate_series(10, 2500) n`) // more than go at once
		set, _, _ := s.follow(t, time.Minute) // keeps them for an hour and ten minutes
		soon(t, "the oldest are gone", func() bool {
			list, err := s.table.List(t.Context())
			return err == nil && len(list) == 4
		})
		if set.Len() != 4 {
			t.Errorf("%d entries", set.Len())
		}
	})
}

// TestAttackForgedNotification: the attacker has a pool's role. He sends notifications on the revocations' channel, with and without
// words in them, a flood of them too; he reads the table, writes to it, calls its functions, and takes the role that may.
//
// Must: Nobody is signed in or out by it, the proxies ask the table some times a second at most, and the rest is refused (42501).
// Dialects: none
func TestAttackForgedNotification(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		s.Exec(t, s.db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_functions = pl', current_database()); END $$")
		set, changes, _ := s.follow(t, time.Minute)
		if err := s.revoke(t, revocation.Request{Issuer: issuer, Token: "j"}, nil); err != nil {
			t.Fatal(err)
		}
		revoked, free := claimpool.NewProof(issuer, "j", "", time.Now(), "ann"), claimpool.NewProof(issuer, "other", "", time.Now(), "bob")
		soon(t, "the true one", func() bool { return set.SignedOut(&revoked, time.Now()) })
		conn := s.Connect(t, s.db, s.pool, s.poolPassword)
		began := time.Now()
		for i := range 2000 {
			if _, err := conn.Exec(t.Context(), fmt.Sprintf(`NOTIFY claimpool_revocation, '{"delete": "j", "sub": "bob", "n": %d}'`, i)); err != nil {
				t.Fatal(err)
			}
		}
		took := time.Since(began)
		admin := s.Connect(t, s.db, cluster.Superuser, "")
		for _, sql := range []string{
			"select * from claimpool_revocation.revocations", "delete from claimpool_revocation.revocations",
			"insert into claimpool_revocation.revocations (kind) values ('token')", "truncate claimpool_revocation.revocations",
			"select * from claimpool_revocation.since(0)",
			"select claimpool_revocation.forget('1 minute')", "select claimpool_revocation.undo(1, '')", "set role claimpool_revocation", "set role claimpool_owner",
			"select claimpool_revocation.revoke('{subject}', array[sha256('x')], 'i', 's', null, '', null)",
			"create function claimpool_revocation.since(text) returns int language sql return 1",
		} {
			_, err := conn.Exec(t.Context(), sql)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "42501" {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if !set.SignedOut(&revoked, time.Now()) || set.SignedOut(&free, time.Now()) || set.Len() != 1 || changes.Load() != 1 {
			t.Errorf("%d entries, %d changes", set.Len(), changes.Load())
		}
		if list, err := s.table.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%d rows, %v", len(list), err)
		}
		const calls = "select coalesce(sum(calls), 0)::int from pg_stat_user_functions where funcname = 'since'"
		var looks int
		soon(t, "the statistics", func() bool {
			return admin.QueryRow(t.Context(), calls).Scan(&looks) == nil && looks > 0
		})
		if most := int(time.Since(began)/(50*time.Millisecond)) + 10; looks > most {
			t.Errorf("the table was asked %d times in %v", looks, time.Since(began))
		}
		t.Logf("2000 notifications in %v", took)
	})
}
