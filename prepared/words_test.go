package prepared

import "testing"

// TestErrorsHaveTheClientsNames: PostgreSQL's own error about a statement is told with the client's name for it, never with ours.
func TestErrorsHaveTheClientsNames(t *testing.T) {
	l := &Library{Random: func() string { return "random" }}
	c := NewClient(l, Limits{Client: 9, Bytes: 999}, "")
	s := NewServer(l, 9)
	s.Begin(1, c)
	c.add("mine", "select $1\x00\x00\x00", 0)
	for message, want := range map[string]string{
		`bind message supplies 0 parameters, but prepared statement "claimpool_random" requires 1`: `bind message supplies 0 parameters, but prepared statement "mine" requires 1`,
		`bind message supplies 0 parameters, but prepared statement "other" requires 1`:            "",
		"invalid message format": "",
	} {
		got := ""
		if e := s.Failed(0, 0, &Failure{Code: []byte("08P01"), Message: []byte(message)}); e != nil {
			got = e.Message
		}
		if got != want {
			t.Errorf("%q is told as %q, want %q", message, got, want)
		}
	}
}
