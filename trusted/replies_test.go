package trusted

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// reply builds messages of a server: "C:RESET\0|Z:I" and so on.
func reply(text string) (b []byte) {
	if text == "" {
		return nil
	}
	for _, m := range strings.Split(text, "|") {
		n := len(m) - 2 + 4
		b = append(b, m[0], byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		b = append(b, m[2:]...)
	}
	return b
}

const (
	resetDone   = "C:RESET\x00|Z:I"
	discardDone = "C:DISCARD ALL\x00|Z:I"
	callDone    = "V:\xff\xff\xff\xff|Z:I"
	canceled    = "E:SERROR\x00VERROR\x00C57014\x00Mcanceling statement due to user request\x00\x00"
)

func TestReplies(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps Steps
		bytes string
		want  string // "done", "wait", "refused", or the server's SQLSTATE
	}{
		{"nothing asked", nil, "", "done"},
		{"reset", Steps{StepReset, StepReset, StepDiscard}, resetDone + "|" + resetDone + "|" + discardDone, "done"},
		{"two resets in one query", Steps{StepResetFirst, StepReset}, "C:RESET\x00|" + resetDone, "done"},
		{"one of two resets", Steps{StepResetFirst, StepReset}, resetDone, "refused"},
		{"ready between two resets", Steps{StepResetFirst, StepReset}, resetDone + "|" + resetDone, "refused"},
		{"no reset", Steps{StepResetFirst, StepReset}, "Z:I", "refused"},
		{"call", Steps{StepCall}, callDone, "done"},
		{"setting", Steps{StepSetting}, "V:\x00\x00\x00\x03UTC|Z:I", "done"},
		{"sign of life", Steps{StepSync}, "Z:I", "done"},
		{"close and call", Steps{StepClose, StepCall}, "3:|" + callDone, "done"},
		{"close, and not yet", Steps{StepClose, StepCall}, "3:", "wait"},
		{"call without a close", Steps{StepClose, StepCall}, callDone, "refused"},
		{"ready behind a close", Steps{StepClose, StepCall}, "3:|Z:I", "refused"},
		{"close that nobody asked for", Steps{StepCall}, "3:|" + callDone, "refused"},
		{"close behind the answer", Steps{StepCall, StepClose}, "V:\xff\xff\xff\xff|3:", "refused"},
		{"rollback", Steps{StepRollback}, "C:ROLLBACK\x00|Z:I", "done"},
		{"news in between", Steps{StepReset}, "N:note|S:a\x00b\x00|A:news|C:RESET\x00|A:news|Z:I", "done"},
		{"nothing yet", Steps{StepCall}, "", "wait"},
		{"one of two", Steps{StepReset, StepCall}, resetDone, "wait"},
		{"not ready yet", Steps{StepCall}, "V:\xff\xff\xff\xff", "wait"},
		{"ready without an answer", Steps{StepCall}, "Z:I", "refused"},
		{"ready without an answer to a reset", Steps{StepReset}, "Z:I", "refused"},
		{"cancelled", Steps{StepDiscard}, canceled, "57014"},
		{"cancelled after its answer", Steps{StepDiscard}, "C:DISCARD ALL\x00|" + canceled, "57014"},
		{"wrong tag", Steps{StepDiscard}, resetDone, "refused"},
		{"somebody's own tag", Steps{StepRollback}, "C:SELECT 1\x00|Z:I", "refused"},
		{"a commit in place of a rollback", Steps{StepRollback}, "C:COMMIT\x00|Z:I", "refused"},
		{"two answers", Steps{StepReset}, "C:RESET\x00|C:RESET\x00|Z:I", "refused"},
		{"two answers to a call", Steps{StepCall}, "V:\xff\xff\xff\xff|V:\xff\xff\xff\xff", "refused"},
		{"call answered as a query", Steps{StepCall}, resetDone, "refused"},
		{"query answered as a call", Steps{StepReset}, callDone, "refused"},
		{"answer to a sign of life", Steps{StepSync}, "C:X\x00|Z:I", "refused"},
		{"open transaction", Steps{StepCall}, "V:\xff\xff\xff\xff|Z:T", "refused"},
		{"failed transaction", Steps{StepRollback}, "C:ROLLBACK\x00|Z:E", "refused"},
		{"rows of the last client", Steps{StepReset}, "T:\x00\x00|D:\x00\x00|C:SELECT 1\x00|Z:I", "refused"},
		{"a stray ready", Steps{StepReset}, "Z:I|" + resetDone, "refused"},
		{"COPY", Steps{StepReset}, "G:\x00\x00\x00", "refused"},
		{"authentication", Steps{StepReset}, "R:\x00\x00\x00\x00", "refused"},
		{"malformed ready", Steps{StepSync}, "Z:II", "refused"},
		{"malformed tag", Steps{StepReset}, "C:RESET", "refused"},
		{"malformed error", Steps{StepReset}, "E:x", "refused"},
		{"too long", Steps{StepCall}, "V:" + strings.Repeat("x", maxReply+1), "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Expect(test.steps)
			b := reply(test.bytes)
			extra := append(bytes.Clone(b), reply("T:next")...)
			n, err := r.Take(extra)
			got := "wait"
			var e *claimpool.Error
			switch {
			case errors.As(err, &e):
				got = string(e.Code)
			case err != nil:
				got = "refused"
			case r.Done():
				got = "done"
			}
			if test.want == "wait" { // and the next message is not an answer
				if got != "refused" {
					t.Errorf("a row was taken for an answer: %s", got)
				}
				r = Expect(test.steps)
				if n, err = r.Take(b); err == nil && !r.Done() {
					got = "wait"
				}
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if (got == "done" || got == "wait") && n != len(b) {
				t.Errorf("%d of %d bytes used", n, len(b))
			}
		})
	}
}

func TestNewsAreKeptForTheirSessionOnly(t *testing.T) {
	for _, keep := range []bool{false, true} {
		r := Expect(Steps{StepCall})
		if keep {
			r.KeepNews()
		}
		r.Take(reply("A:one|N:x|V:\xff\xff\xff\xff|A:two|Z:I"))
		var want []byte
		if keep {
			want = reply("A:one|A:two")
		}
		if got := r.News(); !bytes.Equal(got, want) {
			t.Errorf("keep %v: %q", keep, got)
		}
		if r.News() != nil {
			t.Error("given twice")
		}
	}
}

// TestAttackEndlessNews: a neighbour notifies without end while a session is handed over.
//
// Must: The hand-over must fail, not collect for ever.
func TestAttackEndlessNews(t *testing.T) {
	r := Expect(Steps{StepCall})
	r.KeepNews()
	b := reply("A:" + strings.Repeat("x", 8000))
	for range 2 * maxNews / len(b) {
		if _, err := r.Take(b); err != nil {
			return
		}
	}
	t.Errorf("%d bytes were collected", len(r.News()))
}

func TestSettled(t *testing.T) {
	var in Intern
	set := in.Of([][2]string{{"datestyle", "german"}, {"timezone", "UTC"}})
	r := Expect(Steps{StepCall, StepSetting, StepSetting})
	r.Compare(set)
	if _, err := r.Take(reply(callDone + "|V:\x00\x00\x00\x0bGerman, DMY|Z:I|V:\x00\x00\x00\x03UTC|Z:I")); err != nil || !r.Done() {
		t.Fatal(err)
	}
	if got := r.Settled(); len(got) != 1 || got[0] != [2]string{"datestyle", "German, DMY"} {
		t.Errorf("%q", got)
	}
	r = Expect(Steps{StepSetting})
	r.Compare(set)
	if _, err := r.Take(reply("V:\x00\x00\x00\x09x|Z:I")); err == nil {
		t.Error("a malformed answer was taken")
	}
}

func TestClientsFault(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps Steps
		code  claimpool.Code
		want  bool
	}{
		{"a bad value", Steps{StepSetting}, "22023", true},
		{"no such setting", Steps{StepSetting}, "42704", true},
		{"not allowed", Steps{StepSetting}, "42501", true},
		{"cancelled by a neighbour", Steps{StepSetting}, "57014", false},
		{"out of memory", Steps{StepSetting}, "53200", false},
		{"internal", Steps{StepSetting}, "XX000", false},
		{"no code", Steps{StepSetting}, "", false},
		{"the context, not a setting", Steps{StepCall, StepSetting}, "22023", false},
		{"all answered", nil, "22023", false},
	} {
		r := Expect(test.steps)
		if got := ClientsFault(&r, &claimpool.Error{Code: test.code}); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// Whatever the server says and however it is cut: no panic, nothing used that was not given, the same result in pieces.
func FuzzReplies(f *testing.F) {
	all := []byte{0, 1, 2, 3, 4, 5}
	f.Add(all, reply(resetDone+"|"+discardDone+"|C:ROLLBACK\x00|Z:I|"+callDone+"|"+callDone+"|Z:I"), 3)
	f.Add([]byte{3}, reply("N:|A:x|"+canceled), 1)
	f.Add([]byte{5}, []byte("Z\x00\x00\x00\x03"), 2)
	f.Fuzz(func(t *testing.T, kinds, b []byte, piece int) {
		var steps Steps
		for _, k := range kinds {
			steps = append(steps, Step(k%6))
		}
		var in Intern
		run := func(piece int) (r Replies, used int, failed bool) {
			r = Expect(steps)
			r.KeepNews()
			r.Compare(in.Of([][2]string{{"a", "b"}}))
			for end := 0; end < len(b) && !r.Done(); {
				end = min(len(b), end+piece)
				n, err := r.Take(b[used:end])
				if used += n; n < 0 || used > end {
					t.Fatalf("%d bytes used of %d", used, end)
				}
				if err != nil {
					return r, used, true
				}
			}
			return r, used, false
		}
		whole, used, failed := run(len(b) + 1)
		cut, used2, failed2 := run(max(1, min(piece, len(b)+1)))
		if used != used2 || failed != failed2 || whole.Done() != cut.Done() || !bytes.Equal(whole.News(), cut.News()) ||
			len(whole.Settled()) != len(cut.Settled()) {
			t.Errorf("%d %v %v in one, %d %v %v in pieces", used, failed, whole.Done(), used2, failed2, cut.Done())
		}
		if whole.Done() && !failed && bytes.Count(b[:used], []byte{wire.MsgReadyForQuery}) < len(steps) {
			t.Error("done with too few answers")
		}
	})
}

func TestFenced(t *testing.T) {
	for _, test := range []struct {
		steps Steps
		want  bool
	}{
		{nil, false},
		{Steps{StepCall}, true},
		{Steps{StepCall, StepSetting, StepSetting}, true},
		{Steps{StepSetting}, false},
		{Steps{StepSync}, false},
		{Steps{StepCall, StepCall}, false},
		{Steps{StepReset, StepCall}, false},
		{Steps{StepCall, StepSync}, false},
	} {
		if got := test.steps.Fenced(); got != test.want {
			t.Errorf("%v: %t", test.steps, got)
		}
	}
}
