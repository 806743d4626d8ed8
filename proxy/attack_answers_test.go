package proxy_test

import (
	"bufio"
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
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
		o.Features = feature.Choices{Listen: feature.Shared}
		o.Kernel = 16 << 10 // else it takes very many answers until one has to wait
	})
	p := f.login(t)
	p.expect("BEGIN", "C(BEGIN) Z(T)")
	p.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
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
	answer, answers := 0, bufio.NewReaderSize(p, 1<<16) // there are very many
	for range sent / len(ask) {
		if answer%1000 == 0 {
			p.SetReadDeadline(time.Now().Add(patience))
		}
		for _, want := range "CZ" {
			typ, body, err := wire.ReadMessage(answers, 1<<10)
			if err != nil || typ != byte(want) {
				t.Fatalf("answer %d of %d: %c %q %v", answer, sent/len(ask), typ, body, err)
			}
		}
		answer++
	}
}
