package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// prepare is Parse and Sync.
func prepare(name, sql string, oids ...uint32) []byte {
	return wire.AppendSync(wire.AppendParse(nil, name, sql, oids...))
}

// execute is Bind, Execute and Sync.
func execute(name string, args ...string) []byte {
	var values [][]byte
	for _, a := range args {
		values = append(values, []byte(a))
	}
	return wire.AppendSync(wire.AppendExecute(wire.AppendBind(nil, "", name, values), "", 0))
}

// tell sends and compares the answer.
func (p *peer) tell(want string, messages ...[]byte) {
	p.t.Helper()
	p.send(messages...)
	if got := p.answer(); got != want {
		p.t.Errorf("got %s, want %s", got, want)
	}
}

const parsed = "1 Z(I)"

// TestStatementsFollowTheirClients: many clients of many identities, with pgx's own defaults: everything is prepared under a
// name, and executed later on whatever server there is.
func TestStatementsFollowTheirClients(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		for _, mode := range []pool.Mode{pool.Transaction, pool.Statement} {
			t.Run(string(mode), func(t *testing.T) { statementsFollow(t, start, mode) })
		}
	})
}

func statementsFollow(t *testing.T, start starter, mode pool.Mode) {
	f := start(t, func(o *pgtest.ProxyOptions) {
		inMode(mode, 3)(o)
		o.Statements = prepared.Limits{Server: 5, Client: 100, Bytes: 1 << 20}
	})
	var wg sync.WaitGroup
	for i := range 12 {
		tenant := fmt.Sprintf("t%d", i%4)
		c := f.connect(t, tenant)
		wg.Go(func() {
			for n := range 60 {
				var got string
				sql := fmt.Sprintf("SELECT coalesce(string_agg(DISTINCT tenant, ','), 'nobody') || ' ' || count(*) || ' ' || $1 || ' %d' FROM note", n%8)
				err := c.QueryRow(t.Context(), sql, "argument").Scan(&got)
				if want := fmt.Sprintf("%s argument %d", own(tenant), n%8); err != nil || got != want {
					t.Errorf("%q, %v; want %q", got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestStatementsInPgxPipelines: pgx prepares and executes a batch in one pipeline, with an error in the middle.
func TestStatementsInPgxPipelines(t *testing.T) {
	eachTenants(t, 1, pgxPipelines)
}

func pgxPipelines(t *testing.T, f *tenants) {
	a, b := f.connect(t, "t1"), f.connect(t, "t2")
	for range 10 {
		for tenant, c := range map[string]*pgx.Conn{"t1": a, "t2": b} {
			batch := &pgx.Batch{}
			for i := range 5 {
				batch.Queue("SELECT tenant || $1 FROM note LIMIT 1", fmt.Sprint(i))
			}
			batch.Queue("SELECT 1 / $1::int", 0)
			batch.Queue("SELECT 'never'")
			results := c.SendBatch(t.Context(), batch)
			for i := range 5 {
				var got string
				if err := results.QueryRow().Scan(&got); err != nil || got != tenant+fmt.Sprint(i) {
					t.Fatalf("%q, %v", got, err)
				}
			}
			var n int
			if err := results.QueryRow().Scan(&n); sqlState(err) != "22012" {
				t.Fatalf("%v", err)
			}
			results.Close()
		}
	}
}

// TestLimitsOfStatements: what is over a client's bounds is refused like an error of PostgreSQL, and the client goes on; what
// is over a server's is not noticed.
func TestLimitsOfStatements(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		poolOf(1)(o)
		o.Statements = prepared.Limits{Server: 2, Client: 4, Bytes: 100_000}
	})
	p := f.login(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		p.tell(parsed, prepare(name, "select '"+name+"'"))
	}
	for range 3 {
		for _, name := range []string{"a", "b", "c", "d"} {
			p.tell("2 D("+name+") C(SELECT 1) Z(I)", execute(name))
		}
	}
	p.tell("E(54000) Z(I)", prepare("e", "select 'e'"))
	p.tell("C(BEGIN) Z(T)", wire.AppendQuery(nil, "begin"))
	p.tell("E(54000) Z(E)", prepare("e", "select 'e'"))
	p.tell("C(ROLLBACK) Z(I)", wire.AppendQuery(nil, "rollback"))
	p.tell("3 1 2 D(e) C(SELECT 1) Z(I)", wire.AppendClose(nil, wire.KindStatement, "a"), wire.AppendParse(nil, "e", "select 'e'"), execute("e"))
	p.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, "e")))
	for _, size := range []int{99_000, 200_000, 5_000_000} { // in the loop's buffer, larger, much larger
		long := "select length('" + strings.Repeat("x", size) + "')::text"
		want := parsed
		if size > 100_000 {
			want = "E(54000) Z(I)"
		}
		p.tell(want, prepare("long", long))
		if want == parsed {
			p.tell("2 D(99000) C(SELECT 1) Z(I)", execute("long"))
			p.tell("E(54000) Z(I)", prepare("long2", long))
			p.tell("3 Z(I)", wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, "long")))
		}
	}
	if n := p.one("select count(*)::text from pg_prepared_statements where name like 'claimpool%'"); n != "2" && n != "3" {
		t.Errorf("%s statements on the server", n)
	}
	p.leave()
	soon(t, "for the texts to be forgotten", func() bool { return f.Texts() == 0 })
}

// TestStatementsInPieces: messages that name statements may come byte by byte.
func TestStatementsInPieces(t *testing.T) {
	f := startPlain(t, poolOf(1))
	p := f.login(t)
	all := bytes.Join([][]byte{prepare("a", "select $1::text || 'x'", 25), execute("a", "1"), execute("a", "2"),
		wire.AppendSync(wire.AppendClose(nil, wire.KindStatement, "a"))}, nil)
	for piece := 1; piece < len(all); piece = piece*2 + 1 {
		for i := 0; i < len(all); i += piece {
			p.send(all[i:min(len(all), i+piece)])
		}
		for _, want := range []string{parsed, "2 D(1x) C(SELECT 1) Z(I)", "2 D(2x) C(SELECT 1) Z(I)", "3 Z(I)"} {
			if got := p.answer(); got != want {
				t.Fatalf("in pieces of %d: got %s, want %s", piece, got, want)
			}
		}
	}
}

// TestChangedResultIsMendedByPreparingAnew: when a table has changed, preparing anew is enough on every server.
func TestChangedResultIsMendedByPreparingAnew(t *testing.T) {
	f := startPlain(t, poolOf(2))
	p, q, hold := f.login(t), f.login(t), f.login(t)
	f.cluster.Exec(t, "postgres", "create table changing (a int); alter table changing owner to "+f.role)
	t.Cleanup(func() { f.cluster.Exec(t, "postgres", "drop table changing") })
	onBoth := func(use func()) {
		use()
		hold.tell("C(BEGIN) Z(T)", wire.AppendQuery(nil, "begin"))
		use()
		hold.tell("C(ROLLBACK) Z(I)", wire.AppendQuery(nil, "rollback"))
	}
	p.tell(parsed, prepare("s", "select * from changing"))
	q.tell(parsed, prepare("s", "select * from changing"))
	onBoth(func() { p.tell("2 C(SELECT 0) Z(I)", execute("s")) })
	f.cluster.Exec(t, "postgres", "alter table changing add b int") // beside the proxy
	p.tell("E(0A000) Z(I)", execute("s"))
	p.tell("3 1 Z(I)", wire.AppendClose(nil, wire.KindStatement, "s"), prepare("s", "select * from changing"))
	onBoth(func() { p.tell("2 C(SELECT 0) Z(I)", execute("s")) })
	q.tell("3 1 Z(I)", wire.AppendClose(nil, wire.KindStatement, "s"), prepare("s", "select * from changing"))
	onBoth(func() { q.tell("2 C(SELECT 0) Z(I)", execute("s")) })
	p.tell("C(ALTER TABLE) Z(I)", wire.AppendQuery(nil, "alter table changing add c int"))
	q.tell("3 1 Z(I)", wire.AppendClose(nil, wire.KindStatement, "s"), prepare("s", "select * from changing"))
	onBoth(func() { q.tell("2 C(SELECT 0) Z(I)", execute("s")) })
}

// TestStatementsMeanWhatTheirSettingsSay: clients of one identity share a text, but not what their settings make of it.
func TestStatementsMeanWhatTheirSettingsSay(t *testing.T) {
	f := startPlain(t, poolOf(1))
	const sql = "select '1/2/2024'::date - '1/1/2024'::date"
	a, b := f.login(t, [2]string{"options", "-c DateStyle=SQL,MDY"}), f.login(t, [2]string{"options", "-c DateStyle=SQL,DMY"})
	a.tell(parsed, prepare("s", sql))
	b.tell(parsed, prepare("s", sql))
	for range 3 {
		a.tell("2 D(1) C(SELECT 1) Z(I)", execute("s"))
		b.tell("2 D(31) C(SELECT 1) Z(I)", execute("s"))
	}
	a.ask("set DateStyle = 'SQL,DMY'")
	a.tell("2 D(31) C(SELECT 1) Z(I)", execute("s"))
}

// TestStatementsWithoutIsolation: where identities do not matter on a connection, all clients share equal statements.
func TestStatementsWithoutIsolation(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		poolOf(1)(o)
		o.Pool.Isolation = pool.Off
	})
	a, b := f.login(t), f.dial(t).start(wire.Version30, "somebody else").ready()
	a.tell(parsed, prepare("s", "select 'shared'"))
	b.tell(parsed, prepare("t", "select 'shared'"))
	for range 3 {
		a.tell("2 D(shared) C(SELECT 1) Z(I)", execute("s"))
		b.tell("2 D(shared) C(SELECT 1) Z(I)", execute("t"))
	}
	a.tell("E(26000) Z(I)", execute("t"))
	if names := secretNames(a, "%shared%"); len(names) != 1 || f.Texts() != 1 {
		t.Errorf("%q on the server, %d texts", names, f.Texts())
	}
}

// TestStatementsInSessionMode: where a client has its server for itself, names pass as they are, and SQL knows them.
func TestStatementsInSessionMode(t *testing.T) {
	f := startPlain(t, inMode(pool.Session, 1))
	p := f.login(t)
	p.tell(parsed, prepare("s", "select 'own'"))
	p.expect("execute s", "T D(own) C(SELECT 1) Z(I)")
	p.expect("deallocate s", "C(DEALLOCATE) Z(I)")
	p.tell("E(26000) Z(I)", execute("s"))
}
