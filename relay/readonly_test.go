package relay

import "testing"

func TestReadOnly(t *testing.T) {
	for reply, want := range map[string]bool{
		"<E:VERROR\x00C25006\x00\x00": true, "<E:VERROR\x00C25P02\x00\x00": false, "<E:VERROR\x00M25006\x00\x00": false, "<C:X\x00": false,
	} {
		var r Relay
		r.Begin(false, false)
		if err := play(t, &r, []string{">Q:", reply, "<Z:I"}); err != nil || r.ReadOnly() != want {
			t.Errorf("%q: read-only %v, %v", reply, r.ReadOnly(), err)
		}
	}
}
