package proxy_test

import (
	"fmt"
	"net"
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
	deadline := time.Now().Add(20 * time.Second)
	got := ""
	for time.Now().Before(deadline) {
		if got = value(t, admin, "SELECT count(*) || ' ' || min(id) FROM fire"); got == fmt.Sprintf("%d 0", clients) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d clients inserted one row each and left: there are %s", clients, got)
}

// sendAndClose logs in by trust, sends b and closes without reading.
func sendAndClose(t *testing.T, p *pgtest.Proxy, db, user string, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
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
