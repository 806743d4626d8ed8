package proxy_test

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// TestUnixSockets: clients come in over a unix socket, and servers are reached over one.
func TestUnixSockets(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Server = &server.Config{
			Hosts: []string{c.SocketDir() + ":" + strconv.Itoa(c.Port)}, Database: "postgres", ConnectTimeout: 10 * time.Second,
			Password: password(o.Password),
		}
	})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), ".s.PGSQL.6432"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Serve(&proxy.Listener{Listener: l}) }()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: conn, t: t}
	p.SetDeadline(time.Now().Add(patience))
	p.send(wire.AppendSSLRequest(nil))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.start(wire.Version30, f.role).ready()
	p.expect("SELECT inet_client_addr() IS NULL", "T D(t) C(SELECT 1) Z(I)")
	f.sleeps(t, p)
	f.cancel(t, p)
	if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
		t.Errorf("cancel over sockets: %s", got)
	}
	p.leave()
	f.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func password(text string) func(context.Context) (claimpool.Secret, error) {
	return func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(text), nil }
}

// TestTLSOnBothSides: clients and servers speak TLS, with results and uploads of many records, and cancel requests.
func TestTLSOnBothSides(t *testing.T) {
	ca := pgtest.NewCA(t)
	c := pgtest.Start(t, pgtest.Newest(t), pgtest.WithTLS(t, ca))
	role, secret := c.NewRole(t)
	f := startOn(t, c, role, secret, func(o *pgtest.ProxyOptions) {
		o.Pool.Size = 2
		o.Server = &server.Config{
			Hosts: []string{c.Address()}, Database: "postgres", ConnectTimeout: 10 * time.Second, Password: password(secret),
			TLS:     server.TLS{Mode: server.ModeVerifyFull, CAFile: pgtest.WriteFile(t, t.TempDir(), "ca.pem", ca.PEM)},
			Methods: []server.Method{server.MethodSCRAMPlus},
		}
	})
	p := f.loginTLS(t)
	p.expect("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "T D(t) C(SELECT 1) Z(I)")
	for _, n := range []int{1, 1000, 16_383, 16_384, 16_385, 65_535, 65_536, 100_000, 1_000_000} {
		text := strings.Repeat("x", n)
		if got := p.one("SELECT '" + text + "'"); got != text {
			t.Fatalf("%d bytes came back as %d", n, len(got))
		}
	}
	for range 100 { // many small ones in one write
		p.send([]byte(strings.Repeat(string(wire.AppendQuery(nil, "SELECT 1")), 20)))
		for range 20 {
			if got := p.answer(); got != "T D(1) C(SELECT 1) Z(I)" {
				t.Fatal(got)
			}
		}
	}
	f.sleeps(t, p)
	f.cancel(t, p)
	if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
		t.Errorf("cancel: %s", got)
	}
	c.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	soon(t, "the pool is healthy", func() bool {
		q := f.loginTLS(t)
		defer q.Close()
		return q.ask("SELECT 1") == "T D(1) C(SELECT 1) Z(I)"
	})
}
