package proxy_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackNewsBehindAQuestion: the attacker keeps a server connection because it listens, does not read, and has notifications come
// without end while the proxy asks PostgreSQL what it has left there.
//
// Must: It is disconnected when more waits for it than anybody may leave waiting: the proxy's memory is not its.
// Dialects: none
func TestAttackNewsBehindAQuestion(t *testing.T) {
	t.Parallel()
	for range 5 { // a machine that stands still for five seconds ends the connection for another reason
		if newsBehindAQuestion(t) {
			return
		}
	}
	t.Error("the log does not say why")
}

// newsBehindAQuestion is one try. It reports whether the log says why the attacker was disconnected.
func newsBehindAQuestion(t *testing.T) bool {
	const flood = 64 << 20
	left := append(frame('D', 4+2+4+6+4+4, "\x00\x03\x00\x00\x00\x06listen\xff\xff\xff\xff\xff\xff\xff\xff"), complete("SELECT 1")...)
	left = wire.AppendReadyForQuery(left, 'I')
	body := "\x00\x00\x00\x01c\x00" + strings.Repeat("x", 7900) + "\x00"
	news := frame('A', uint32(4+len(body)), body)
	many := bytes.Repeat(news, 1<<20/len(news)) // made now: the question's time runs when they are sent
	fake := startFake(t)
	floods := false
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		switch {
		case strings.HasPrefix(sql, "UNLISTEN"):
			floods = true
			return false
		case !strings.HasPrefix(sql, "SELECT pg_catalog.concat_ws"):
			return false
		case floods:
			for range flood >> 20 {
				if _, err := c.Write(many); err != nil {
					break
				}
			}
		}
		c.Write(left)
		return true
	})
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
		o.Features, o.Pool.Pins = feature.Choices{Listen: feature.Pin}, 1
	})
	p := f.login(t)
	p.expect("LISTEN c", "C(LISTEN c) Z(I)")
	f.pins(t, "it listens", 1)
	p.query("UNLISTEN d")
	soon(t, "it is disconnected", func() bool { return f.Clients() == 0 })
	if n, err := io.Copy(io.Discard, p); n > flood/4 {
		t.Errorf("%d bytes waited for it (%v)", n, err)
	}
	fake.misbehave(nil, nil)
	f.login(t).expect("next", "C(next) Z(I)")
	return strings.Contains(f.Log.String(), "too many notifications wait for the client")
}
