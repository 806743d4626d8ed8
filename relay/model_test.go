package relay

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/claimpool/claimpool/wire"
	"pgregory.net/rapid"
)

// lease is a relay between a random client and the model of PostgreSQL.
type lease struct {
	t      *rapid.T
	relay  Relay
	server postgres
	toSend []byte   // the client's bytes that the relay has not taken yet
	inWire []byte   // bytes that are on their way to the server
	answer []byte   // the server's bytes that the relay has not taken yet
	heard  []byte   // what has reached the client
	alone  postgres // what the client would have to itself: it has the same messages, and nothing of the proxy's
	failed bool     // the relay has given up: the server is closed
	killed bool     // by somebody else, at a moment of his choice
	sane   bool     // the client does nothing that makes anybody unsure
	fences bool     // what is held follows behind a fence, where it may
	log    []string
}

func newLease(t *rapid.T, old, sane bool) *lease {
	l := &lease{t: t, sane: sane, server: postgres{status: 'I', old: old}, alone: postgres{status: 'I', old: old}}
	single := rapid.Bool().Draw(t, "single")
	l.fences = single && rapid.Bool().Draw(t, "fences")
	l.relay.Begin(false, single)
	return l
}

func (l *lease) note(format string, args ...any) { l.log = append(l.log, fmt.Sprintf(format, args...)) }

// send gives the client's next message to the relay, in pieces or not.
func (l *lease) send(typ byte, body string) {
	l.note("client %c %q", typ, body)
	l.write(message{typ, body})
	l.push(len(l.toSend))
}

// write puts a message behind what the client has to send.
func (l *lease) write(m message) {
	l.toSend = append(l.toSend, m.bytes()...)
	l.alone.in = append(l.alone.in, m)
	for l.alone.step() {
	}
}

// push shows the relay the first n bytes of what the client has sent, and carries on what it forwards.
func (l *lease) push(n int) {
	for again := true; again; {
		used, terminate, err := l.relay.FromClient(l.toSend[:n])
		if used < 0 || used > n || terminate || err != nil {
			l.t.Fatalf("%d of %d bytes used, terminate %v, %v", used, n, terminate, err)
		}
		l.inWire = append(l.inWire, l.toSend[:used]...)
		l.toSend, n = l.toSend[used:], n-used
		if again = l.relay.Held() && l.fences && l.relay.Fenceable(); again {
			l.note("fence")
			l.relay.Fence()
			l.inWire = append(l.inWire, message{wire.MsgFunctionCall, ""}.bytes()...)
		}
	}
	l.ask()
	l.arrive()
}

// ask sends the question where there is one.
func (l *lease) ask() {
	if l.relay.Doubtful() {
		l.note("question")
		l.inWire = l.relay.Probe(l.inWire)
	}
}

// arrive hands the server the whole messages that are on their way.
func (l *lease) arrive() {
	for {
		typ, size, ok, _ := wire.Header(l.inWire)
		if !ok || len(l.inWire) < wire.HeaderLen+size {
			return
		}
		l.server.in = append(l.server.in, message{typ, string(l.inWire[wire.HeaderLen : wire.HeaderLen+size])})
		l.inWire = l.inWire[wire.HeaderLen+size:]
	}
}

// deliver shows the relay n of the server's bytes.
func (l *lease) deliver(n int) {
	l.answer = append(l.answer, l.server.out...)
	l.server.out = nil
	n = min(n, len(l.answer))
	used := 0
	for used < n {
		r, err := l.relay.FromServer(l.answer[used:n])
		if err != nil {
			l.failed = true
			if l.sane {
				l.t.Fatalf("%v\n%v", err, l.log)
			}
			return
		}
		if r.Forward+r.Drop == 0 && !r.Done {
			l.t.Fatal("no progress")
		}
		l.heard = append(l.heard, l.answer[used:used+r.Forward]...)
		used += r.Forward + r.Drop
		if used > n {
			l.t.Fatal("more used than given")
		}
		if r.Done {
			break
		}
	}
	l.answer = l.answer[used:]
	l.ask()
	l.arrive()
	l.check()
}

// check compares what the relay believes with what is.
func (l *lease) check() {
	if l.failed {
		return
	}
	if !l.killed && !bytes.HasPrefix(l.alone.out, l.heard) {
		l.t.Fatalf("the client hears\n%q\nand from PostgreSQL alone\n%q\n%q", l.heard, l.alone.out, l.log)
	}
	silent := len(l.answer)+len(l.server.out)+len(l.inWire) == 0
	if over := l.relay.Over(); over && !(silent && l.server.idle()) {
		l.t.Fatalf("over, but the server is %+v, %d bytes wait for the client\n%q", l.server, len(l.answer)+len(l.server.out), l.log)
	} else if !over && silent && l.server.idle() && !l.relay.Unsure() {
		l.t.Fatalf("not over, but the server is idle: %+v\n%q", l.relay, l.log)
	}
	if l.sane && l.relay.unsure {
		l.t.Fatalf("unsure without a reason: %+v\n%q", l.relay, l.log)
	}
}

// settle lets everything happen that is under way.
func (l *lease) settle() {
	for did := true; did && !l.failed; {
		left := len(l.toSend) + len(l.answer)
		l.push(len(l.toSend))
		did = l.server.step() || len(l.server.out) > 0
		l.deliver(1 << 20)
		did = did || len(l.toSend)+len(l.answer) < left
	}
	if n := len(l.toSend); n >= wire.HeaderLen && !l.failed && !l.server.closed {
		l.t.Fatalf("%d bytes wait although nothing is under way: %+v\n%q", n, l.relay, l.log)
	}
	if !l.failed && !l.killed && !l.server.closed && !bytes.Equal(l.heard, l.alone.out) {
		l.t.Fatalf("the client has heard\n%q\nand from PostgreSQL alone\n%q\n%q", l.heard, l.alone.out, l.log)
	}
}

var statements = rapid.StringOfN(rapid.SampledFrom([]rune("sssbbccrreoiIJKX")), 0, 4, -1)

// Any client: whatever it sends and whenever it sends it, the relay is over exactly when PostgreSQL is idle and has
// answered everything, or says that it is unsure.
func TestOverIsWhenPostgreSQLIsIdle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLease(t, rapid.Bool().Draw(t, "old"), false)
		types := rapid.SampledFrom([]byte("QQQPPBDEEESSSSCFHdddcccf"))
		t.Repeat(map[string]func(*rapid.T){
			"client": func(t *rapid.T) {
				typ, body := types.Draw(t, "type"), ""
				switch typ {
				case wire.MsgQuery:
					body = statements.Draw(t, "statements")
				case wire.MsgExecute:
					body = statements.Draw(t, "statement")
					body = body[:min(len(body), 1)]
				case wire.MsgFlush:
					if rapid.IntRange(0, 9).Draw(t, "malformed") == 0 {
						body = "x"
					}
				case wire.MsgCopyData:
					body = "row\n"
				case wire.MsgSync, wire.MsgCopyDone:
				default:
					if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
						body = "e"
					}
				}
				l.send(typ, body)
			},
			// What is rare among random messages: a COPY, with anything that may go wrong around it.
			"COPY": func(t *rapid.T) {
				kind := rapid.SampledFrom([]string{"i", "i", "I", "J", "K"}).Draw(t, "copy")
				if rapid.Bool().Draw(t, "simple") {
					l.send(wire.MsgQuery, rapid.SampledFrom([]string{"", "s", "i"}).Draw(t, "before")+kind)
				} else {
					l.send(wire.MsgExecute, kind)
				}
				for range rapid.IntRange(1, 8).Draw(t, "steps") {
					switch step := rapid.SampledFrom([]byte("SSSddcccfQEP1222234567")).Draw(t, "step"); step {
					case '1':
						l.note("server")
						l.server.step()
						l.deliver(1 << 20)
					case '2':
						l.note("settle")
						l.settle()
					case '3':
						l.send(wire.MsgFlush, "x")
					case '4':
						l.send(wire.MsgSync, "x")
					case '5', '6':
						l.note("delivery")
						l.deliver(rapid.IntRange(1, 60).Draw(t, "n"))
					case '7':
						l.note("partly")
						l.write(message{wire.MsgCopyData, "row\n"})
						l.push(max(0, len(l.toSend)-4))
					default:
						l.send(step, "")
					}
				}
			},
			"killed": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					l.note("killed")
					l.killed = true
					l.server.fatal()
					l.deliver(1 << 20)
				}
			},
			"part of a message": func(t *rapid.T) {
				l.note("client, partly")
				m := rapid.SampledFrom([]message{{wire.MsgQuery, "sbc"}, {wire.MsgCopyData, "row\n"}}).Draw(t, "message")
				l.write(m)
				l.push(rapid.IntRange(0, len(l.toSend)).Draw(t, "n"))
			},
			"server": func(*rapid.T) {
				l.note("server")
				l.server.step()
			},
			"delivery": func(t *rapid.T) {
				l.note("delivery")
				l.deliver(rapid.IntRange(1, 60).Draw(t, "n"))
			},
			"settle": func(*rapid.T) {
				l.note("settle")
				l.settle()
			},
			"": func(t *rapid.T) {
				l.check()
			},
		})
	})
}

// A client as drivers are: it may pipeline, and it may COPY in all the ways that are in use. The relay is never unsure, and
// each transaction's end is seen.
func TestOrdinaryClientsAreNeverUnsure(t *testing.T) {
	plain := rapid.StringOfN(rapid.SampledFrom([]rune("sssbbccrreo")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		l := newLease(t, false, true)
		batch := func(execute string) {
			l.send(wire.MsgParse, rapid.SampledFrom([]string{"", "", "", "e"}).Draw(t, "parse"))
			l.send(wire.MsgBind, "")
			l.send(wire.MsgDescribe, "")
			l.send(wire.MsgExecute, execute)
		}
		first := func() string { s := plain.Draw(t, "execute"); return s[:min(len(s), 1)] }
		rows := func() {
			for range rapid.IntRange(0, 3).Draw(t, "rows") {
				l.send(wire.MsgCopyData, "row\n")
				if rapid.Bool().Draw(t, "step") {
					l.server.step()
					l.deliver(1 << 20)
				}
			}
			l.send(rapid.SampledFrom([]byte("cccf")).Draw(t, "end"), "")
		}
		t.Repeat(map[string]func(*rapid.T){
			"simple":        func(t *rapid.T) { l.send(wire.MsgQuery, plain.Draw(t, "sql")) },
			"function call": func(t *rapid.T) { l.send(wire.MsgFunctionCall, "") },
			"batch":         func(t *rapid.T) { batch(first()); l.send(wire.MsgSync, "") },
			"batch with Flush": func(t *rapid.T) {
				batch(first())
				l.send(wire.MsgFlush, "")
				l.settle()
				l.send(wire.MsgClose, "")
				l.send(wire.MsgSync, "")
			},
			"COPY by Query, data ahead": func(t *rapid.T) { // pgx
				l.settle()
				l.send(wire.MsgQuery, rapid.SampledFrom([]string{"i", "I", "J", "e", "ii", "si", "is"}).Draw(t, "copy"))
				rows()
				l.settle()
				if l.server.copying != 0 {
					rows()
				}
				l.settle()
			},
			"COPY by Query": func(t *rapid.T) { // psql
				l.settle()
				l.send(wire.MsgQuery, rapid.SampledFrom([]string{"i", "I", "J", "e"}).Draw(t, "copy"))
				l.settle()
				if l.server.copying != 0 {
					rows()
				}
				l.settle()
			},
			"COPY by Execute, Sync ahead": func(t *rapid.T) { // libpq, tokio-postgres
				l.settle()
				batch("i")
				l.send(wire.MsgSync, "")
				l.settle()
				if l.server.copying != 0 {
					l.send(wire.MsgCopyData, "row\n")
					l.settle()
					l.send(wire.MsgCopyDone, "")
					l.send(wire.MsgSync, "")
				}
				l.settle()
			},
			"COPY by Execute, all in one write": func(t *rapid.T) {
				batch(rapid.SampledFrom([]string{"i", "I", "J", "e", "s"}).Draw(t, "copy"))
				if rapid.Bool().Draw(t, "sync") {
					l.send(wire.MsgSync, "")
				}
				rows()
				l.send(wire.MsgSync, "")
			},
			"COPY by Execute and Flush": func(t *rapid.T) {
				l.settle()
				batch(rapid.SampledFrom([]string{"i", "I", "J", "e"}).Draw(t, "copy"))
				l.send(wire.MsgFlush, "")
				l.settle()
				if l.server.copying != 0 {
					rows()
				}
				l.send(wire.MsgSync, "")
				l.settle()
			},
			"server":   func(*rapid.T) { l.server.step() },
			"delivery": func(t *rapid.T) { l.deliver(rapid.IntRange(1, 60).Draw(t, "n")) },
			"":         func(*rapid.T) { l.check() },
		})
		l.settle()
		if l.server.status == 'I' && !l.relay.Over() {
			t.Fatalf("not over: %+v", l.relay)
		}
	})
}
