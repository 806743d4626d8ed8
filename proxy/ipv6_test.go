package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// TestIPv6: clients come in over IPv6, in plain text and by direct TLS, and servers are reached over it; cancel requests take the same way.
// Rules know their addresses, and a network /64 counts as one address.
func TestIPv6(t *testing.T) {
	t.Parallel()
	c := pgtest.Shared(t, pgtest.Newest(t))
	database := relayIPv6(t, c.Address())
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Server = &server.Config{
			Hosts: []string{database}, Database: "postgres", ConnectTimeout: 10 * time.Second, Password: password(o.Password),
		}
		o.Rules = []auth.Rule{{Name: "v6", TLS: auth.TLSAny, Method: claimpool.MethodTrust, Addresses: []netip.Prefix{netip.MustParsePrefix("::1/128")}}}
		limits(func(l *proxy.Limits) { l.ClientsPerAddress = 2 })(o)
	})
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := &tls.Config{Certificates: []tls.Certificate{f.CA.Server(t, "localhost").TLS}, NextProtos: []string{startup.ALPN}}
	done := make(chan error, 1)
	go func() { done <- f.Serve(&proxy.Listener{Listener: l, TLS: func() *tls.Config { return serving }}) }()
	dial := func(direct bool) *peer {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		if direct {
			conn = tls.Client(conn, &tls.Config{RootCAs: f.CA.Pool, ServerName: "localhost", NextProtos: []string{startup.ALPN}})
		}
		return &peer{Conn: conn, t: t}
	}
	for _, direct := range []bool{false, true} {
		p := dial(direct).start(wire.Version32, f.role).ready()
		f.sleeps(t, p)
		cancel := dial(direct)
		cancel.send(wire.AppendCancelRequest(nil, p.pid, p.secret))
		io.Copy(io.Discard, cancel)
		if got := p.answer(); !strings.HasSuffix(got, "E(57014) Z(I)") {
			t.Errorf("direct TLS %v: %s", direct, got)
		}
	}
	if got := dial(false).start(wire.Version30, f.role).answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("the third of one network was told %s", got)
	}
	if got := f.dial(t).start(wire.Version30, f.role).answer(); got != "E(28000 fatal) EOF" { // no rule for IPv4
		t.Errorf("over IPv4: %s", got)
	}
	if !strings.Contains(f.Log.String(), "addr=[::1]:") {
		t.Error("the log does not name the clients' addresses")
	}
	f.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// relayIPv6 is a server's address on IPv6, whatever the server itself listens to.
func relayIPv6(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			running.Go(func() { io.Copy(out, in); out.(*net.TCPConn).CloseWrite() })
			running.Go(func() { io.Copy(in, out); in.Close(); out.Close() })
		}
	})
	return l.Addr().String()
}
