package proxy_test

import (
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// TestAttackCopyBehindAGoodbye: the attacker asks for several things, the last of them a COPY whose data he never sends, says goodbye,
// and closes his connection.
//
// Must: What he has asked for is carried out, and the server connection does not wait for his data.
// Dialects: none
func TestAttackCopyBehindAGoodbye(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	f.login(t).leave()
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		switch sql {
		case "wait": // answers that come one by one to a client that is gone
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			<-tick.C
			return false
		case "COPY t FROM STDIN":
			soon(t, "he is gone", func() bool { return f.Clients() == 0 })
			c.Write(frame('G', 4+3, "\x00\x00\x00"))
			return true
		}
		return false
	})
	p := f.login(t)
	var b []byte
	for range 20 {
		b = wire.AppendQuery(b, "wait")
	}
	p.send(wire.AppendTerminate(wire.AppendQuery(b, "COPY t FROM STDIN")))
	soon(t, "it is under way", func() bool { return f.PoolStats().Leased == 1 })
	p.Close()
	soon(t, "the server is free", func() bool { return f.PoolStats().Leased == 0 })
	fake.misbehave(nil, nil)
	next := f.login(t)
	next.expect("next", "C(next) Z(I)")
	next.leave()
}
