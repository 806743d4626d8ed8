package database_test

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

const (
	tooMany   = "53400"
	wrongName = "28P01"
)

// withSessions is a prepared database with the packs vault and ticket, their administrator, and a table whose rows belong to
// somebody. The passphrase of ada is "correct horse".
func withSessions(t *testing.T, test func(t *testing.T, p *prepared, admin *pgx.Conn)) {
	t.Helper()
	eachVersion(t, func(t *testing.T, p *prepared) {
		admin := p.Connect(t, p.db, cluster.Superuser, "")
		installing.Lock()
		run(t, admin)(database.PlanInstall(t.Context(), admin, database.Options{With: []string{"vault", "ticket"}}))
		installing.Unlock()
		p.Exec(t, p.db, `select claimpool_vault.set_account('ada', 'correct horse', '{"tenant_id": "acme"}');
			select claimpool_vault.set_account('eve', 'battery staple', '{"tenant_id": "globex"}');
			create table note (owner text);
			insert into note values ('ada'), ('eve');
			alter table note enable row level security;
			create policy vault on note using (owner = (select claimpool_vault.claim('sub')));
			create policy ticket on note using (owner = (select claimpool_ticket.claim('sub')));
			grant select on note to public`)
		test(t, p, admin)
	})
}

const rowsSeen = `select coalesce(string_agg(owner, ','), 'none') from note`

// inTransaction runs the statements of one transaction and gives the answer of the last one.
func (s *session) inTransaction(sql ...string) (answer string) {
	s.t.Helper()
	s.exec("begin")
	for _, text := range sql {
		answer = s.ask(text)
	}
	s.exec("rollback")
	return answer
}

func one(t testing.TB, conn *pgx.Conn, sql string, args ...any) (v string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestVault(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		s := p.login(t)
		s.want(rowsSeen, "none")
		s.want(`select claimpool_vault.claims()::text`, "NULL")
		id := s.value(`select claimpool_vault.login('ada', 'correct horse')`)
		if len(id) != 64 || id == s.value(`select claimpool_vault.login('ada', 'correct horse')`) {
			t.Errorf("session %q", id)
		}
		s.want(rowsSeen, "none") // a login is not yet a session on this connection
		resume := fmt.Sprintf(`select claimpool_vault.resume('%s') ->> 'tenant_id'`, id)
		if got := s.inTransaction(resume, rowsSeen); got != "ada" {
			t.Errorf("sees %s", got)
		}
		s.want(rowsSeen, "none") // with the transaction it is over
		s.want(resume, "acme")
		s.want(rowsSeen, "none")
		s.want(fmt.Sprintf(`select claimpool_vault.resume('%s', true) ->> 'sub'`, id), "ada")
		s.want(rowsSeen, "ada")
		s.want(`select claimpool_vault.claim('tenant_id') || coalesce(claimpool_vault.claim('none'), '-')`, "acme-")
		for _, wipe := range []string{"reset all", "discard all"} {
			s.exec(wipe)
			s.want(rowsSeen, "none")
			s.want(fmt.Sprintf(`select claimpool_vault.resume('%s', true) ->> 'sub'`, id), "ada")
		}
		s.want(`select claimpool_vault.logout()::text`, "true")
		s.want(rowsSeen, "none")
		s.want(resume, invalid)
		s.want(`select claimpool_vault.logout('`+id+`')::text`, "false")
		s.want(`select claimpool_vault.logout()::text`, "false")
		if got := one(t, admin, `select string_agg(sub || ' ' || (role = $1), ',') from claimpool_vault.list()`, p.role); got != "ada true" {
			t.Errorf("open: %s", got)
		}
	})
}

func TestVaultIsSteered(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		s := p.login(t)
		login := func() string {
			id := s.value(`select claimpool_vault.login('ada', 'correct horse')`)
			s.want(fmt.Sprintf(`select claimpool_vault.resume('%s', true) ->> 'sub'`, id), "ada")
			return id
		}
		for _, end := range []string{
			`select claimpool_vault.revoke((select id from claimpool_vault.list()))::text`,
			`select claimpool_vault.revoke_all('ada')::text`,
			`select 'x' || claimpool_vault.set_account('ada', 'correct horse')`,
			`update claimpool_vault.sessions set expires = now() - interval '1 ms' returning 'expired'`,
		} {
			id := login()
			if got := one(t, admin, end); got == "false" || got == "0" {
				t.Errorf("%s: %s", end, got)
			}
			s.want(rowsSeen, invalid) // on the connection where it was resumed, at once
			s.want(fmt.Sprintf(`select claimpool_vault.resume('%s')::text`, id), invalid)
			s.exec("reset all")
		}
		one(t, admin, `select claimpool_vault.open('{"sub": "bob"}', $1, interval '1 minute')`, p.role)
		if got := one(t, admin, `select count(*)::text from claimpool_vault.sessions`); got != "1" {
			t.Errorf("%s rows: what has expired stays", got)
		}
		p.Exec(t, p.db, `select claimpool_vault.remove_account('ada')`)
		s.want(`select claimpool_vault.login('ada', 'correct horse')`, wrongName)
		p.Exec(t, p.db, `select claimpool_vault.set_account('svc', null)`) // an account without a passphrase
		s.want(`select claimpool_vault.login('svc', '')`, wrongName)
		s.want(`select claimpool_vault.login('svc', null)`, wrongName)
		ad := &session{t: t, Conn: admin}
		for sql, want := range map[string]string{
			`select claimpool_vault.open('[]', current_user)`:                                                     "22023",
			`select claimpool_vault.open(null, current_user)`:                                                     "22023",
			`select claimpool_vault.open('{"sub": 1}', current_user)`:                                             "22023",
			`select claimpool_vault.open('{"sub": "a"}', 'nobody there')`:                                         "42704",
			`select claimpool_vault.open('{"sub": "a"}', current_user, interval '31 days')`:                       "22023",
			`select claimpool_vault.open('{"sub": "a"}', current_user, interval '-1 s')`:                          "22023",
			`select claimpool_vault.open('{"sub": "a"}', current_user, null)`:                                     "22023",
			`select claimpool_vault.set_account('ada', 'short')::text`:                                            "22023",
			`select claimpool_vault.set_account('', 'long enough')::text`:                                         "22023",
			`select claimpool_vault.set_account('a', 'long enough', '[]')::text`:                                  "22023",
			`select claimpool_vault.set_account('a', 'long enough', null)::text`:                                  "22023",
			`select count(claimpool_vault.open('{"sub": "a"}', current_user))::text from generate_series(1, 100)`: "100",
			`select count(claimpool_vault.open('{"sub": "z"}', current_user))::text from generate_series(1, 101)`: tooMany,
			`begin; set transaction read only; select claimpool_vault.login('ada', 'correct horse'); rollback`:    "25006",
		} {
			if got := ad.askSimple(sql); got != want {
				t.Errorf("%s: got %s, want %s", sql, got, want)
			}
		}
	})
}

// askSimple is ask for several statements: the value of the last row.
func (s *session) askSimple(sql string) string {
	s.t.Helper()
	results, err := s.PgConn().Exec(s.t.Context(), sql).ReadAll()
	if err != nil {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) {
			s.t.Fatalf("%s: %v", sql, err)
		}
		s.PgConn().Exec(s.t.Context(), "rollback").Close()
		return pg.Code
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return "no row"
	}
	return string(last.Rows[0][0])
}

// The verifier is PBKDF2 as everybody else computes it, so its strength is known.
func TestVaultStretches(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		for _, passphrase := range []string{"x", "correct horse", "Grüße", strings.Repeat("long ", 20)} {
			salt := []byte("0123456789abcdef")
			key, err := pbkdf2.Key(sha256.New, passphrase, salt, 4096, 32)
			if err != nil {
				t.Fatal(err)
			}
			var digits strings.Builder
			for _, b := range key {
				fmt.Fprintf(&digits, "%08b", b)
			}
			want := sha256.Sum256([]byte(digits.String()))
			var got []byte
			if err := admin.QueryRow(t.Context(), `select claimpool_vault.stretch($1, $2)`, passphrase, salt).Scan(&got); err != nil || !hmac.Equal(got, want[:]) {
				t.Errorf("%q: got %x (%v), want %x", passphrase, got, err, want)
			}
		}
	})
}

func TestTicket(t *testing.T) {
	withSessions(t, func(t *testing.T, p *prepared, admin *pgx.Conn) {
		s, other := p.login(t), p.login(t)
		sign := func(more string) string {
			return one(t, admin, `select claimpool_ticket.sign('{"sub": "ada", "o": {"a.b": "{}"}}', '`+p.role+`'`+more+`)`)
		}
		present := func(ticket string) string {
			return `select claimpool_ticket.present($$` + ticket + `$$, true) ->> 'sub'`
		}
		any, bound := sign(""), sign(`, connection => '`+s.value(`select claimpool_ticket.connection()`)+`'`)
		s.want(rowsSeen, "none")
		s.want(present(bound), "ada")
		s.want(rowsSeen, "ada")
		s.want(`select claimpool_ticket.claims()::text`, `{"o": {"a.b": "{}"}, "sub": "ada"}`)
		other.want(present(bound), invalid)
		other.want(present(any), "ada")
		other.exec("reset all")
		if got := other.inTransaction(`select claimpool_ticket.present($$`+any+`$$)::text`, rowsSeen); got != "ada" {
			t.Errorf("sees %s", got)
		}
		other.want(rowsSeen, "none")
		p.Exec(t, p.db, `select claimpool_ticket.rotate()`)
		other.want(present(any), "ada") // of the key before
		other.want(present(sign("")), "ada")
		p.Exec(t, p.db, `select claimpool_ticket.rotate()`)
		other.want(present(any), invalid)
		s.want(rowsSeen, invalid)
		short := sign(`, interval '200 ms'`)
		other.want(present(short), "ada")
		for other.ask(rowsSeen) == "ada" { // until it is over
		}
		other.want(rowsSeen, invalid)
		ad := &session{t: t, Conn: admin}
		for sql, want := range map[string]string{
			`select claimpool_ticket.sign('{}', current_user)`:                                                    "22023",
			`select claimpool_ticket.sign(null, current_user)`:                                                    "22023",
			`select claimpool_ticket.sign('{"sub": "a"}', 'nobody there')`:                                        "42704",
			`select claimpool_ticket.sign('{"sub": "a"}', current_user, interval '25 hours')`:                     "22023",
			`select claimpool_ticket.sign('{"sub": "a"}', current_user, interval '0')`:                            "22023",
			`select left(claimpool_ticket.present(claimpool_ticket.sign('{"sub": "a"}', current_user))::text, 1)`: "{",
		} {
			if got := ad.ask(sql); got != want {
				t.Errorf("%s: got %s, want %s", sql, got, want)
			}
		}
		// The MAC is HMAC-SHA-256 as everybody else computes it.
		var inside []byte
		if err := admin.QueryRow(t.Context(), `select inside from claimpool_ticket.keys order by created desc limit 1`).Scan(&inside); err != nil {
			t.Fatal(err)
		}
		key := make([]byte, 32)
		for i := range key {
			key[i] = inside[i] ^ 0x36
		}
		ticket := sign("")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("claimpool-ticket-v1|" + ticket[64:]))
		if hex.EncodeToString(mac.Sum(nil)) != ticket[:64] {
			t.Error("another MAC")
		}
	})
}

// TestAttackVaultAfterACrash: the database has crashed, and a vault in an unlogged table is empty. The attacker is the next to log
// in, and hopes that the id of the victim's session is now his, or the other way around.
//
// Must: The sessions of an unlogged table have ended, and nobody inherits one; those of a logged table are their owners'.
// Dialects: sql
// Not native: sessions in a vault are a variant of the SQL dialect
func TestAttackVaultAfterACrash(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst, pgtest.WithSetting("synchronous_commit", "on"))
		ids := map[string]string{}
		for _, db := range []string{"logged", "unlogged"} {
			c.Exec(t, "postgres", "create database "+db)
			conn := c.Connect(t, db, cluster.Superuser, "")
			run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{With: []string{"vault"}, Unlogged: db == "unlogged"}))
			ids[db] = one(t, conn, `select claimpool_vault.open('{"sub": "ada"}', current_user)`)
			conn.Close(context.Background())
		}
		if err := c.Halt(); err != nil {
			t.Fatal(err)
		}
		if err := c.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		for db, want := range map[string]string{"logged": "ada", "unlogged": invalid} {
			s := &session{t: t, Conn: c.Connect(t, db, cluster.Superuser, "")}
			if got := s.ask(`select claimpool_vault.resume($1) ->> 'sub'`, ids[db]); got != want {
				t.Errorf("%s: got %s, want %s", db, got, want)
			}
			s.value(`select claimpool_vault.open('{"sub": "eve"}', current_user)`)
			if got := s.ask(`select claimpool_vault.resume($1) ->> 'sub'`, ids[db]); got != want {
				t.Errorf("%s, after another login: got %s, want %s", db, got, want)
			}
		}
	})
}

func TestLifeOfSessionPacks(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", "create role admin login createrole password 'p'; create role service login password 'p'; create role app login")
		c.Exec(t, "postgres", "create database app owner admin")
		if inst.Major < 15 {
			c.Exec(t, "app", "alter schema public owner to admin; revoke create on schema public from public")
		}
		conn := c.Connect(t, "app", "admin", "p")
		opts := database.Options{With: []string{"vault", "ticket"}}
		run(t, conn)(database.PlanInstall(t.Context(), conn, opts))
		if p, err := database.PlanInstall(t.Context(), conn, opts); err != nil || !p.Empty() {
			t.Errorf("it would be done again: %v %v", p, err)
		}
		// Whoever installs may steer, and let a service do so; he is not the owner.
		one(t, conn, `select claimpool_vault.open('{"sub": "ada"}', 'app')`)
		one(t, conn, `select claimpool_ticket.sign('{"sub": "ada"}', 'app')`)
		c.Exec(t, "app", "set session authorization admin; grant execute on function claimpool_vault.open, claimpool_ticket.sign to service")
		one(t, c.Connect(t, "app", "service", "p"), `select claimpool_vault.open('{"sub": "eve"}', 'app')`)
		for _, sql := range []string{`select * from claimpool_vault.sessions`, `select * from claimpool_ticket.keys`, `select claimpool_vault.put('{}', 'app', '1 s')`} {
			if got := (&session{t: t, Conn: conn}).ask(sql); got != denied {
				t.Errorf("%s: %s", sql, got)
			}
		}
		if s := status(t, conn, "app"); len(s.Packs) != 2 || len(s.Problems) != 0 {
			t.Errorf("packs %q, problems %q", s.Packs, s.Problems)
		}
		for _, test := range []struct{ do, undo, want string }{
			{"grant execute on function claimpool_vault.open to app", "revoke execute on function claimpool_vault.open from app", "role app may call claimpool_vault.open"},
			{"grant execute on function claimpool_ticket.mac to public", "revoke execute on function claimpool_ticket.mac from public", "role app may call claimpool_ticket.mac"},
			{"grant select on claimpool_vault.sessions to app", "revoke all on claimpool_vault.sessions from app", "SELECT on claimpool_vault.sessions is granted to app"},
			{"grant create on schema claimpool_ticket to app", "revoke create on schema claimpool_ticket from app", "CREATE on schema claimpool_ticket"},
			{"alter function claimpool_vault.find owner to app", "alter function claimpool_vault.find owner to claimpool_owner", "does not belong to claimpool_owner"},
		} {
			c.Exec(t, "app", test.do)
			if s := status(t, c.Connect(t, "app", cluster.Superuser, ""), "app"); len(s.Problems) != 1 || !strings.Contains(s.Problems[0], test.want) {
				t.Errorf("%s: %q", test.do, s.Problems)
			}
			c.Exec(t, "app", test.undo)
		}
		run(t, conn)(database.PlanRemove(t.Context(), conn))
		if got := one(t, conn, `select count(*)::text from pg_namespace where nspname like 'claimpool%'`); got != "0" {
			t.Errorf("%s schemas are left", got)
		}
	})
}
