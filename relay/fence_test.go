package relay

import (
	"bytes"
	"strings"
	"testing"
)

// forwarded runs bytes of the server through the relay in pieces of the given size, as a connection would show them, and gives
// what the client gets.
func forwarded(r *Relay, b []byte, size int) (got []byte, err error) {
	var kept []byte
	for len(b) > 0 {
		k := min(size, len(b))
		kept, b = append(kept, b[:k]...), b[k:]
		for len(kept) > 0 {
			reply, err := r.FromServer(kept)
			got = append(got, kept[:reply.Forward]...)
			kept = kept[reply.Forward+reply.Drop:]
			if err != nil {
				return got, err
			}
			if reply.Done {
				break
			}
		}
	}
	return got, nil
}

// pipeline sends requests, each behind the first with a fence in front.
func pipeline(t *testing.T, r *Relay, requests ...string) {
	t.Helper()
	for i, request := range requests {
		b := stream(request)
		n, _, err := r.FromClient(b)
		if i > 0 {
			if n != 0 || !r.Held() || !r.Fenceable() {
				t.Fatalf("%s: %d bytes went without a fence", request, n)
			}
			r.Fence()
			n, _, err = r.FromClient(b)
		}
		if n != len(b) || err != nil || r.Held() {
			t.Fatalf("%s: %d bytes, %v", request, n, err)
		}
	}
}

func TestFences(t *testing.T) {
	const (
		fence  = "|V:\xff\xff\xff\xff|Z:I|"
		inside = "|V:\xff\xff\xff\xff|Z:T|"
		lost   = "|E:SERROR\x00VERROR\x00C25P02\x00Mcurrent transaction is aborted\x00\x00|Z:E|"
		broken = "E:SERROR\x00VERROR\x00C22012\x00\x00"
	)
	for name, test := range map[string]struct{ replies, want string }{
		"all well":            {"C:A\x00|Z:I" + fence + "C:B\x00|Z:I" + fence + "C:C\x00|Z:I", "C:A\x00|Z:I|C:B\x00|Z:I|C:C\x00|Z:I"},
		"an error":            {broken + "|Z:I" + fence + "C:B\x00|Z:I" + fence + "C:C\x00|Z:I", broken + "|Z:I|C:B\x00|Z:I|C:C\x00|Z:I"},
		"a transaction":       {"C:BEGIN\x00|Z:T" + inside + "C:B\x00|Z:T" + inside + "C:COMMIT\x00|Z:I", "C:BEGIN\x00|Z:T|C:B\x00|Z:T|C:COMMIT\x00|Z:I"},
		"one that has failed": {"C:BEGIN\x00|Z:T" + inside + broken + "|Z:E" + lost + "C:ROLLBACK\x00|Z:I", "C:BEGIN\x00|Z:T|" + broken + "|Z:E|C:ROLLBACK\x00|Z:I"},
		"news in between":     {"C:A\x00|Z:I|N:x|A:y" + fence + "C:B\x00|Z:I|N:x" + fence + "C:C\x00|Z:I", "C:A\x00|Z:I|C:B\x00|Z:I|C:C\x00|Z:I"},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			r := &Relay{}
			r.Begin(false, true)
			pipeline(t, r, "Q:a\x00", "P:\x00b\x00\x00\x00|B:\x00\x00\x00\x00\x00\x00\x00\x00|E:\x00\x00\x00\x00\x00|S:", "Q:c\x00")
			got, err := forwarded(r, stream(test.replies), size)
			if err != nil || !bytes.Equal(got, stream(test.want)) {
				t.Errorf("%s, %d at a time: %q, %v", name, size, got, err)
			}
			if !r.Over() {
				t.Errorf("%s: not over", name)
			}
		}
	}
}

// TestAttackFenceThatFails: a neighbour's pg_cancel_backend hits the installation between two requests, and what comes behind it
// may have run without a context.
//
// Must: That never reaches the client.
func TestAttackFenceThatFails(t *testing.T) {
	for name, reply := range map[string]string{
		"cancelled":                  "E:SERROR\x00VERROR\x00C57014\x00\x00",
		"25P02 outside of a failure": "E:SERROR\x00VERROR\x00C25P02\x00\x00",
		"code in a message":          "E:SERROR\x00VERROR\x00C57014\x00MC25P02\x00\x00",
		"no result":                  "Z:I",
		"another status":             "V:\xff\xff\xff\xff|Z:T",
		"rows":                       "D:\x00\x00",
		"too long":                   "V:" + strings.Repeat("x", maxWhole+1),
	} {
		r := &Relay{}
		r.Begin(false, true)
		pipeline(t, r, "Q:a\x00", "Q:b\x00")
		got, err := forwarded(r, stream("C:A\x00|Z:I|"+reply+"|D:secret|C:B\x00|Z:I"), 1<<20)
		if err == nil || bytes.Contains(got, []byte("secret")) {
			t.Errorf("%s: %q went to the client, %v", name, got, err)
		}
	}
}

func TestFencesAreBounded(t *testing.T) {
	r := &Relay{}
	r.Begin(false, true)
	if r.Fenceable() {
		t.Error("a fence in front of the first request")
	}
	request := stream("Q:a\x00")
	for n := 0; n <= maxFences; n++ {
		if n > 0 {
			r.Fence()
		}
		r.FromClient(request)
		r.FromClient(request)
		if !r.Held() {
			t.Fatal("a second request went without a fence")
		}
	}
	if r.Fenceable() {
		t.Error("fences without end")
	}
}

// A COPY that begins while a fence is on its way would take the fence for data: nobody can tell what comes next.
func TestCopyInFrontOfAFence(t *testing.T) {
	r := &Relay{}
	r.Begin(false, true)
	pipeline(t, r, "P:\x00copy\x00\x00\x00|B:\x00\x00\x00\x00\x00\x00\x00\x00|E:\x00\x00\x00\x00\x00|S:", "Q:b\x00")
	if _, err := forwarded(r, stream("1:|2:|G:\x00\x00\x00"), 1<<20); err == nil {
		t.Error("COPY goes on")
	}
}

// Behind a COPY whose end was sent ahead with it no fence goes before it is known whether it has begun.
func TestNoFenceBehindACopySentAhead(t *testing.T) {
	const batch = "P:\x00copy\x00\x00\x00|B:\x00\x00\x00\x00\x00\x00\x00\x00|E:\x00\x00\x00\x00\x00|"
	for name, sent := range map[string]string{
		"Sync behind it":     batch + "c:|S:",
		"two ends":           batch + "c:|c:|S:",
		"Sync in front":      batch + "S:|c:",
		"by Query":           "Q:copy\x00|c:",
		"by Query, two ends": "Q:copy\x00|c:|c:",
	} {
		r := &Relay{}
		r.Begin(false, true)
		b := stream(sent + "|Q:b\x00")
		n, _, err := r.FromClient(b)
		if want := stream(sent); err != nil || n != len(want) || !r.Held() || r.Fenceable() {
			t.Errorf("%s: %d of %d bytes, %v, fenceable %v", name, n, len(want), err, r.Fenceable())
		}
	}
}
