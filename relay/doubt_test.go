package relay

import (
	"strings"
	"testing"
)

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
		{"all sent at once, ignored", []string{copyFails, ">d:|c:", "<1:|2:|G:", ">S:", "<E:\x00|Z:I"}, "3:|Z:I", ""},
		{"all sent at once, answered", []string{copyFails, ">d:|c:", "<1:|2:|G:", ">S:", "<E:\x00|Z:I"}, "Z:I|3:|Z:I", "Z:I"},
		{"somebody cancels the question", []string{copyFails, "<1:|2:|G:", ">d:|c:|S:", "<E:\x00|Z:I"}, "Z:I|E:VERROR\x00C57014\x00\x00|Z:I", "Z:I"},
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

// TestNobodyWaitsWhereNothingIsSure: where nobody can tell what is answered, nothing is held for the answer, no question finds it out,
// and the server is closed behind its client.
func TestNobodyWaitsWhereNothingIsSure(t *testing.T) {
	for name, lines := range map[string][]string{
		"a Query into its own COPY":                        {">P:|B:|E:", "<1:|2:|G:", ">S:|Q:", "<E:\x00"},
		"a Parse behind the end of a COPY that has failed": {">P:|B:|E:|S:|d:|c:", "<1:|2:|G:", ">P:|S:", "<E:\x00|Z:I"},
		"a second Execute behind the end of a COPY":        {">P:|B:|E:|d:|c:|E:|S:", "<1:|2:|G:", "<E:\x00|Z:I"},
	} {
		t.Run(name, func(t *testing.T) {
			var r Relay
			r.Begin(false, false)
			if err := play(t, &r, lines); err != nil {
				t.Fatal(err)
			}
			if r.Holds() || r.Doubtful() || !r.Unsure() || r.Over() {
				t.Errorf("holds %v, doubtful %v, unsure %v, over %v", r.Holds(), r.Doubtful(), r.Unsure(), r.Over())
			}
		})
	}
}

// TestErrorInTheMiddleOfAQuestion: an error that is nobody's is the end of the server; FATAL is for the client.
func TestErrorInTheMiddleOfAQuestion(t *testing.T) {
	const doubt = ">P:|B:|E:|S:"
	for name, test := range map[string]struct{ status, reply, sees string }{
		"FATAL":                       {"I", "E:VFATAL\x00\x00", "E:VFATAL\x00\x00"},
		"in a transaction":            {"T", "E:VERROR\x00\x00", ""},
		"behind the answer":           {"I", "3:|E:VERROR\x00\x00", ""},
		"longer than any that is one": {"I", "E:" + strings.Repeat("x", maxWhole+1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r Relay
			r.Begin(false, false)
			if err := play(t, &r, []string{doubt, "<1:|2:|G:", ">c:|S:", "<E:VERROR\x00\x00|Z:" + test.status}); err != nil {
				t.Fatal(err)
			}
			r.Probe(nil)
			b, sees := stream(test.reply), []byte{}
			var err error
			for len(b) > 0 && err == nil {
				var reply Reply
				reply, err = r.FromServer(b)
				sees = append(sees, b[:reply.Forward]...)
				b = b[reply.Forward+reply.Drop:]
			}
			if string(sees) != string(stream(test.sees)) || (err == nil) != (name == "FATAL") || r.Over() {
				t.Errorf("the client sees %q, %v, over %v", sees, err, r.Over())
			}
		})
	}
}
