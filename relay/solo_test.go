package relay

import (
	"strings"
	"testing"
)

func TestFirst(t *testing.T) {
	const hold = 100
	for _, test := range []struct {
		name, sent string
		cut        int    // bytes that have not come yet
		drop       string // what needs no server
		want       string
	}{
		{"nothing", "", 0, "", "wait"},
		{"query", "Q:select 1", 0, "", "ready"},
		{"query without its end", "Q:select 1", 1, "", "wait"},
		{"long query without its end", "Q:" + strings.Repeat("x", 200), 50, "", "ready"},
		{"half a header", "Q:", 2, "", "wait"},
		{"goodbye", "X:", 0, "", "terminate"},
		{"rest of a failed COPY", "d:row|d:row|c:|Q:a", 0, "d:row|d:row|c:", "ready"},
		{"rest of a failed COPY, failed", "f:no|X:", 0, "f:no", "terminate"},
		{"Flush with nothing before it", "H:", 0, "H:", "wait"},
		{"Sync alone wants its answer", "S:", 0, "", "ready"},
		{"batch", "P:|B:", 0, "", "ready"},
		{"unknown", "z:", 0, "", "error"},
		{"unknown behind COPY data", "d:row|z:", 0, "d:row", "error"},
		{"a server's message", "1:", 0, "", "error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for piece := 1; piece <= len(test.sent)+20; piece++ {
				b := stream(test.sent)
				b = b[:len(b)-test.cut]
				var s Solo
				dropped, got := 0, "wait"
				for end := 0; end < len(b) && got == "wait"; {
					end = min(len(b), end+piece)
					drop, ready, terminate, err := s.First(b[dropped:end], hold)
					dropped += drop
					switch {
					case dropped > end || ready && terminate:
						t.Fatal("more used than given")
					case err != nil:
						got = "error"
					case ready:
						got = "ready"
					case terminate:
						got = "terminate"
					}
				}
				if got != test.want || dropped != len(stream(test.drop)) {
					t.Errorf("in pieces of %d: %s after %d bytes", piece, got, dropped)
				}
			}
		})
	}
}

func TestSkip(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		skipped    string
		want       string
	}{
		{"query", "Q:select 1|Q:select 2", "Q:select 1", "done"},
		{"function call", "F:|S:", "F:", "done"},
		{"Sync", "S:|S:", "S:", "done"},
		{"batch", "P:|B:|D:|E:|S:|Q:", "P:|B:|D:|E:|S:", "done"},
		{"batch without its Sync", "P:|B:|E:|H:", "P:|B:|E:|H:", "wait"},
		{"query inside of a batch", "P:|Q:|S:|Q:", "P:|Q:|S:", "done"},
		{"COPY data inside of a batch", "P:|E:|d:|c:|S:", "P:|E:|d:|c:|S:", "done"},
		{"goodbye inside of a batch", "P:|X:", "P:", "terminate"},
		{"unknown inside of a batch", "P:|z:", "P:", "error"},
		{"nothing", "", "", "wait"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for piece := 1; piece <= len(test.sent)+20; piece++ {
				b := stream(test.sent)
				var s Solo
				s.Refuse()
				skipped, got := 0, "wait"
				for end := 0; end < len(b) && got == "wait"; {
					end = min(len(b), end+piece)
					n, done, terminate, err := s.Skip(b[skipped:end])
					skipped += n
					switch {
					case skipped > end || done && terminate:
						t.Fatal("more used than given")
					case err != nil:
						got = "error"
					case done:
						got = "done"
					case terminate:
						got = "terminate"
					}
				}
				if got != test.want || skipped != len(stream(test.skipped)) {
					t.Errorf("in pieces of %d: %s after %d bytes", piece, got, skipped)
				}
			}
		})
	}
}

func TestEndsInGoodbye(t *testing.T) {
	for _, test := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"nothing", nil, false},
		{"goodbye alone", stream("X:"), false},
		{"requests and goodbye", stream("Q:a|P:|S:|X:"), true},
		{"requests", stream("Q:a|P:|S:"), false},
		{"half a request", stream("Q:abc")[:6], false},
		{"half a goodbye", stream("Q:|X:")[:8], false},
		{"nonsense", []byte("Q\xff\xff\xff\xffX\x00\x00\x00\x04"), false},
	} {
		if got := EndsInGoodbye(test.b); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A client without a server may send anything: nothing panics, and no more is used than was given.
func FuzzSolo(f *testing.F) {
	f.Add(stream("d:row|H:|Q:select 1|X:"), 3)
	f.Add(stream("P:|B:|S:|Q:"), 1)
	f.Add([]byte("Q\x00\x00\x00\x00"), 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(1, piece)
		var s Solo
		for len(b) > 0 {
			drop, ready, terminate, err := s.First(b[:min(len(b), piece)], 1<<14)
			b = b[drop:]
			if err != nil || terminate {
				return
			}
			if !ready {
				if len(b) <= piece {
					return
				}
				piece += 1 << 10
				continue
			}
			s.Refuse()
			n, _, terminate, err := s.Skip(b[:min(len(b), piece)])
			if b = b[n:]; err != nil || terminate || n == 0 {
				return
			}
		}
	})
}
