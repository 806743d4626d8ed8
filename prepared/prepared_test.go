package prepared

import (
	"strconv"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/wire"
)

// desk is a library with one server and one client, as a relay would use them.
type desk struct {
	t       *testing.T
	library *Library
	server  *Server
	client  *Client
	batch   uint32
	ack     uint32
	kinds   []byte // of the messages that the server got and has not answered
}

func newDesk(t *testing.T, limits Limits) *desk {
	n := 0
	l := &Library{Random: func() string { n++; return strconv.Itoa(n) }}
	d := &desk{t: t, library: l, server: NewServer(l, limits.Server)}
	d.use(NewClient(l, limits, "scope"))
	return d
}

func (d *desk) use(c *Client) {
	d.client, d.batch, d.ack = c, 0, 0
	d.server.Begin(1, c)
}

// send gives messages to the book, and the types and names that come out, as "C1 P1 B1".
func (d *desk) send(messages ...[]byte) string {
	d.t.Helper()
	var words []string
	for _, m := range messages {
		at := Point{Batch: d.batch, Ack: d.ack, Unnamed: true}
		out, step, err := d.server.Rewrite(nil, m, &at)
		if err != nil || !step.Done || step.Used+step.Rest != len(m) {
			d.t.Fatalf("%q: %+v, %v", m, step, err)
		}
		d.ack = at.Ack
		out = append(out, m[step.Used:]...)
		for len(out) > 0 {
			_, size, _, _ := wire.Header(out)
			body := out[wire.HeaderLen : wire.HeaderLen+size]
			name := body[1:]
			if out[0] == wire.MsgParse {
				name = body
			}
			words = append(words, string(out[0])+strings.TrimPrefix(string(name[:strings.IndexByte(string(name), 0)]), prefix))
			d.kinds = append(d.kinds, out[0])
			out = out[wire.HeaderLen+size:]
		}
	}
	return strings.Join(words, " ")
}

// answer lets the server succeed with n messages, and be ready.
func (d *desk) answer(n int) {
	d.t.Helper()
	ack := uint32(0)
	for _, kind := range d.kinds[:n] {
		typ := map[byte]byte{wire.MsgParse: wire.MsgParseComplete, wire.MsgClose: wire.MsgCloseComplete}[kind]
		if typ == 0 {
			continue
		}
		if d.server.Expects(d.batch, ack) && !d.server.Acknowledge(typ) {
			d.t.Fatalf("%c is not what answers %c", typ, kind)
		}
		ack++
	}
	d.server.Ready(d.batch)
	d.kinds, d.batch, d.ack = nil, d.batch+1, 0
}

// all is send, and an answer to everything.
func (d *desk) all(messages ...[]byte) string {
	d.t.Helper()
	got := d.send(messages...)
	d.answer(len(d.kinds))
	return got
}

func parse(name string) []byte { return wire.AppendParse(nil, name, "text of "+name) }
func bind(name string) []byte  { return wire.AppendDescribe(nil, wire.KindStatement, name) }
func closes(name string) []byte {
	return wire.AppendClose(nil, wire.KindStatement, name)
}

func (d *desk) expect(got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("the server gets %q, want %q", got, want)
	}
}

var roomy = Limits{Server: 10, Client: 10, Bytes: 10_000}

func TestTheOneUnusedForLongestMakesRoom(t *testing.T) {
	d := newDesk(t, Limits{Server: 2, Client: 10, Bytes: 10_000})
	d.expect(d.all(parse("a"), parse("b"), bind("a")), "P1 P2 D1")
	d.expect(d.all(parse("c")), "C2 P3")
	d.expect(d.all(bind("a"), bind("c")), "D1 D3")
	d.expect(d.all(bind("b")), "C1 C2 P2 D2")
	if d.server.Len() != 2 || d.client.Len() != 3 || d.library.Len() != 3 {
		t.Errorf("%d on the server, %d of the client, %d texts", d.server.Len(), d.client.Len(), d.library.Len())
	}
}

func TestWhatWasSkippedIsUndone(t *testing.T) {
	d := newDesk(t, Limits{Server: 1, Client: 10, Bytes: 10_000})
	d.all(parse("a"))
	d.expect(d.send(parse("b"), closes("a"), bind("b")), "C1 P2 Cnothing D2")
	d.answer(0)
	d.expect(d.all(bind("a")), "C1 P1 D1") // nobody knows whether the Close has been carried out
	d.expect(d.all(bind("b"), closes("b")), "Db Cb")
	d.expect(d.send(parse("b"), closes("a")), "C1 P3 Cnothing")
	d.answer(1) // the Parse has failed
	d.expect(d.all(bind("a")), "C1 P1 D1")
	if d.client.Len() != 1 || d.library.Len() != 1 {
		t.Errorf("%d of the client, %d texts", d.client.Len(), d.library.Len())
	}
}

func TestClientsOfOneScopeShare(t *testing.T) {
	d := newDesk(t, roomy)
	first := d.client
	d.expect(d.all(parse("a")), "P1")
	second := NewClient(d.library, roomy, "scope")
	d.use(second)
	d.expect(d.all(parse("a"), bind("a")), "C1 P1 D1")
	other := NewClient(d.library, roomy, "another scope")
	d.use(other)
	d.expect(d.all(parse("a"), bind("a")), "P2 D2")
	d.use(first)
	d.expect(d.all(bind("a"), closes("a")), "D1 Cnothing")
	d.use(second)
	d.expect(d.all(bind("a")), "D1")
	second.Rescope("another scope")
	d.expect(d.all(bind("a")), "D2")
	for _, c := range []*Client{first, second, other} {
		c.Release()
	}
	if n := d.library.Len(); n != 0 {
		t.Errorf("%d texts are held by nobody", n)
	}
}

func TestStatementsOfThoseWhoHaveLeftAreClosed(t *testing.T) {
	d := newDesk(t, roomy)
	d.all(parse("a"), parse("b"), parse("c"))
	d.client.Release()
	d.use(NewClient(d.library, roomy, "scope"))
	d.expect(d.all(parse("d")), "C1 C2 P4")
}

func TestTags(t *testing.T) {
	for _, test := range []struct{ tag, again string }{
		{"SELECT 1", "D1"}, {"PREPARE TRANSACTION", "D1"}, {"CREATE TABLE", "D1"}, {"ALTER TABLE", "D1"},
		{"PREPARE", "C1 P1 D1"}, {"DEALLOCATE", "C1 P1 D1"}, {"DO", "C1 P1 D1"}, {"CREATE FUNCTION", "C1 P1 D1"},
		{"DEALLOCATE ALL", "Da"}, {"DISCARD ALL", "Da"},
	} {
		d := newDesk(t, roomy)
		d.all(parse("a"))
		d.server.Completed(test.tag)
		if got := d.all(bind("a")); got != test.again {
			t.Errorf("behind %s the server gets %q, want %q", test.tag, got, test.again)
		}
	}
}

func TestANewTextIsNotAnOldPlan(t *testing.T) {
	again := map[string]string{"nothing": "D1"} // on a server that had it before
	for name, change := range map[string]func(*Server){
		"nothing":     func(*Server) {},
		"ALTER TABLE": func(s *Server) { s.Completed("ALTER TABLE") },
		"an error": func(s *Server) {
			s.Failed(0, 0, &Failure{Code: []byte("0A000"), Routine: []byte("RevalidateCachedQuery")})
		},
	} {
		d := newDesk(t, roomy)
		other := NewServer(d.library, 10)
		d.all(parse("a"))
		d.server, other = other, d.server
		d.use(d.client)
		change(other)
		d.expect(d.all(closes("a"), parse("a"), bind("a")), "Cnothing C1 P1 D1")
		d.server = other
		d.use(d.client)
		want := again[name]
		if want == "" {
			want = "C1 P1 D1"
		}
		if got := d.all(bind("a")); got != want {
			t.Errorf("%s: the other server gets %q", name, got)
		}
	}
}

func TestAFunctionMayDoWhatItLikes(t *testing.T) {
	d := newDesk(t, roomy)
	d.server.Completed("CREATE FUNCTION")
	d.all(parse("a"))
	d.expect(d.all(bind("a")), "D1")
	d.server.Begin(2, NewClient(d.library, roomy, "scope"))
	d.server.Begin(1, d.client)
	d.batch, d.ack = 0, 0
	d.expect(d.all(bind("a")), "C1 P1 D1")
	d.server.Clear()
	d.server.Begin(2, nil)
	d.server.Begin(1, d.client)
	d.batch, d.ack = 0, 0
	d.expect(d.all(bind("a")), "C1 P1 D1")
	d.server.Begin(2, nil)
	d.server.Begin(1, d.client)
	d.batch, d.ack = 0, 0
	d.expect(d.all(bind("a")), "D1") // the wipe has taken the function, too
}

func TestAClientThatLeavesTakesItsTextsAlong(t *testing.T) {
	for sent := range 8 {
		d := newDesk(t, roomy)
		d.all(parse("a"), parse("b"))
		messages := [][]byte{closes("a"), parse("a"), bind("b"), closes("a"), closes("b"), parse("b"), parse("c")}
		d.send(messages[:min(sent, len(messages))]...)
		d.server.Leave()
		d.client.Release()
		d.answer(min(sent, 1))
		if n := d.library.Len(); n != 0 {
			t.Errorf("%d texts are left when %d messages were under way", n, sent)
		}
	}
}

func TestWhatIsTakenBackIsSentAnew(t *testing.T) {
	d := newDesk(t, roomy)
	d.all(parse("a"))
	d.expect(d.send(parse("b"), closes("a"), bind("b")), "P2 C1 D2")
	d.server.Abort()
	d.server = NewServer(d.library, 10)
	d.use(d.client)
	d.kinds = nil
	d.expect(d.all(parse("b"), closes("a"), bind("b")), "P3 Cnothing D3")
	if d.client.Len() != 1 || d.library.Len() != 1 {
		t.Errorf("%d of the client, %d texts", d.client.Len(), d.library.Len())
	}
}
