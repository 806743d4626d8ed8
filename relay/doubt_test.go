package relay

import "testing"

// TestFailedCopyIsResolved: behind a COPY that has failed, whose Sync may have been ignored or not, a question finds out which, and the
// client sees neither the question nor the answer to it.
func TestFailedCopyIsResolved(t *testing.T) {
	const copyFails = ">P:|B:|E:|S:"
	for _, test := range []struct {
		name  string
		lines []string
		reply string // of the server to the question, with what comes in front of it
		sees  string // the client
	}{
		{"it was ignored", []string{copyFails, "<1:|2:|G:", ">d:|c:|S:", "<E:\x00|Z:I"}, "3:|Z:I", ""},
		{"it was answered", []string{copyFails, "<1:|2:|G:", ">d:|c:|S:", "<E:\x00|Z:I"}, "Z:I|3:|Z:I", "Z:I"},
		{"two were ignored", []string{copyFails, "<1:|2:|G:", ">S:|d:|c:|S:", "<E:\x00|Z:I"}, "3:|Z:I", ""},
		{"one of two was", []string{copyFails, "<1:|2:|G:", ">S:|d:|c:|S:", "<E:\x00|Z:I"}, "Z:I|3:|Z:I", "Z:I"},
		{"none of two was", []string{copyFails, "<1:|2:|G:", ">S:|d:|c:|S:", "<E:\x00|Z:I"}, "Z:I|Z:I|3:|Z:I", "Z:I|Z:I"},
		{"in a transaction that has failed", []string{copyFails, "<1:|2:|G:", ">c:|S:", "<E:\x00|Z:E"}, "3:|Z:E", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for chunk := 1; chunk < 40; chunk += 5 {
				var r Relay
				r.Begin(false, false)
				if err := play(t, &r, test.lines); err != nil {
					t.Fatal(err)
				}
				if !r.Doubtful() || r.Over() {
					t.Fatalf("doubtful %v, over %v", r.Doubtful(), r.Over())
				}
				if b := r.Probe(nil); len(b) == 0 || r.Doubtful() {
					t.Fatal("no question, or two")
				}
				next := stream("Q:next")
				if n, _, err := r.FromClient(next); n != 0 || err != nil || !r.Held() {
					t.Fatalf("%d bytes of the next request went on, %v", n, err)
				}
				if got, want := string(seen(t, &r, stream(test.reply), chunk)), string(stream(test.sees)); got != want {
					t.Errorf("in pieces of %d the client sees %q, want %q", chunk, got, want)
				}
				if r.Doubtful() || r.Unsure() || r.Busy() || !r.Ready() || r.Over() == r.InTransaction() {
					t.Errorf("afterwards: %+v", r)
				}
			}
		})
	}
}

// seen gives what of a server's bytes, which come in pieces, is forwarded.
func seen(t *testing.T, r *Relay, b []byte, chunk int) (out []byte) {
	t.Helper()
	var kept []byte
	for len(b) > 0 {
		k := min(chunk, len(b))
		kept, b = append(kept, b[:k]...), b[k:]
		for len(kept) > 0 {
			reply, err := r.FromServer(kept)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, kept[:reply.Forward]...)
			kept = kept[reply.Forward+reply.Drop:]
			if reply.Done {
				break
			}
		}
	}
	return out
}

// TestNobodyWaitsWhereNothingIsSure: a client sends a Query into its own COPY, which fails: whether that is answered nobody can tell, so
// nothing is held for the answer, and the server is closed behind its client.
func TestNobodyWaitsWhereNothingIsSure(t *testing.T) {
	var r Relay
	r.Begin(false, false)
	if err := play(t, &r, []string{">P:|B:|E:", "<1:|2:|G:", ">S:|Q:", "<E:\x00"}); err != nil {
		t.Fatal(err)
	}
	if r.Holds() || r.Doubtful() || !r.Unsure() || r.Over() {
		t.Errorf("holds %v, doubtful %v, unsure %v, over %v", r.Holds(), r.Doubtful(), r.Unsure(), r.Over())
	}
}
