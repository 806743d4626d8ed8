package database_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// What every install of jwt(), in whatever dialect, must answer.
func TestReading(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		for _, r := range pgtest.WithoutContext {
			s.want(r.SQL, r.Want)
		}
		s.as(pgtest.ReadingClaims)
		for _, r := range pgtest.Readings {
			s.want(r.SQL, r.Want)
		}
		s.as(`{}`).want(`select jwt()::text`, "{}")
	})
}

func TestLongClaims(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		long := strings.Repeat("ü", 500_000)
		s := p.login(t).as(`{"long":"` + long + `"}`)
		if got := s.value(`select jwt('long')`); got != long {
			t.Errorf("got %d bytes", len(got))
		}
		deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
		s.as(deep).want(`select length(jwt()::text)::text`, "7001")
	})
}

// A database whose encoding is not UTF-8 signs and reads what it can hold.
func TestAnotherEncoding(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	p := prepare(t, c)
	c.Exec(t, "postgres", "create database latin encoding 'LATIN1' template template0 locale 'C'")
	t.Cleanup(func() { c.Exec(t, "postgres", "drop database latin with (force)") })
	p.db = "latin"
	p.install(t)
	s := p.login(t, "client_encoding", "UTF8").as(`{"name":"Zoë"}`)
	s.want(`select jwt('name')`, "Zoë")
	if _, err := s.Exec(t.Context(), "select set_config($1, $2, false)", trusted.SQLSetting, s.seal(`{"name":"☃"}`)); err == nil {
		t.Error("a character that the database does not have was taken")
	}
}

// The whole way of a hand-over in the real bytes: greeting, reset, fastpath call, replies.
func TestHandover(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		conn, err := s.PgConn().Hijack()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Conn.Close() })
		d := &trusted.SQL{Key: p.key, Window: 30 * time.Second}
		ts := &trusted.Session{PID: conn.PID}
		greet(t, conn.Conn, d, ts)
		for _, who := range []string{"alice", "bob", "alice"} {
			id := claimpool.NewIdentity(claimpool.MethodJWT, "iss", who, p.role, []byte(`{"sub":"`+who+`"}`), []byte(who), time.Time{})
			handOver(t, conn.Conn, d, ts, id)
			if got := exchange(t, conn.Conn, queryMessage("select jwt('sub')")); len(got) != 1 || got[0] != who {
				t.Errorf("%s reads %q", who, got)
			}
		}
	})
}

// greet is what the proxy does with a new connection.
func greet(t testing.TB, conn io.ReadWriter, d *trusted.SQL, s *trusted.Session) {
	t.Helper()
	ask, err := d.Greet(s, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if ask, err = d.Greet(s, exchange(t, conn, ask), time.Now()); err != nil || ask != nil {
		t.Fatalf("greeting: %q, %v", ask, err)
	}
}

// fastpath opens a connection of the pool and hands it over with the proxy's own bytes.
func fastpath(t testing.TB, p *prepared, claims string) io.ReadWriter {
	t.Helper()
	conn, err := p.login(t).PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Conn.Close() })
	d, ts := &trusted.SQL{Key: p.key, Window: 30 * time.Second}, &trusted.Session{PID: conn.PID}
	greet(t, conn.Conn, d, ts)
	handOver(t, conn.Conn, d, ts, claimpool.NewIdentity(claimpool.MethodJWT, "iss", "sub", p.role, []byte(claims), nil, time.Time{}))
	return conn.Conn
}

// handOver sends a hand-over and waits for its replies.
func handOver(t testing.TB, conn io.ReadWriter, d trusted.Dialect, ts *trusted.Session, id *claimpool.Identity) {
	t.Helper()
	msg, steps := ts.Handover(nil, d, id, noSettings, time.Now())
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	replies := trusted.Expect(steps)
	var in []byte
	buf := make([]byte, 4096)
	for !replies.Done() {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, buf[:n]...)
		used, err := replies.Take(in)
		if err != nil {
			t.Fatalf("hand over to %v: %v", id, err)
		}
		in = in[used:]
	}
}

var noSettings = new(trusted.Intern).Of(nil)

func queryMessage(sql string) []byte { return wire.AppendQuery(nil, sql) }

// exchange sends a query and gives its last row as text.
func exchange(t testing.TB, conn io.ReadWriter, msg []byte) (row []string) {
	t.Helper()
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	for {
		typ, body, err := wire.ReadMessage(conn, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		switch typ {
		case wire.MsgDataRow:
			row = nil
			for n, b := int(body[1]), body[2:]; n > 0; n-- {
				size := int(b[2])<<8 | int(b[3])
				row, b = append(row, string(b[4:4+size])), b[4+size:]
			}
		case wire.MsgErrorResponse:
			t.Fatalf("error: %q", body)
		case wire.MsgReadyForQuery:
			return row
		}
	}
}

// Everything works on a hot standby: nothing is written.
func TestHotStandby(t *testing.T) {
	for _, inst := range pgtest.Versions(t) {
		t.Run(inst.Version, func(t *testing.T) {
			primary := pgtest.Start(t, inst)
			p := prepare(t, primary)
			admin := p.Connect(t, p.db, cluster.Superuser, "")
			run(t, admin)(database.PlanInstall(t.Context(), admin, database.Options{With: []string{"vault"}}))
			id := one(t, admin, `select claimpool_vault.open('{"sub": "bob"}', $1)`, p.role)
			admin.Close(t.Context())
			primary.Exec(t, p.db, "create table notes (owner text); insert into notes values ('alice'), ('bob'); "+
				"alter table notes enable row level security; create policy own on notes using (owner = (select jwt('sub'))); "+
				"grant select on notes to "+p.role)
			if err := primary.Shutdown(); err != nil {
				t.Fatal(err)
			}
			standby := pgtest.Start(t, inst, pgtest.WithCopy(primary), pgtest.WithFile("standby.signal", nil))
			if err := primary.Resume(context.Background()); err != nil { // for the clean-up
				t.Fatal(err)
			}
			p.Cluster = standby
			s := p.login(t)
			s.want("select pg_is_in_recovery()::text", "true")
			s.want("select count(*)::text from notes", "0")
			s.as(`{"sub":"bob"}`).want("select string_agg(owner, ',') from notes", "bob")
			s.set("garbage").want("select count(*)::text from notes", invalid)
			s.want("select claimpool_vault.login('bob', 'correct horse')", "25006") // PostgreSQL's own words: cannot execute … during recovery
			s.want("select claimpool_vault.logout('"+id+"')::text", "25006")
			s.want("select claimpool_vault.resume('"+id+"') ->> 'sub'", "bob") // it reads alone
		})
	}
}
