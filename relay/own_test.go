package relay

import (
	"bytes"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// known takes everything that begins with "SET x".
var known = Known(func(sql []byte, whole bool) (yes, maybe bool) {
	const want = "SET x"
	n := min(len(sql), len(want))
	if string(sql[:n]) != want[:n] {
		return false, false
	}
	return n == len(want), n < len(want) && !whole
})

func TestStopsInFrontOfOurRequests(t *testing.T) {
	query, other := wire.AppendQuery(nil, "SET x = 1"), wire.AppendQuery(nil, "SELECT 1")
	parse := wire.AppendParse(nil, "name", "SET x = 1")
	for _, test := range []struct {
		name  string
		sent  []byte
		n     int // what goes on
		stops bool
	}{
		{"query", query, 0, true},
		{"parse", parse, 0, true},
		{"behind another", append(bytes.Clone(other), query...), len(other), true},
		{"another", other, len(other), false},
		{"another SET", wire.AppendQuery(nil, "SET y = 1"), len(wire.AppendQuery(nil, "SET y = 1")), false},
		{"function call", wire.AppendFunctionCall(nil, 1, []byte("SET x")), len(wire.AppendFunctionCall(nil, 1, []byte("SET x"))), false},
		{"empty query", wire.AppendQuery(nil, ""), 6, false},
		{"beginning of one", query[:8], 0, false},
		{"beginning of the name", parse[:7], 0, false},
		{"header alone", query[:5], 0, false},
		{"malformed parse", []byte{'P', 0, 0, 0, 6, 'a', 'b'}, 7, false},
		{"beginning of a long one", append(wire.AppendQuery(nil, "SET x"+string(make([]byte, 70_000)))[:5], "SET x"...), 0, true},
	} {
		var r Relay
		r.Watch(&known)
		r.Begin(false, false)
		n, _, err := r.FromClient(test.sent)
		if n != test.n || r.Stopped() != test.stops || err != nil {
			t.Errorf("%s: %d bytes go on, stopped %t, %v", test.name, n, r.Stopped(), err)
		}
		if got := Begins(test.sent, &known); got != (test.stops && n == 0) {
			t.Errorf("%s: begins with ours: %t", test.name, got)
		}
		if Begins(test.sent, nil) {
			t.Errorf("%s is somebody's who does not ask", test.name)
		}
		r.Watch(nil)
		r.Begin(false, false)
		if n, _, _ := r.FromClient(test.sent); n != len(test.sent) && test.name != "header alone" && len(test.sent) > 8 {
			t.Errorf("%s, not watched: %d bytes go on", test.name, n)
		}
	}
}

func TestReadStatement(t *testing.T) {
	const sql = "SET x"
	parse, bind, execute, sync := wire.AppendParse(nil, "", sql), wire.AppendBind(nil, "", "", nil), wire.AppendExecute(nil, "", 0), wire.AppendSync(nil)
	statement, portal := wire.AppendDescribe(nil, wire.KindStatement, ""), wire.AppendDescribe(nil, wire.KindPortal, "")
	closing := []byte{wire.MsgClose, 0, 0, 0, 6, wire.KindPortal, 0}
	for _, test := range []struct {
		name          string
		sent          [][]byte
		before, after string // the types of the replies
		code          claimpool.Code
	}{
		{"query", [][]byte{wire.AppendQuery(nil, sql)}, "", "", ""},
		{"batch", [][]byte{parse, bind, execute, sync}, "12", "", ""},
		{"batch with all", [][]byte{parse, statement, bind, portal, execute, closing, sync}, "1tn2n", "3", ""},
		{"types", [][]byte{wire.AppendParse(nil, "", sql, 25), bind, execute, sync}, "12", "", ""},
		{"name", [][]byte{wire.AppendParse(nil, "s", sql), bind, execute, sync}, "", "", "0A000"},
		{"portal", [][]byte{parse, wire.AppendBind(nil, "p", "", nil), execute, sync}, "", "", "0A000"},
		{"another statement", [][]byte{parse, wire.AppendBind(nil, "", "s", nil), execute, sync}, "", "", "0A000"},
		{"argument", [][]byte{parse, wire.AppendBind(nil, "", "", [][]byte{{1}}), execute, sync}, "", "", "0A000"},
		{"not bound", [][]byte{parse, execute, sync}, "", "", "0A000"},
		{"not executed", [][]byte{parse, bind, sync}, "", "", "0A000"},
		{"parsed twice", [][]byte{parse, parse, bind, execute, sync}, "", "", "0A000"},
		{"executed twice", [][]byte{parse, bind, execute, execute, sync}, "", "", "0A000"},
		{"flush", [][]byte{parse, wire.AppendFlush(nil), bind, execute, sync}, "", "", "0A000"},
		{"query in a batch", [][]byte{parse, bind, wire.AppendQuery(nil, sql), execute, sync}, "", "", "0A000"},
		{"two strings", [][]byte{{'Q', 0, 0, 0, 8, 'a', 0, 'b', 0}}, "", "", "0A000"},
		{"no end", [][]byte{{'Q', 0, 0, 0, 5, 'a'}}, "", "", "0A000"},
		{"too long", [][]byte{wire.AppendQuery(nil, string(bytes.Repeat([]byte("x"), maxStatement)))}, "", "", "54000"},
		{"long batch", [][]byte{parse, wire.AppendBind(nil, "", "", [][]byte{make([]byte, maxStatement)}), execute, sync}, "", "", "54000"},
	} {
		sent := bytes.Join(test.sent, nil)
		for n := range len(sent) + 1 {
			st, ok, err := ReadStatement(append(sent[:n:n], "the next request"[:(n/len(sent))*16]...))
			switch {
			case err != nil:
				if test.code == "" || claimpool.AsError(err).Code != test.code || ok {
					t.Fatalf("%s, %d bytes: %v", test.name, n, err)
				}
			case ok && test.code == "":
				if n < len(sent) || st.Len != len(sent) || string(st.SQL) != sql || types(st.Before) != test.before || types(st.After) != test.after {
					t.Errorf("%s, %d bytes of %d: %+v", test.name, n, len(sent), st)
				}
			case n == len(sent):
				t.Errorf("%s: ok %t, %+v", test.name, ok, st)
			}
		}
	}
}

// types gives the types of messages, and panics where they are not messages.
func types(b []byte) (s string) {
	for len(b) > 0 {
		typ, size, _, _ := wire.Header(b)
		s, b = s+string(typ), b[wire.HeaderLen+size:]
	}
	return s
}

func TestReplace(t *testing.T) {
	query, parse := wire.AppendQuery(nil, "SET x"), wire.AppendParse(nil, "name", "SET x", 25)
	for _, test := range []struct{ sent, want []byte }{
		{query, wire.AppendQuery(nil, "other")},
		{parse, wire.AppendParse(nil, "name", "other")},
		{query[:7], nil}, {query[:3], nil},
	} {
		message, n, ok, err := Replace(test.sent, "other")
		if !bytes.Equal(message, test.want) || ok != (test.want != nil) || err != nil || ok && n != len(test.sent) {
			t.Errorf("%q: %q, %d, %t, %v", test.sent, message, n, ok, err)
		}
	}
	if _, _, _, err := Replace([]byte{'Q', 0, 1, 0, 0}, "other"); claimpool.AsError(err).Code != claimpool.CodeProgramLimitExceeded {
		t.Errorf("too long: %v", err)
	}
}
