package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackLeaveBehindAHeldRequest: in the native dialect a request waits for the answer to the one before it. The attacker
// sends one that waits for an answer which never comes, behind a batch without its Sync, and closes the connection.
//
// Must: The server must be free for the next client.
// Dialects: native
// Not sql: no request of a client waits for another there
// Not pgbouncer: no request of a client waits for another there
func TestAttackLeaveBehindAHeldRequest(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, poolOf(1))
		b := f.connect(t, "t2")
		parse := wire.AppendParse(nil, "", "SELECT 1")
		for name, messages := range map[string][]byte{
			"the answer does not end the batch":    join(parse, wire.AppendQuery(nil, "SELECT 2"), parse),
			"a failed batch swallows the query":    join(extended("SELECT 1/0"), wire.AppendQuery(nil, "SELECT 2"), wire.AppendQuery(nil, "SELECT 3")),
			"a query behind the beginning of COPY": join(wire.AppendQuery(nil, "COPY note FROM STDIN"), wire.AppendQuery(nil, "SELECT 3")),
		} {
			a := f.raw(t, "t1")
			a.send(wire.AppendQuery(nil, "SELECT 0"))
			a.answer()
			a.send(messages)
			for word := ""; !strings.HasPrefix(word, "Z") && !strings.HasPrefix(word, "E") && word != "G"; {
				word, _ = a.message()
			}
			a.Close()
			began := time.Now()
			mustBe(t, b, "t2")
			if held := time.Since(began); held > prompt {
				t.Errorf("%s: the next client waited for %v", name, held)
			}
		}
	})
}

// TestNativeTakesHalfOfTheNextRequest: behind the request that goes along with a hand-over comes the first half of another one.
// Its second half must be read, although the first request is answered in one piece with the hand-over.
func TestNativeTakesHalfOfTheNextRequest(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			password := o.Password
			o.Server = &server.Config{
				Hosts: []string{inLumps(t, o.Cluster.Address())}, Database: o.Database, ConnectTimeout: patience,
				Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil },
			}
		})
		first, second := wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 'the second'")
		for _, tenant := range []string{"t1", "t2"} {
			p := f.raw(t, tenant)
			p.send(first, second[:9])
			if got := p.answer(); got != "C(BEGIN) Z(T)" {
				t.Errorf("the first request is answered %s", got)
			}
			p.send(second[9:])
			if got := p.answer(); got != "T D(the second) C(SELECT 1) Z(T)" {
				t.Errorf("the second request is answered %s", got)
			}
			p.leave()
		}
	})
}

// inLumps is a way to a server on which all that it says within a moment arrives as one piece.
func inLumps(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				defer server.Close()
				io.Copy(server, client)
			}()
			go func() {
				defer client.Close()
				lump(client, server)
			}()
		}
	}()
	return l.Addr().String()
}

func lump(to, from net.Conn) {
	var lump []byte
	buf := make([]byte, 64<<10)
	for {
		if len(lump) == 0 {
			from.SetReadDeadline(time.Time{})
		} else {
			from.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
		n, err := from.Read(buf)
		lump = append(lump, buf[:n]...)
		if err == nil {
			continue
		}
		to.Write(lump)
		lump = nil
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			return
		}
	}
}

// TestAttackExpiryInTheQueue: the attacker's request waits for a server when his token ends.
//
// Must: It must not begin behind that.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackExpiryInTheQueue(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		b := f.connect(t, "t2")
		run(t, b, "BEGIN")
		a, end := f.ending(t, 2)
		a.query(whoami)
		soon(t, "for the token to end", func() bool { return time.Now().After(end) })
		run(t, b, "COMMIT")
		if got := everything(a); !strings.Contains(got, "E(28000 fatal)") || strings.Contains(got, "D(") {
			t.Errorf("a request that began to run behind its token's end is answered %s", got)
		}
		mustBe(t, b, "t2")
	})
}
