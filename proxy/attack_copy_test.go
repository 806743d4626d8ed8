package proxy_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// TestAttackMalformedFlushBesideCopy: the attacker sends a COPY with its end, and behind it a Flush with a body, which is an error, but is
// passed over inside of a COPY. So the proxy may count one answer too few, and give his server away while his last request runs. His
// neighbour is of the same identity: nothing is handed over between them.
//
// Must: The neighbour gets its own answers.
// Dialects: sql, native, pgbouncer
func TestAttackMalformedFlushBesideCopy(t *testing.T) {
	sync := wire.AppendSync(nil)
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "CREATE TABLE own_notes (body text); GRANT ALL ON own_notes TO "+f.role)
		b := f.raw(t, "t1")
		load := extended("COPY own_notes FROM STDIN")
		for range 2 {
			a := f.raw(t, "t1")
			a.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			b.SetDeadline(time.Now().Add(patience))
			a.send(load, sync, wire.AppendCopyDone(nil), message('H', "x"), sync, sync, wire.AppendQuery(nil, "SELECT 'of a' FROM pg_sleep(0.1)"))
			done := make(chan struct{})
			go func() {
				defer close(done)
				everything(a)
				a.Close()
			}()
			for range 3 {
				if got := b.one("SELECT 'of b'"); got != "of b" {
					t.Fatalf("the neighbour gets %q", got)
				}
			}
			<-done
		}
		b.leave()
		f.atRest(t, 0, 1)
	})
}
