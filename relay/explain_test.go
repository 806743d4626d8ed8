package relay

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

// TestExplain: the next 57014 is told in other words, once and in this lease only; other errors and FATAL are PostgreSQL's own.
func TestExplain(t *testing.T) {
	ours := &claimpool.Error{Code: claimpool.CodeQueryCanceled, Message: "ours"}
	const cancelled, other, fatal = "E:VERROR\x00C57014\x00\x00", "E:VERROR\x00C22012\x00\x00", "E:VFATAL\x00C57014\x00\x00"
	for _, test := range []struct{ replies, want string }{
		{"T:|" + cancelled + "|Z:I", "instead"},
		{other + "|Z:I|" + cancelled + "|Z:I", "instead"},
		{cancelled + "|Z:I|" + cancelled + "|Z:I", "instead"},
		{other + "|Z:I", ""},
		{fatal, ""},
	} {
		var r Relay
		r.Begin(false, false)
		r.Explain(ours)
		r.FromClient(stream("Q:|Q:"))
		b, got := stream(test.replies), []string{}
		for len(b) > 0 {
			reply, err := r.FromServer(b)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Instead != nil {
				got = append(got, "instead")
			}
			b = b[reply.Forward+reply.Drop:]
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q: got %v", test.replies, got)
		}
		r.Begin(false, false)
		r.FromClient(stream("Q:"))
		if reply, err := r.FromServer(stream(cancelled)); err != nil || reply.Instead != nil {
			t.Errorf("in the next lease: %+v, %v", reply, err)
		}
	}
}
