package proxy_test

import (
	"bytes"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// TestAttackClientThatDoesNotRead: the attacker has a login, asks for long answers and reads none of them.
//
// Must: As PostgreSQL does, the proxy must stop taking requests from him, and not collect the answers; when he reads at last,
// he gets them all.
// Dialects: none
func TestAttackClientThatDoesNotRead(t *testing.T) {
	const queries, size = 1500, 8 << 10
	fake := startFake(t)
	var asked atomic.Int32
	answer := wire.AppendReadyForQuery(append(rawMessage('D', make([]byte, size)), complete("SELECT 1")...), 'I')
	fake.misbehave(nil, func(c net.Conn, _ string) bool {
		asked.Add(1)
		c.Write(answer)
		return true
	})
	f := startBefore(t, fake, nil)
	p := f.login(t)
	p.SetDeadline(time.Now().Add(4 * patience))
	for i := range queries { // one at a time: each is a lease of its own
		p.query("select long")
		over := func() bool { return asked.Load() > int32(i) && f.PoolStats().Leased == 0 }
		for end := time.Now().Add(500 * time.Millisecond); !over() && time.Now().Before(end); {
			runtime.Gosched()
		}
		if !over() { // nothing moves any more
			p.send(bytes.Repeat(wire.AppendQuery(nil, "select long"), queries-i-1))
			break
		}
	}
	if n := asked.Load(); n > queries*2/3 {
		t.Errorf("%d of %d queries were run for a client that reads nothing", n, queries)
	}
	for i := range queries {
		for {
			typ, _, err := wire.ReadMessage(p, 1<<20)
			if err != nil {
				t.Fatalf("answer %d of %d: %v", i, queries, err)
			}
			if typ == wire.MsgReadyForQuery {
				break
			}
		}
	}
}

// A COPY fails while the client is sending and the server does not take more at the moment: the client must not be
// forgotten.
func TestCopyThatFailsUnderPressure(t *testing.T) {
	fake := startFake(t)
	fail, heard := make(chan struct{}), make(chan struct{})
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		if sql != "copy" {
			return false
		}
		c.Write(rawMessage('G', []byte{0, 0, 0}))
		<-fail
		c.Write(wire.AppendReadyForQuery(report("ERROR", "22P04"), 'I'))
		<-heard // what has been sent is read after the answer has arrived
		return true
	})
	f := startBefore(t, fake, nil)
	p := f.login(t)
	p.SetDeadline(time.Now().Add(4 * patience))
	p.query("copy")
	if word, _ := p.message(); word != "G" {
		t.Fatalf("answered %s", word)
	}
	stuck := make(chan struct{})
	var sent atomic.Int64
	go func() {
		defer close(stuck)
		rows := bytes.Repeat(wire.AppendCopyData(nil, nil), 10_000)
		for range 500 {
			n, err := p.Write(rows)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
		p.Write(wire.AppendQuery(wire.AppendCopyFail(nil, "enough"), "select 1"))
	}()
	var last int64
	for quiet := 0; quiet < 20; time.Sleep(20 * time.Millisecond) { // until nothing moves any more
		if n := sent.Load(); n > 0 && n == last {
			quiet++
		} else {
			quiet, last = 0, n
		}
	}
	close(fail)
	if got := p.answer(); got != "E(22P04) Z(I)" {
		t.Errorf("answered %s", got)
	}
	close(heard)
	if got := p.answer(); got != "C(select 1) Z(I)" {
		t.Errorf("then answered %s", got)
	}
	<-stuck
}

// rawMessage builds one message.
func rawMessage(typ byte, body []byte) []byte {
	n := len(body) + 4
	return append([]byte{typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}
