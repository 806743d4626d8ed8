package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/audit"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/revocation"
)

// records is a database with the pack, and what a proxy writes it with.
type records struct {
	*pgtest.Cluster
	db    string
	table *audit.Table
	conn  *pgx.Conn // of a superuser
}

func eachVersion(t *testing.T, test func(t *testing.T, r *records)) {
	t.Helper()
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		test(t, newRecords(t, c, c.NewDatabase(t)))
	})
}

var installing sync.Mutex

func newRecords(t *testing.T, c *pgtest.Cluster, db string) *records {
	t.Helper()
	conn := c.Connect(t, db, cluster.Superuser, "")
	installing.Lock() // the roles are those of all databases of the cluster
	defer installing.Unlock()
	plan, err := database.PlanInstall(t.Context(), conn, database.Options{With: []string{"audit"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Run(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	role, password := c.NewRole(t)
	c.Exec(t, db, "GRANT claimpool_audit TO "+role)
	connect, err := revocation.Connector("audit", c.DSN(db, role, ""), func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil })
	if err != nil {
		t.Fatal(err)
	}
	return &records{c, db, &audit.Table{Connect: connect}, conn}
}

// ask gives the first column of the answer, which is text.
func (r *records) ask(t *testing.T, sql string, args ...any) string {
	t.Helper()
	rows, err := r.conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, s := range list {
		if s == nil {
			s = new("NULL")
		}
		texts = append(texts, *s)
	}
	return strings.Join(texts, "\n")
}

func (r *records) want(t *testing.T, sql, want string) {
	t.Helper()
	if got := r.ask(t, sql); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", sql, got, want)
	}
}

// reports collects what a stream says of itself.
type reports struct {
	mu   sync.Mutex
	list []string
}

func (r *reports) add(err error, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, fmt.Sprintf("%d: %v", lost, err))
}

func (r *reports) get() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.list...)
}

func TestATableHasARowForEachEvent(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *records) {
		s := audit.NewTable(r.table, audit.Options{Queue: 5000})
		s.Record(&claimpool.Event{
			Kind: claimpool.EventLogin, Client: 7, Addr: "192.0.2.1:5", Database: "shop", User: "visitor", Identity: identity("ann"),
		})
		s.Record(&claimpool.Event{Kind: claimpool.EventRefusal, User: "mallory", Code: claimpool.CodeInvalidPassword, Reason: "why"})
		s.Record(&claimpool.Event{
			Kind: claimpool.EventTransaction, Client: 7, Identity: identity("ann"), Server: 4711, Held: 1500 * time.Millisecond, Pool: "shop/app",
			Outcome: claimpool.OutcomeCommit, Rows: 12, Transactions: 2,
		})
		for i := range 2500 {
			s.Record(&claimpool.Event{Kind: claimpool.EventEnd, Client: uint64(i)})
		}
		s.Close()
		hash := claimpool.NewMark(claimpool.MarkToken, "https://id.example.com", "j1")
		r.want(t, `select concat_ws(',', event, client, addr, db, role, iss, sub, token_hash, sqlstate, reason, held, rows, more) from claimpool_audit.records where number <= 3 order by number`,
			fmt.Sprintf(`login,7,192.0.2.1:5,shop,app,https://id.example.com,ann,%x,{"rule": "people", "user": "visitor", "method": "jwt"}
refusal,28P01,why,{"user": "mallory"}
transaction,7,app,https://id.example.com,ann,%x,00:00:01.5,12,{"pool": "shop/app", "rule": "people", "method": "jwt", "server": 4711, "outcome": "commit", "transactions": 2}`, hash, hash))
		r.want(t, `select concat(count(*), ' ', max(number), ' ', count(distinct proxy), ' ', bool_and(recorded >= time and recorded - time < '1 minute')) from claimpool_audit.records`, "2503 2503 1 t")
	})
}

// evil are names that a client may choose.
var evil = []string{
	"ann\tlogin\troot", "ann\n\\.\n", "\\.", "\\N", "ann\\", "ann\\tx", "\\x41\\101", "ann\r\nroot\r", "ann\x0b\x0c\x08\x1b[2J", "ann\",\"sub\":\"root", "ann\\u0000", "ann\\\"",
	"日本 \u2028\u2029 \U0001f600", "{\"a\":1}", "',''); drop table claimpool_audit.records; --", strings.Repeat("\t\\\n", 80), "$1 %s {{.}}", "",
}

// TestAttackAuditTableInjection: the attacker chooses his subject, user name, database and, by wrong passwords, the reasons, and
// with them the bytes that go to the table: tabs and line ends, the end of COPY, the spelling of NULL, backslashes, JSON, zero bytes and bytes that are no
// UTF-8, and letters that the table's database does not have in its encoding.
//
// Must: Each event must be one row, whose fields are its own; neither his nor anybody else's may be missing; nothing of a token or of another
// claim is in it.
// Dialects: none
func TestAttackAuditTableInjection(t *testing.T) {
	t.Parallel()
	names := append([]string{"ann\x00root", "\xff\xfe\\", "ann\xc3"}, evil...)
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		foreign := "latin_" + c.NewDatabase(t)
		c.Exec(t, "postgres", "create database "+foreign+" encoding 'LATIN1' locale 'C' template template0")
		t.Cleanup(func() { c.Exec(t, "postgres", "drop database "+foreign+" with (force)") })
		for _, r := range []*records{newRecords(t, c, c.NewDatabase(t)), newRecords(t, c, foreign)} {
			s := audit.NewTable(r.table, audit.Options{Queue: 1000})
			for _, name := range names {
				s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 1, Addr: name, Identity: identity(name), User: name, Database: name, Reason: name})
			}
			s.Close()
			rows, err := r.conn.Query(t.Context(), `select event, addr, db, sub, reason, more ->> 'user', role, iss, (select count(*) from jsonb_object_keys(more)) from claimpool_audit.records order by number`)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				var event, role, iss string
				var texts [5]*string
				var keys int
				if err := rows.Scan(&event, &texts[0], &texts[1], &texts[2], &texts[3], &texts[4], &role, &iss, &keys); err != nil {
					t.Fatal(err)
				}
				if n >= len(names) {
					t.Fatalf("more rows than %d events", len(names))
				}
				want := strings.ReplaceAll(strings.ToValidUTF8(names[n], "\ufffd"), "\x00", "\ufffd")
				if r.db == foreign {
					want = spelled(want)
				}
				for _, got := range texts {
					if want != "" && (got == nil || *got != want) || want == "" && got != nil {
						t.Errorf("%q became %v", names[n], got)
					}
				}
				if event != "login" || role != "app" || iss != "https://id.example.com" || want != "" && keys != 3 {
					t.Errorf("%q: %s %s %s %d", names[n], event, role, iss, keys)
				}
				n++
			}
			if n != len(names) || rows.Err() != nil || s.Lost() != 0 {
				t.Errorf("%d rows of %d events: %v", n, len(names), rows.Err())
			}
			for _, word := range []string{"raw-token", "claim\"", "secret"} {
				if got := r.ask(t, `select count(*)::text from claimpool_audit.records r where strpos(r::text, $1) > 0`, word); got != "0" {
					t.Errorf("%s rows hold %q", got, word)
				}
			}
		}
	})
}

// spelled is what another encoding than UTF-8 keeps of a text.
func spelled(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "<U+%04X>", r)
		}
	}
	return b.String()
}

// While the database is away events wait; what does not fit is counted, and told in the table itself.
func TestATableThatIsAway(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *records) {
		for _, refuse := range []bool{false, true} {
			var said reports
			s := audit.NewTable(r.table, audit.Options{Queue: 10, Refuse: refuse, Report: said.add})
			s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 1})
			soon(t, "the first row", func() bool { return r.ask(t, `select max(client)::text from claimpool_audit.records`) == "1" })
			r.Exec(t, r.db, "alter table claimpool_audit.records rename to elsewhere")
			r.Exec(t, r.db, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'claimpool audit' and datname = '"+r.db+"'")
			s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 2})
			soon(t, "the report", func() bool { return len(said.get()) == 1 })
			full := 0
			for i := range 40 {
				if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: uint64(i) + 3}); errors.Is(err, audit.ErrFull) {
					full++
				}
			}
			if refuse && full != 40 || !refuse && (full != 0 || s.Lost() < 20) {
				t.Errorf("refuse %t: %d were refused, %d are lost", refuse, full, s.Lost())
			}
			r.Exec(t, r.db, "alter table claimpool_audit.elsewhere rename to records")
			soon(t, "the end of it", func() bool { return len(said.get()) == 2 })
			s.Close()
			if list := said.get(); !strings.Contains(list[0], `"claimpool_audit.records" does not exist`) || list[1] != fmt.Sprintf("%d: <nil>", s.Lost()) {
				t.Errorf("%q", list)
			}
			r.want(t, `select count(*)::text from claimpool_audit.records where client = 2`, "1")
			r.want(t, `select sum((more ->> 'lost')::int)::text from claimpool_audit.records where event = 'lost'`, fmt.Sprint(s.Lost()))
			r.want(t, `select (max(number) = count(*))::text from claimpool_audit.records`, "true")
			r.Exec(t, r.db, "truncate claimpool_audit.records")
		}
	})
}

// A proxy that ends while the table is away does not wait for it, and says what is lost.
func TestATableThatIsAwayAtTheEnd(t *testing.T) {
	var said reports
	down := errors.New("the network is down")
	s := audit.NewTable(&audit.Table{Connect: func(context.Context) (*pgx.Conn, error) { return nil, down }}, audit.Options{Queue: 5000, Report: said.add})
	for i := range 3000 {
		s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: uint64(i)})
	}
	s.Close()
	if list := said.get(); s.Lost() != 3000 || len(list) != 2 || !strings.HasPrefix(list[1], "3000: it has ended") {
		t.Errorf("%d %q", s.Lost(), said.get())
	}
}

// TestAttackAuditTableRow: the attacker knows of a row that the table does not take, by a check or a trigger that somebody has added,
// and hopes that it takes the rows of others with it, or that the stream tries it for ever.
//
// Must: The rows of all others must be written; his is counted, reported, and told in the table.
// Dialects: none
func TestAttackAuditTableRow(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *records) {
		r.Exec(t, r.db, `alter table claimpool_audit.records add check (sub <> 'mallory');
			create function refuse() returns trigger language plpgsql as $$ begin raise 'not him' using errcode = 'APP01'; end $$;
			create trigger refuse before insert on claimpool_audit.records for each row when (new.sub = 'trudy') execute function refuse()`)
		var said reports
		s := audit.NewTable(r.table, audit.Options{Queue: 1000, Refuse: true, Report: said.add})
		for i := range 100 {
			name := "ann"
			if i%50 == 33 {
				name = []string{"mallory", "trudy"}[i/50]
			}
			if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: uint64(i) + 1, Identity: identity(name)}); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		r.want(t, `select concat(count(*), ' ', count(distinct client), ' ', sum((more ->> 'lost')::int)) from claimpool_audit.records`, "99 98 2")
		if list := said.get(); s.Lost() != 2 || len(list) != 1 || !strings.Contains(list[0], "the database refuses a record") {
			t.Errorf("%d %q", s.Lost(), list)
		}
	})
}

// A batch whose answer was lost is written again, and is there once.
func TestATableHasNoRowTwice(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *records) {
		rows := r.table.Rows(
			claimpool.Event{Kind: claimpool.EventLogin, Client: 1}, claimpool.Event{Kind: claimpool.EventLogin, Client: 2}, claimpool.Event{Kind: claimpool.EventLogin, Client: 3})
		for _, batch := range []string{strings.SplitAfter(string(rows), "\n")[1], string(rows), string(rows)} {
			if _, err := r.table.Write([]byte(batch)); err != nil {
				t.Fatal(err)
			}
		}
		r.table.Close()
		r.want(t, `select concat(count(*), ' ', count(distinct client)) from claimpool_audit.records`, "3 3")
	})
}
