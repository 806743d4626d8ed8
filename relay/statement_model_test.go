package relay

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
	"pgregory.net/rapid"
)

// backendModel is a model of what PostgreSQL does with statements: one session. The texts are commands of its own.
type backendModel struct {
	statements map[string]string
	portal     string // the text that the one portal runs
	status     byte
	skip       bool
	copying    string // the text of the COPY under way
	in, out    []byte
}

func newBackendModel() *backendModel {
	return &backendModel{status: 'I', statements: map[string]string{}}
}

func (m *backendModel) reply(typ byte, body string) {
	m.out = append(m.out, message{typ, body}.bytes()...)
}

func (m *backendModel) fail(code, more string) {
	m.reply('E', "SERROR\x00VERROR\x00C"+code+"\x00"+more+"\x00")
	if m.status == 'T' {
		m.status = 'E'
	}
}

// take processes all whole messages.
func (m *backendModel) take() {
	for {
		typ, size, ok, _ := wire.Header(m.in)
		if !ok || len(m.in) < wire.HeaderLen+size {
			return
		}
		body := string(m.in[wire.HeaderLen : wire.HeaderLen+size])
		m.in = m.in[wire.HeaderLen+size:]
		m.message(typ, body)
	}
}

func (m *backendModel) message(typ byte, body string) {
	switch {
	case m.copying != "":
		m.copyData(typ)
		return
	case typ == wire.MsgSync:
		m.skip = false
		m.reply('Z', string(m.status))
		return
	case m.skip:
		return
	case typ == wire.MsgFunctionCall: // the proxy's own, between two requests
		if m.status == 'E' {
			m.fail("25P02", inFailed)
		} else {
			m.reply('V', "\xff\xff\xff\xff")
		}
		m.reply('Z', string(m.status))
		return
	case typ == wire.MsgQuery:
		delete(m.statements, "")
		m.run(strings.TrimSuffix(body, "\x00"))
		m.reply('Z', string(m.status))
		return
	}
	before := len(m.out)
	switch typ {
	case wire.MsgCopyData, wire.MsgCopyDone, wire.MsgCopyFail: // of a COPY that did not begin, or has failed
		return
	case wire.MsgParse:
		m.parse(body)
	case wire.MsgBind:
		portal, rest, _ := strings.Cut(body, "\x00")
		name, _, _ := strings.Cut(rest, "\x00")
		if text, ok := m.find(name); ok && portal == "" {
			m.portal = text
			m.reply('2', "")
		}
	case wire.MsgDescribe:
		if text, ok := m.find(strings.TrimSuffix(body[1:], "\x00")); ok {
			m.reply('t', text)
			m.reply('n', "")
		}
	case wire.MsgClose:
		delete(m.statements, strings.TrimSuffix(body[1:], "\x00"))
		m.reply('3', "")
	case wire.MsgExecute:
		m.run(m.portal)
	}
	m.skip = before < len(m.out) && m.out[before] == 'E' || typ == wire.MsgExecute && m.portal == "copy early"
}

// copyData takes a message inside of COPY.
func (m *backendModel) copyData(typ byte) {
	text := m.copying
	switch typ {
	case wire.MsgSync, wire.MsgFlush:
		return
	case wire.MsgCopyData, wire.MsgCopyDone:
		switch {
		case text == "copy row":
		case typ == wire.MsgCopyDone:
			m.copying = ""
			m.reply('C', "COPY\x00")
			return
		default:
			return
		}
	}
	m.copying, m.skip = "", true
	m.fail("22P04", "")
}

const inFailed = "Mcurrent transaction is aborted, commands ignored until end of transaction block\x00"

func (m *backendModel) parse(body string) {
	name, rest, _ := strings.Cut(body, "\x00")
	text, _, _ := strings.Cut(rest, "\x00")
	_, exists := m.statements[name]
	switch {
	case text == "bad":
		m.fail("42601", "")
	case m.status == 'E' && text != "rollback" && text != "":
		m.fail("25P02", inFailed)
	case exists && name != "":
		m.fail("42P05", "Mprepared statement \""+name+"\" already exists\x00")
	default:
		m.statements[name] = text
		m.reply('1', "")
	}
}

func (m *backendModel) find(name string) (text string, ok bool) {
	text, ok = m.statements[name]
	switch {
	case !ok:
		m.fail("26000", "Mprepared statement "+name+" does not exist\x00")
	case m.status == 'E' && text != "rollback":
		m.fail("25P02", inFailed)
		return "", false
	}
	return text, ok
}

func (m *backendModel) run(text string) {
	switch {
	case m.status == 'E' && text != "rollback":
		m.fail("25P02", inFailed)
		return
	case text == "begin":
		m.status = 'T'
	case text == "rollback":
		m.status = 'I'
	case text == "deallocate all", text == "discard all":
		clear(m.statements)
	case text == "fail":
		m.fail("22012", "")
		return
	case strings.HasPrefix(text, "copy"):
		m.reply('G', "\x00\x00\x00")
		if text == "copy early" {
			m.fail("P0001", "")
			return
		}
		m.copying = text
		return
	default:
		m.reply('D', text)
	}
	m.reply('C', strings.ToUpper(text)+"\x00")
}

// connection is one client twice: straight at a model, and through the relay.
type connection struct {
	number uint64
	direct *backendModel
	book   *prepared.Client
	lease  *connectionServer
	sent   []byte // not yet taken by the relay
	heard  []byte
}

type connectionServer struct {
	model  *backendModel
	book   *prepared.Server
	relay  Relay
	client *connection
	answer []byte
}

type statementWorld struct {
	t       *rapid.T
	library *prepared.Library
	servers []*connectionServer
	clients []*connection
	log     []string
	single  bool // one request at a time
	fences  bool // or with fences in between
}

func newStatementWorld(t *rapid.T, limit int) *statementWorld {
	w := &statementWorld{t: t, library: &prepared.Library{}}
	n := 0
	w.library.Random = func() string { n++; return strconv.Itoa(n) }
	for range 2 {
		s := &connectionServer{model: newBackendModel(), book: prepared.NewServer(w.library, limit)}
		s.relay.Keep(s.book)
		w.servers = append(w.servers, s)
	}
	for i := range 2 {
		w.clients = append(w.clients, &connection{number: uint64(i), direct: newBackendModel(),
			book: prepared.NewClient(w.library, prepared.Limits{Client: 100, Bytes: 1 << 20}, "scope")})
	}
	return w
}

// send gives a client's message to both.
func (w *statementWorld) send(c *connection, typ byte, body string) {
	w.log = append(w.log, fmt.Sprintf("client %d: %c %q", c.number, typ, body))
	b := message{typ, body}.bytes()
	c.direct.in = append(c.direct.in, b...)
	c.direct.take()
	c.sent = append(c.sent, b...)
}

// forward lets the relay take up to n of what a client has sent. It reports whether anything happened.
func (w *statementWorld) forward(c *connection, n int) bool {
	n = min(n, len(c.sent))
	if n == 0 {
		return false
	}
	if c.lease == nil {
		if n < wire.HeaderLen {
			return false
		}
		free := rapid.IntRange(0, len(w.servers)-1).Draw(w.t, "server")
		s := w.servers[free]
		if s.client != nil {
			return false
		}
		w.log = append(w.log, fmt.Sprintf("client %d gets server %d", c.number, free))
		c.lease, s.client = s, c
		s.relay.Begin(false, w.single)
		s.book.Begin(c.number, c.book)
	}
	s, used := c.lease, 0
	b := c.sent[:n]
	for {
		k, _, err := s.relay.FromClient(b[used:])
		s.model.in = append(s.model.in, b[used:used+k]...)
		used += k
		if err != nil {
			w.t.Fatal(err)
		}
		if w.fences && s.relay.Held() && s.relay.Fenceable() {
			s.relay.Fence()
			s.model.in = append(s.model.in, message{wire.MsgFunctionCall, ""}.bytes()...)
			continue
		}
		if !s.relay.Named() {
			break
		}
		if s.model.in, k, err = s.relay.Rewrite(s.model.in, b[used:]); err != nil {
			w.t.Fatal(err)
		}
		used += k
		if s.relay.Named() {
			break
		}
	}
	c.sent = append([]byte{}, c.sent[used:]...)
	s.relay.Held()
	w.over(s)
	return used > 0
}

// deliver lets a server answer, and the relay take up to n bytes of it.
func (w *statementWorld) deliver(s *connectionServer, n int) bool {
	s.model.take()
	s.answer = append(s.answer, s.model.out...)
	s.model.out = nil
	c, used := s.client, 0
	for n = min(n, len(s.answer)); used < n; {
		r, err := s.relay.FromServer(s.answer[used:n])
		if err != nil {
			w.t.Fatalf("%v\n%s", err, strings.Join(w.log, "\n"))
		}
		c.heard = append(c.heard, s.answer[used:used+r.Forward]...)
		if r.Instead != nil {
			c.heard = append(c.heard, message{'E', "SERROR\x00VERROR\x00C" + string(r.Instead.Code) + "\x00M" + r.Instead.Message + "\x00\x00"}.bytes()...)
		}
		used += r.Forward + r.Drop
		if r.Done {
			break
		}
	}
	s.answer = s.answer[used:]
	if s.relay.Doubtful() {
		s.model.in = s.relay.Probe(s.model.in)
	}
	if c != nil {
		w.over(s)
	}
	return used > 0
}

func (w *statementWorld) over(s *connectionServer) {
	if s.relay.Over() {
		s.client.lease, s.client = nil, nil
	}
}

// unnamedError is what the proxy says without the name.
var unnamedError = regexp.MustCompile(`(?s)E\x00\x00\x00.SERROR\x00VERROR\x00C26000\x00Mprepared statement [abc]? ?does not exist\x00\x00`)

// settle lets everything happen that is under way, and compares.
func (w *statementWorld) settle() {
	for did := true; did; {
		did = false
		for _, s := range w.servers {
			did = w.deliver(s, 1<<20) || did
		}
		for _, c := range w.clients {
			for c.lease == nil && len(c.sent) > 0 && (w.servers[0].client == nil || w.servers[1].client == nil) {
				if w.forward(c, 1<<20) {
					did = true
				}
			}
			did = w.forward(c, 1<<20) || did
		}
	}
	w.compare(true)
}

func (w *statementWorld) compare(settled bool) {
	for _, c := range w.clients {
		want := unnamedError.ReplaceAll(c.direct.out, nil)
		heard := unnamedError.ReplaceAll(c.heard, nil)
		if !bytes.HasPrefix(want, heard) || settled && len(heard) != len(want) {
			w.t.Fatalf("client %d heard\n%q\nand straight from PostgreSQL\n%q\n%s", c.number, c.heard, c.direct.out, strings.Join(w.log, "\n"))
		}
	}
}

// Any client: what it hears is what PostgreSQL alone would have said, to the byte, whichever server it gets, whatever other
// clients of its identity do, and whoever had the server in between.
func TestStatementsAreAsInASessionOfOnesOwn(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", ""})
	texts := rapid.SampledFrom([]string{"x", "y", "z", "bad", "begin", "rollback", "fail"})
	// Not within a batch: what is gone there is not known before the answer has come.
	queries := rapid.SampledFrom([]string{"x", "begin", "rollback", "fail", "deallocate all", "discard all"})
	rapid.Check(t, func(t *rapid.T) {
		w := newStatementWorld(t, rapid.IntRange(1, 4).Draw(t, "limit"))
		w.single = rapid.Bool().Draw(t, "single")
		w.fences = w.single && rapid.Bool().Draw(t, "fences")
		client := func(t *rapid.T) *connection { return w.clients[rapid.IntRange(0, 1).Draw(t, "client")] }
		one := func(t *rapid.T, c *connection) {
			name := names.Draw(t, "name")
			if name == "" { // the unnamed statement lives in one batch
				w.send(c, wire.MsgParse, "\x00"+texts.Draw(t, "text")+"\x00\x00\x00")
			}
			switch rapid.SampledFrom([]byte("PPBBBBDC")).Draw(t, "type") {
			case wire.MsgParse:
				w.send(c, wire.MsgParse, name+"\x00"+texts.Draw(t, "text")+"\x00\x00\x00")
			case wire.MsgBind:
				w.send(c, wire.MsgBind, "\x00"+name+"\x00\x00\x00\x00\x00\x00\x00")
				w.send(c, wire.MsgExecute, "\x00\x00\x00\x00\x00")
			case wire.MsgDescribe:
				w.send(c, wire.MsgDescribe, "S"+name+"\x00")
			case wire.MsgClose:
				w.send(c, wire.MsgClose, "S"+name+"\x00")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				c := client(t)
				for range rapid.IntRange(1, 4).Draw(t, "messages") {
					one(t, c)
				}
				w.send(c, wire.MsgSync, "")
			},
			"COPY, all in one write": func(t *rapid.T) {
				c := client(t)
				name := rapid.SampledFrom([]string{"k", ""}).Draw(t, "name")
				text := rapid.SampledFrom([]string{"copy", "copy", "copy row", "copy early", "bad"}).Draw(t, "text")
				w.send(c, wire.MsgParse, name+"\x00"+text+"\x00\x00\x00")
				w.send(c, wire.MsgBind, "\x00"+name+"\x00\x00\x00\x00\x00\x00\x00")
				w.send(c, wire.MsgExecute, "\x00\x00\x00\x00\x00")
				ahead := rapid.Bool().Draw(t, "sync ahead")
				if ahead {
					w.send(c, wire.MsgSync, "")
				}
				w.send(c, wire.MsgCopyData, "row")
				w.send(c, rapid.SampledFrom([]byte("ccf")).Draw(t, "end"), "")
				if !ahead {
					other := names.Draw(t, "other")
					w.send(c, wire.MsgParse, other+"\x00"+texts.Draw(t, "text")+"\x00\x00\x00")
					w.send(c, wire.MsgDescribe, "S"+other+"\x00")
					w.send(c, wire.MsgClose, "Sk\x00")
				}
				w.send(c, wire.MsgSync, "")
			},
			"query": func(t *rapid.T) {
				text := queries.Draw(t, "text")
				w.send(client(t), wire.MsgQuery, text+"\x00")
				if strings.HasSuffix(text, " all") {
					w.settle() // who goes on to use what he has just wiped gets it, or an error
				}
			},
			"forward": func(t *rapid.T) { w.forward(client(t), rapid.IntRange(1, 60).Draw(t, "n")) },
			"deliver": func(t *rapid.T) {
				w.deliver(w.servers[rapid.IntRange(0, 1).Draw(t, "server")], rapid.IntRange(1, 60).Draw(t, "n"))
			},
			"settle": func(*rapid.T) { w.settle() },
			"another identity": func(t *rapid.T) {
				if s := w.servers[rapid.IntRange(0, 1).Draw(t, "server")]; s.client == nil {
					w.log = append(w.log, "wiped")
					clear(s.model.statements)
					s.book.Clear()
				}
			},
			"": func(*rapid.T) { w.compare(false) },
		})
		w.settle()
		for _, c := range w.clients {
			c.book.Release()
		}
		if n := w.library.Len(); n != 0 {
			t.Errorf("%d statements are held by nobody\n%s", n, strings.Join(w.log, "\n"))
		}
	})
}
