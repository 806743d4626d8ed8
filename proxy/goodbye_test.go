package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestGoodbyeBehindRequestsLosesNothing: a client may send its last requests and Terminate in one write and close at once;
// PostgreSQL carries them out, and so must the proxy. Afterwards the server is free for others.
func TestGoodbyeBehindRequestsLosesNothing(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	db := c.NewDatabase(t)
	role, password := c.NewRole(t)
	c.Exec(t, db, "CREATE TABLE fire (id int); GRANT ALL ON fire TO PUBLIC")
	o := pgtest.ProxyOptions{Cluster: c, Database: db, Role: role, Password: password, Pool: pgtest.DefaultPool()}
	o.Pool.Size = 2
	p := pgtest.StartProxy(t, o)
	const clients = 50
	for i := range clients {
		b := wire.AppendQuery(nil, fmt.Sprintf("INSERT INTO fire VALUES (%d)", i))
		if i%2 == 1 { // extended, and with a transaction left open that PostgreSQL rolls back
			b = wire.AppendParse(nil, "", fmt.Sprintf("INSERT INTO fire VALUES (%d)", i))
			b = wire.AppendSync(wire.AppendExecute(wire.AppendBind(b, "", "", nil), "", 0))
			b = wire.AppendQuery(b, "BEGIN")
			b = wire.AppendQuery(b, "INSERT INTO fire VALUES (-1)")
		}
		sendAndClose(t, p, db, role, wire.AppendTerminate(b))
	}
	admin := c.Connect(t, db, "postgres", "")
	deadline := time.Now().Add(patience)
	got := ""
	for time.Now().Before(deadline) {
		if got = value(t, admin, "SELECT count(*) || ' ' || min(id) FROM fire"); got == fmt.Sprintf("%d 0", clients) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d clients inserted one row each and left: there are %s", clients, got)
}

// TestGoodbyeFromTheQueueLosesNothing: a client that waits for a server says goodbye in a packet of its own and closes at once, and its
// request is carried out, as PostgreSQL would. One that closes without a word leaves the queue.
func TestGoodbyeFromTheQueueLosesNothing(t *testing.T) {
	f, holder := full(t, func(*pgtest.ProxyOptions) {})
	holder.expect("CREATE TEMP TABLE fire (how text)", "C(CREATE TABLE) Z(T)")
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	holder.expect("BEGIN", "C(BEGIN) Z(T)")
	want := []string{"0"}
	for _, test := range []struct {
		name    string
		padding int // bytes
		late    int // the last bytes of the request, which are sent while it waits
		goodbye bool
		runs    bool
	}{
		{"goodbye", 0, 0, true, true},
		{"goodbye with the end of the request", 0, 9, true, true},
		{"goodbye behind more than a buffer", 100_000, 0, true, true},
		{"no goodbye", 0, 0, false, false},
		{"no goodbye behind half of a request", 0, -9, false, false},
		{"goodbye in the middle of a request", 0, -9, true, false}, // those are bytes of the request, for PostgreSQL too
	} {
		for _, secure := range []bool{false, true} {
			p := f.dial(t)
			if secure {
				p.secure(f)
			}
			p.start(wire.Version30, f.role).ready()
			b := wire.AppendQuery(nil, fmt.Sprintf("INSERT INTO fire VALUES ('%s %v') -- %s", test.name, secure, strings.Repeat("x", test.padding)))
			if test.late != 0 { // behind a whole request, so that it waits
				b = append(wire.AppendQuery(nil, "SELECT 1"), b...)
			}
			cut := len(b) - max(test.late, -test.late)
			p.send(b[:cut])
			f.awaitWaiting(t, len(want))
			if test.late > 0 {
				p.send(b[cut:])
			}
			if test.goodbye {
				p.send(wire.AppendTerminate(nil))
			}
			p.Close()
			if !test.runs {
				f.awaitWaiting(t, len(want)-1)
				continue
			}
			want = append(want, fmt.Sprintf("%s %v", test.name, secure))
			other := f.login(t) // it leaves without a word behind him, so the proxy has heard of him when it has heard of it
			other.query("SELECT 1")
			f.awaitWaiting(t, len(want))
			other.Close()
			f.awaitWaiting(t, len(want)-1)
		}
	}
	last := f.login(t)
	last.query("SELECT string_agg(how, ',') FROM fire")
	f.awaitWaiting(t, len(want))
	holder.expect("COMMIT", "C(COMMIT) Z(I)")
	if got, want := last.answer(), "T D("+strings.Join(want[1:], ",")+") C(SELECT 1) Z(I)"; got != want {
		t.Errorf("carried out: %s, want %s", got, want)
	}
}

// sendAndClose logs in by trust, sends b and closes without reading.
func sendAndClose(t *testing.T, p *pgtest.Proxy, db, user string, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", user}, {"database", db}})); err != nil {
		t.Fatal(err)
	}
	for {
		typ, _, err := wire.ReadMessage(conn, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if typ == wire.MsgReadyForQuery {
			break
		}
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}
