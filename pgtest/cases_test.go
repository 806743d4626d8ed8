package pgtest

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pool"
)

const caseTables = scriptTables + `
create table refusing (id int);
create function refuse() returns trigger language plpgsql as $$begin raise exception 'refused'; end$$;
create trigger refuse before insert on refusing execute function refuse();
grant insert on refusing to wire;
`

// minCases is how many there must be at least.
const minCases = 150

// way is one of the places where cases are played.
type way struct {
	name     string
	mode     pool.Mode // empty: straight at PostgreSQL
	switches bool      // somebody else has the one server before each exchange that begins a transaction
}

var ways = []way{{"direct", "", false}, {"session", pool.Session, false}, {"session/switches", pool.Session, true},
	{"transaction", pool.Transaction, false}, {"transaction/switches", pool.Transaction, true}}

// Every case must give, byte for byte of what is compared, the same answers straight at PostgreSQL and through the proxy.
func TestWireCases(t *testing.T) {
	files, err := filepath.Glob("scripts/cases/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	books, n := map[string][]Case{}, 0
	for _, file := range files {
		if books[file], err = ReadCases(file); err != nil {
			t.Fatal(err)
		}
		n += len(books[file])
	}
	if n < minCases {
		t.Errorf("%d cases, fewer than %d", n, minCases)
	}
	EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		if *update && inst != Newest(t) {
			return // the answers are written from the newest version, and compared on all
		}
		c := Start(t, inst, WithHBA("host all postgres 127.0.0.1/32 scram-sha-256\nhost all wire 127.0.0.1/32 trust\n"))
		c.Exec(t, "postgres", caseTables)
		if *update {
			ways = ways[:1]
		}
		for _, w := range ways {
			t.Run(w.name, func(t *testing.T) {
				database := c.NewDatabase(t)
				c.Exec(t, database, strings.ReplaceAll(caseTables, "create role wire login;", ""))
				if !*update {
					t.Parallel()
				}
				w.play(t, c, database, books)
			})
		}
		for file, cases := range books {
			if *update {
				if err := WriteCases(file, cases); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// play plays all cases in one place.
func (w way) play(t *testing.T, c *Cluster, database string, books map[string][]Case) {
	address := c.Address()
	if w.mode != "" {
		cfg := DefaultPool()
		cfg.Mode, cfg.Size = w.mode, 1 // one server: each case finds what the one before it has left
		address = StartProxy(t, ProxyOptions{Cluster: c, Database: database, Pool: cfg, Role: "wire"}).Address()
	}
	tidy := c.Connect(t, database, cluster.Superuser, "")
	between := func() {}
	if w.switches && w.mode == pool.Transaction {
		between = anotherIdentityOf(t, address, database)
	}
	for file, cases := range books {
		for i := range cases {
			if cases[i].Session && w.mode == pool.Transaction {
				continue
			}
			if w.switches && w.mode == pool.Session { // a session of somebody else
				Login(t, address, database, "somebody else").Close()
			}
			if _, err := tidy.Exec(t.Context(), "truncate items, parents, children"); err != nil {
				t.Fatal(err)
			}
			cases[i].play(t, file, Login(t, address, database, "wire"), between)
		}
	}
}

// play plays one case, and notes the answers with -update.
func (c *Case) play(t *testing.T, file string, conn net.Conn, between func()) {
	t.Helper()
	defer conn.Close()
	front := pgproto3.NewFrontend(conn, conn)
	for i := range c.Exchanges {
		x := &c.Exchanges[i]
		got, err := x.Play(conn, front, func(b []byte) error { _, err := conn.Write(b); return err })
		if *update && err == nil {
			x.Want = got
		}
		if err != nil || got != x.Want {
			t.Errorf("%s: %s: %s\n got %s %v\nwant %s", filepath.Base(file), c.Title, x.Send, got, err, x.Want)
			return
		}
		if strings.HasSuffix(got, "Z(I)") {
			between()
		}
	}
}

// anotherIdentityOf is anotherIdentity for a database.
func anotherIdentityOf(t *testing.T, address, database string) func() {
	other := Login(t, address, database, "somebody else")
	front := pgproto3.NewFrontend(other, other)
	return func() {
		t.Helper()
		front.SendQuery(&pgproto3.Query{String: "prepare s1 as select 'from somebody else' as t"})
		if err := front.Flush(); err != nil {
			t.Fatal(err)
		}
		if got, err := receive(front, []string{"ReadyForQuery"}); err != nil || len(got) != 2 {
			t.Fatalf("somebody else got %q, %v", got, err)
		}
	}
}
