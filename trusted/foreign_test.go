package trusted

import (
	"fmt"
	"testing"
	"time"
)

// TestConnectionOfAnotherDialect: a reload may change the dialect of a database while a client keeps a connection that was opened the
// old way. What has to be installed on it fails there, and nothing else happens.
func TestConnectionOfAnotherDialect(t *testing.T) {
	var in Intern
	set := in.Of(nil)
	alice := identity("alice", `{"sub":"alice"}`)
	sql, native := &SQL{Key: testKeyParsed(t), Window: 2 * time.Second}, nativeForTest(t)
	for _, test := range []struct {
		opened, now Dialect
		want        string
	}{
		{sql, native, "0 [NULL]"},
		{None{}, native, "0 [NULL]"},
		{native, sql, "seal"},
		{None{}, sql, "seal"},
	} {
		t.Run(fmt.Sprintf("%T then %T", test.opened, test.now), func(t *testing.T) {
			s := &Session{}
			if _, none := test.opened.(None); !none {
				s = sessionForTest(t, test.opened)
			}
			s.Handover(nil, test.opened, alice, set, epoch)
			s.Dropped()
			b, steps := s.Handover(nil, test.now, alice, set, epoch)
			if got := messages(t, b); got != test.want || len(steps) != 1 || steps[0] != StepCall {
				t.Errorf("sent %q, steps %v, want %q", got, steps, test.want)
			}
			if got := messages(t, s.Renew(nil, test.now, alice, epoch)); got != test.want {
				t.Errorf("renewed by %q", got)
			}
		})
	}
}
