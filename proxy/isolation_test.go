package proxy_test

import (
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// TestIsolationOff: a server goes from one identity to another as it is. What one leaves on it the other finds, as behind
// other poolers; but settings that clients bring at startup stay theirs. Where there is a context, off does nothing.
func TestIsolationOff(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size, o.Pool.Isolation = 1, pool.Off })
	ann := f.login(t)
	bob := f.dial(t).start(wire.Version30, "bob", [2]string{"TimeZone", "Asia/Tokyo"}).ready()
	eve := f.dial(t).start(wire.Version30, "eve").ready()
	ann.expect("PREPARE p AS SELECT 1; SET my.thing = 'anns'", "C(PREPARE) C(SET) Z(I)")
	eve.expect("EXECUTE p", "T D(1) C(SELECT 1) Z(I)")
	if got := eve.one("SELECT current_setting('my.thing')"); got != "anns" {
		t.Errorf("the setting is %q", got)
	}
	if got := bob.one("SELECT current_setting('TimeZone')"); got != "Asia/Tokyo" {
		t.Errorf("bob's time zone is %s", got)
	}
	if got := ann.one("SELECT current_setting('TimeZone')"); got != "UTC" {
		t.Errorf("ann's time zone is %s", got)
	}
}

// TestAttackIsolationOffUnderAContext: the attacker shares a pool that is said to be without isolation, in a database whose
// rows hang on the context. The configuration refuses that; should it get through all the same, it must do nothing.
//
// Must: It does nothing: everybody sees his own rows.
// Dialects: sql, native
// Not pgbouncer: it has no such setting
func TestAttackIsolationOffUnderAContext(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, func(o *pgtest.ProxyOptions) {
			poolOf(1)(o)
			o.Pool.Isolation = pool.Off
		})
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		run(t, a, "PREPARE p AS SELECT 1")
		mustBe(t, b, "t2")
		if c := code(t, b, "EXECUTE p"); c != "26000" {
			t.Errorf("another one's statement gives %s", c)
		}
		mustBe(t, a, "t1")
	})
}
