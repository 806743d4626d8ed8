package proxy_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackAnswersNobodyTakes: the attacker asks, in a transaction, for what the proxy answers itself, without end, and reads none of
// the answers.
//
// Must: No more is read of him than he takes answers: they do not fill the proxy's memory. When he takes them he gets all.
// Dialects: none
func TestAttackAnswersNobodyTakes(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		if sql == "BEGIN" {
			c.Write(wire.AppendReadyForQuery(complete(sql), 'T'))
		}
		return sql == "BEGIN"
	})
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) { o.Features = feature.Choices{Listen: feature.Shared} })
	p := f.login(t)
	p.expect("BEGIN", "C(BEGIN) Z(T)")
	ask := wire.AppendQuery(nil, "UNLISTEN a")
	asked, sent := bytes.Repeat(ask, 1<<20/len(ask)), 0
	p.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 32 {
		n, err := p.Write(asked)
		if sent += n; err != nil {
			break
		}
	}
	if n := f.Unsent(); n > 256<<10 {
		t.Fatalf("%d bytes wait for him", n)
	}
	answer := 0
	for range sent / len(ask) {
		p.SetReadDeadline(time.Now().Add(patience))
		for _, want := range "CZ" {
			typ, body, err := wire.ReadMessage(p, 1<<10)
			if err != nil || typ != byte(want) {
				t.Fatalf("answer %d of %d: %c %q %v", answer, sent/len(ask), typ, body, err)
			}
		}
		answer++
	}
}
