package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// listening is a pool where LISTEN is the listener's.
var listening = chosen(feature.Choices{Listen: feature.Shared}, 1, 0)

// news reads one notification, as "channel payload", or what comes in its place.
func (p *peer) news() string {
	p.t.Helper()
	typ, body, err := wire.ReadMessage(p, 1<<20)
	switch {
	case err != nil:
		return "EOF"
	case typ != wire.MsgNotificationResponse:
		return string(typ)
	}
	return string(bytes.ReplaceAll(bytes.TrimSuffix(body[4:], []byte{0}), []byte{0}, []byte{' '}))
}

// quiet checks that nothing comes but the answer to a question.
func (p *peer) quiet(why string) {
	p.t.Helper()
	if got := p.ask("select 'quiet'"); got != "T D(quiet) C(SELECT 1) Z(I)" {
		p.t.Errorf("%s: heard %s", why, got)
	}
}

// TestListenersShareOneConnection: clients hear what they listen to, at once and between their transactions, while the pool has one
// server for all of them.
func TestListenersShareOneConnection(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		role, password := c.NewRole(t)
		f := startOn(t, c, role, password, listening)
		a, b, other := f.login(t), f.login(t), f.login(t)
		a.expect("listen news", "C(LISTEN) Z(I)")
		b.expect("LISTEN News; listen \"Sport\"; LISTEN news", "C(LISTEN) C(LISTEN) C(LISTEN) Z(I)")
		a.expect("select count(*)::text from pg_listening_channels()", "T D(0) C(SELECT 1) Z(I)")
		other.expect("notify news, 'one'", "C(NOTIFY) Z(I)")
		for _, p := range []*peer{a, b} {
			if got := p.news(); got != "news one" {
				t.Errorf("heard %q", got)
			}
		}
		f.cluster.Exec(t, "postgres", "notify \"Sport\", 'beside the proxy'")
		if got := b.news(); got != "Sport beside the proxy" {
			t.Errorf("heard %q", got)
		}
		a.quiet("Sport is not for a")
		a.expect("begin", "C(BEGIN) Z(T)")
		f.cluster.Exec(t, "postgres", "notify news, 'two'")
		if got := b.news(); got != "news two" {
			t.Errorf("heard %q", got)
		}
		a.expect("select 1", "T D(1) C(SELECT 1) Z(T)")
		a.expect("rollback", "C(ROLLBACK) Z(I)")
		if got := a.news(); got != "news two" {
			t.Errorf("heard %q behind the transaction", got)
		}
		a.expect("unlisten news", "C(UNLISTEN) Z(I)")
		b.expect("unlisten *", "C(UNLISTEN) Z(I)")
		f.cluster.Exec(t, "postgres", "notify news, 'three'")
		a.quiet("a does not listen any more")
		b.quiet("b does not listen any more")
		soon(t, "the listener to end", func() bool { return f.Listeners() == 0 })
		a.expect("listen news", "C(LISTEN) Z(I)")
		f.cluster.Exec(t, "postgres", "notify news, 'four'")
		if got := a.news(); got != "news four" {
			t.Errorf("heard %q", got)
		}
	})
}

// TestHowToListen: what is answered by the proxy, and what is refused.
func TestHowToListen(t *testing.T) {
	f := startPlain(t, listening)
	p := f.login(t)
	batch := func(sql string) []byte {
		return bytes.Join([][]byte{wire.AppendParse(nil, "", sql), wire.AppendBind(nil, "", "", nil),
			wire.AppendDescribe(nil, wire.KindPortal, ""), wire.AppendExecute(nil, "", 0), wire.AppendSync(nil)}, nil)
	}
	p.tell("1 2 n C(LISTEN) Z(I)", batch("listen a"))
	p.tell("1 2 n C(UNLISTEN) Z(I)", batch("unlisten a"))
	p.tell("E(0A000) Z(I)", batch("listen a; listen b"))
	p.tell("E(0A000) Z(I)", prepare("s", "listen a"))
	p.expect("listen a; select 1", "E(0A000) Z(I)")
	p.expect("select 1; listen a", "E(0A000) Z(I)")
	p.expect("listen "+strings.Repeat("x", 64), "E(0A000) Z(I)")
	p.expect("listen ä", "E(0A000) Z(I)")
	p.expect("listen", "E(0A000) Z(I)")
	p.expect("begin", "C(BEGIN) Z(T)")
	p.expect("unlisten *", "C(UNLISTEN) Z(T)")
	p.expect("listen a; select 1", "E(0A000) Z(E)")
	p.expect("listen a", "E(25P02) Z(E)")
	p.expect("rollback", "C(ROLLBACK) Z(I)")
	for i := range 256 {
		p.expect(fmt.Sprintf("listen c%d", i), "C(LISTEN) Z(I)")
	}
	p.expect("listen more", "E(54000) Z(I)")
	p.expect("discard all", "C(DISCARD ALL) Z(I)")
	p.expect("listen more", "C(LISTEN) Z(I)")
	// In a pipeline every answer has its place.
	p.send(wire.AppendQuery(nil, "select 1"), wire.AppendQuery(nil, "listen piped"), wire.AppendQuery(nil, "select 2"), wire.AppendQuery(nil, "unlisten *"))
	for _, want := range []string{"T D(1) C(SELECT 1) Z(I)", "C(LISTEN) Z(I)", "T D(2) C(SELECT 1) Z(I)", "C(UNLISTEN) Z(I)"} {
		if got := p.answer(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	p.leave()
	l := f.login(t, [2]string{"client_encoding", "LATIN1"})
	l.expect("listen a", "E(0A000) Z(I)")
}

// TestListenInATransaction: it counts when the transaction commits.
func TestListenInATransaction(t *testing.T) {
	f := startPlain(t, listening)
	p, other := f.login(t), f.login(t)
	notify := func(payload string) {
		f.cluster.Exec(t, "postgres", "notify news, '"+payload+"'; notify sport, '"+payload+"'")
	}
	p.expect("begin", "C(BEGIN) Z(T)")
	p.expect("listen news", "C(LISTEN) Z(T)")
	p.expect("rollback", "C(ROLLBACK) Z(I)")
	notify("rolled back")
	p.quiet("the transaction was rolled back")
	for range 2 {
		p.expect("begin", "C(BEGIN) Z(T)")
		p.tell("1 2 n C(LISTEN) Z(T)", wire.AppendParse(nil, "", "listen news"), wire.AppendBind(nil, "", "", nil),
			wire.AppendDescribe(nil, wire.KindPortal, ""), wire.AppendExecute(nil, "", 0), wire.AppendSync(nil))
		p.expect("savepoint s", "C(SAVEPOINT) Z(T)")
		p.expect("listen sport", "C(LISTEN) Z(T)")
		p.expect("rollback to s", "C(ROLLBACK) Z(T)")
		p.expect("commit", "C(COMMIT) Z(I)")
		other.expect("select count(*)::text from pg_listening_channels()", "T D(0) C(SELECT 1) Z(I)")
		notify("committed")
		got := p.news()
		if got == "news rolled back" { // it was on its way when the client began to listen
			got = p.news()
		}
		if got != "news committed" {
			t.Errorf("heard %q", got)
		}
		p.quiet("and nothing else")
	}
	p.expect("begin", "C(BEGIN) Z(T)")
	p.expect("unlisten news", "C(UNLISTEN) Z(T)")
	p.expect("commit", "C(COMMIT) Z(I)")
	notify("unlistened")
	p.quiet("it does not listen any more")
	p.ask("begin")
	p.ask("listen news")
	p.leave()
	soon(t, "the listener to end", func() bool { return f.Listeners() == 0 })
	other.expect("select count(*)::text from pg_listening_channels()", "T D(0) C(SELECT 1) Z(I)")
}

// TestAListenerThatIsLostEndsItsClients: they cannot know what they have missed. Others are left alone, and transactions end.
func TestAListenerThatIsLostEndsItsClients(t *testing.T) {
	f := startPlain(t, chosen(feature.Choices{Listen: feature.Shared}, 2, 0))
	a, b, other := f.login(t), f.login(t), f.login(t)
	a.expect("listen news", "C(LISTEN) Z(I)")
	b.expect("listen news", "C(LISTEN) Z(I)")
	b.expect("begin", "C(BEGIN) Z(T)")
	f.cluster.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+f.role+"' AND query LIKE 'LISTEN%'")
	if got := a.gone(); got != "E(08006 fatal) EOF" {
		t.Error(got)
	}
	b.expect("select 1", "T D(1) C(SELECT 1) Z(T)")
	if got := b.ask("commit"); got != "C(COMMIT) Z(I)" {
		t.Error(got)
	}
	if got := b.gone(); got != "E(08006 fatal) EOF" {
		t.Error(got)
	}
	other.quiet("who does not listen stays")
	other.expect("listen news", "C(LISTEN) Z(I)")
	o := f.options
	o.Pool.Size++
	f.Reload(o.Config(t))
	if got := other.gone(); got != "E(57P01 fatal) EOF" {
		t.Error(got)
	}
}

// TestStormOfNotifications: a client that does not read is disconnected, and the others hear everything.
func TestStormOfNotifications(t *testing.T) {
	f := startPlain(t, listening)
	deaf, good := f.login(t), f.login(t)
	deaf.expect("listen news", "C(LISTEN) Z(I)")
	good.expect("listen news", "C(LISTEN) Z(I)")
	const gust = 100 // of 7 kB each: less than may wait for a client that reads
	for range 25 {
		f.cluster.Exec(t, "postgres", fmt.Sprintf("select pg_notify('news', repeat('x', 7000) || n) from generate_series(1, %d) n", gust))
		for n := range gust {
			if got := good.news(); !strings.HasPrefix(got, "news x") {
				t.Fatalf("notification %d: %.100s", n, got)
			}
		}
	}
	soon(t, "the deaf client to be disconnected", func() bool { return f.Clients() == 1 })
	good.quiet("the other one goes on")
}

// TestListenWithPgx: the driver's own interface, across identities that share one server.
func TestListenWithPgx(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			listening(o)
			o.Channels = []string{"tenant_${tenant_id}_*", "public"}
		})
		conns := map[string]*pgx.Conn{}
		for _, tenant := range []string{"t1", "t2"} {
			conns[tenant] = f.connect(t, tenant)
			for _, channel := range []string{"tenant_" + tenant + "_orders", "public"} {
				if _, err := conns[tenant].Exec(t.Context(), "LISTEN "+channel); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 5 {
			for _, tenant := range []string{"t1", "t2"} {
				if _, err := conns[tenant].Exec(t.Context(), "SELECT pg_notify('tenant_' || jwt('tenant_id') || '_orders', $1)", tenant); err != nil {
					t.Fatal(err)
				}
			}
			for tenant, c := range conns {
				n := wait(t, c)
				if n.Channel != "tenant_"+tenant+"_orders" || n.Payload != tenant {
					t.Errorf("%s heard %q on %s", tenant, n.Payload, n.Channel)
				}
				if got := value(t, c, "SELECT count(*) FROM note"); got != "10" {
					t.Errorf("%s saw %s rows", tenant, got)
				}
			}
		}
	})
}

func wait(t testing.TB, c *pgx.Conn) *pgconn.Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hears gives the notifications that have come, behind a question whose answer comes after them: up to the last one, and what comes
// soon behind it.
func hears(t testing.TB, c *pgx.Conn, last string) []string {
	t.Helper()
	var heard []string
	value(t, c, "SELECT 1")
	for {
		wait := 50 * time.Millisecond // for what should not come
		if last != "" && !slices.Contains(heard, last) {
			wait = patience
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return heard
		}
		heard = append(heard, n.Channel+" "+n.Payload)
	}
}

var listenChoices = map[string]func(*pgtest.ProxyOptions){
	"shared": chosen(feature.Choices{Listen: feature.Shared}, 2, 2),
	"pinned": chosen(feature.Choices{Listen: feature.Pin}, 3, 3),
	"session": func(o *pgtest.ProxyOptions) {
		inMode(pool.Session, 3)(o)
	},
}
