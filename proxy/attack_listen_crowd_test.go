package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/wire"
)

// TestAttackListenToEverything: the attacker listens to as many channels as he can, over many connections, so that nobody else's are taken.
//
// Must: He is refused (54000) while most of them are left, and others can listen.
// Dialects: none
func TestAttackListenToEverything(t *testing.T) {
	t.Parallel()
	f := startPlain(t, listening)
	taken, refused := 0, 0
	for n := 0; refused == 0; n++ {
		if n == 40 {
			t.Fatalf("he has %d channels", taken)
		}
		var sql strings.Builder
		for i := range 256 {
			fmt.Fprintf(&sql, "LISTEN c%d_%d;", n, i)
		}
		answer := f.dial(t).start(wire.Version30, "eve").ready().ask(sql.String())
		taken += strings.Count(answer, "C(LISTEN)")
		refused += strings.Count(answer, "E(54000)")
	}
	if taken < 6000 || taken > 7000 {
		t.Errorf("he has %d channels", taken)
	}
	ann := f.dial(t).start(wire.Version30, "ann").ready()
	ann.expect("LISTEN mine", "C(LISTEN) Z(I)")
	ann.expect("NOTIFY mine, 'it works'", "C(NOTIFY) Z(I)")
	if got := ann.news(); got != "mine it works" {
		t.Errorf("heard %s", got)
	}
}
