package simulation

import (
	"encoding/binary"
	"maps"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// server is a simulated PostgreSQL backend: PostgreSQL's message loop (src/backend/tcop/postgres.c) with just enough
// behind it to notice whose state it holds. What a Query or an Execute does is written in its text, "TAG|STATEMENTS", where
// the tag is that of the request (see person) and each statement is one letter:
//
//	s  select: a row that names the request   b  begin      i  COPY FROM STDIN
//	e  error                                  c  commit     o  COPY TO STDOUT
//	S  SET a reported setting                 r  rollback   P  PREPARE
//	G  SET one that is not reported           R  RESET ALL  T  CREATE TEMP TABLE
//	W  SET statement_timeout                  H  the same, inside of a function: nobody sees it
//	L  LISTEN                                 D  DISCARD ALL
//	z  setseed()                              X  FATAL
//
// Everything that a statement leaves behind carries a mark: whose it is.
type server struct {
	w       *world
	pid     uint32
	in, out []byte
	status  byte // I, T or E
	skip    bool // an error in the extended protocol: everything up to Sync is passed over
	started bool // a statement of the request under way has begun
	dirty   bool // messages of the extended protocol since the last Sync
	closed  bool
	parsed  string // the unnamed statement
	copying string // the tag of the COPY under way
	byBatch bool   // it was begun by Execute
	text    string // the statements that it is one of
	at      int    // which

	session
	saved    session // what a rollback goes back to
	prepared map[string]string
	seed     string  // who knows what random() will give; empty: nobody
	told     string  // application_name, as it was last reported
	user     *person // who has the server
	lease    int     // counts those who have had it
	wiped    string  // the identity that has taken the context away from itself
	seen     int     // the lease in which it did that before everybody's eyes; 0: nobody could see it
	owner    string  // the first identity that was served, for strict isolation

	native    nativeBackend
	held      int  // answers of a hand-over still to hold back
	holding   bool // some are held
	sendable  int  // what was said before them
	cancel    bool // a cancel request interrupts what runs next
	canceller int  // the client that sent it; 0: a neighbour, who may hit anybody
}

// session is what a transaction that fails takes back. Values are marks: IDENTITY/CLIENT, or PostgreSQL's defaults.
type session struct {
	settings map[string]string
	temp     string
	listen   string
}

// The settings that there are, with what the startup packet pins.
const (
	appName   = "application_name" // reported (GUC_REPORT)
	workMem   = "work_mem"
	timeout   = "statement_timeout"
	ownApp    = "claimpool"
	theClock  = 3600 // seconds that the server's clock is ahead
	noContext = ""
)

func defaults() map[string]string {
	return map[string]string{appName: ownApp, workMem: "", timeout: "", contextSetting: ""}
}

func newServer(w *world) *server {
	w.pids++
	s := &server{w: w, pid: w.pids, status: wire.StatusIdle, prepared: map[string]string{}, told: ownApp}
	s.settings = defaults()
	return s
}

func (s *session) clone() session {
	c := *s
	c.settings = maps.Clone(s.settings)
	return c
}

func (s *server) say(typ byte, body string) {
	b := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))
	s.out = append(append(s.out, b...), body...)
}

func (s *server) ready() {
	s.started = false
	if now := s.settings[appName]; now != s.told {
		s.told = now
		s.out = wire.AppendParameterStatus(s.out, appName, now)
	}
	s.hold()
	s.out = wire.AppendReadyForQuery(s.out, s.status)
}

// hold keeps the answers of a hand-over for the answer of the request behind it, if that has arrived.
func (s *server) hold() {
	if s.held == 0 || len(s.in) == 0 {
		s.held, s.holding = 0, false
		return
	}
	s.held--
	if !s.holding {
		s.holding, s.sendable = true, len(s.out)
	}
}

// send takes up to n bytes of what the server has to say.
func (s *server) send(n int) []byte {
	if n = min(n, len(s.out)); s.holding && !s.closed {
		n = min(n, s.sendable)
		s.sendable -= n
	}
	b := s.out[:n]
	s.out = s.out[n:]
	return b
}

func (s *server) fatal(text string) {
	s.out = wire.AppendError(s.out, "FATAL", &claimpool.Error{Code: claimpool.CodeInvalidAuthorization, Message: text})
	s.closed, s.holding = true, false
}

// die closes the connection. Answers that it has held back for a Flush or Sync are lost.
func (s *server) die() {
	if s.holding {
		s.out = s.out[:min(len(s.out), s.sendable)]
	}
	s.closed, s.holding = true, false
}

// fail raises an error. A transaction that fails takes the context of the native dialect with it.
func (s *server) fail(code claimpool.Code, text string, extended bool) {
	s.out = wire.AppendError(s.out, "ERROR", &claimpool.Error{Code: code, Message: text})
	if s.status == wire.StatusInTransaction {
		s.status = wire.StatusFailed
	} else if s.status == wire.StatusIdle {
		s.undo()
	}
	s.native.failed()
	if extended {
		s.skip = true
	} else {
		s.ready()
	}
}

// begin notes what a failure goes back to.
func (s *server) begin() {
	if s.status == wire.StatusIdle {
		s.saved = s.clone()
	}
}

func (s *server) undo() {
	if s.saved.settings != nil {
		s.session = s.saved.clone()
	}
}

// next reports whether a whole message waits.
func (s *server) next() bool {
	_, size, ok, _ := wire.Header(s.in)
	return ok && len(s.in) >= wire.HeaderLen+size
}

// busy reports whether there is anything to do: what is left of the data of a COPY that has failed is passed over.
func (s *server) busy() bool {
	for b := s.in; len(b) > 0; {
		typ, size, ok, _ := wire.Header(b)
		rest := typ == wire.MsgCopyData || typ == wire.MsgCopyDone || typ == wire.MsgCopyFail || typ == wire.MsgFlush
		if !ok || len(b) < wire.HeaderLen+size || !rest || s.copying != "" {
			return true
		}
		b = b[wire.HeaderLen+size:]
	}
	return false
}

// quiet reports whether the next client would find the backend as after its start: everything answered, no transaction,
// nothing half said. It is the truth that package relay has to know by what passes through it.
func (s *server) quiet() bool {
	return !s.busy() && s.status == wire.StatusIdle && !s.skip && !s.dirty && s.copying == "" && !s.cancel
}

// step carries out the next message. It reports whether there was one.
func (s *server) step() bool {
	if s.closed || !s.next() {
		return false
	}
	typ, size, _, _ := wire.Header(s.in)
	body := string(s.in[wire.HeaderLen : wire.HeaderLen+size])
	s.in = s.in[wire.HeaderLen+size:]
	switch {
	case typ == wire.MsgFlush || s.copying != "":
		s.holding = false
		s.copyData(typ)
	case typ == wire.MsgSync:
		s.skip, s.dirty = false, false
		s.ready()
	case s.skip && typ == wire.MsgFunctionCall:
		s.native.broken = true // it is passed over, and may have been a hand-over
	case s.skip || typ == wire.MsgCopyData || typ == wire.MsgCopyDone || typ == wire.MsgCopyFail:
	default:
		s.command(typ, body)
	}
	if !s.busy() {
		s.cancel = false // it came when nothing was running any more
	}
	return true
}

func (s *server) command(typ byte, body string) {
	text := strings.TrimSuffix(body, "\x00")
	s.begin()
	switch typ {
	case wire.MsgQuery:
		s.dirty, s.parsed = false, ""
		if !s.interrupted(text, false) {
			s.query(text)
		}
	case wire.MsgFunctionCall:
		s.dirty = false
		s.call(body)
	case wire.MsgParse:
		s.dirty = true
		s.parsed = strings.Split(body, "\x00")[1]
		s.say(wire.MsgParseComplete, "")
	case wire.MsgClose:
		s.dirty = true
		if !s.interrupted("", true) {
			s.parsed = ""
			s.say(wire.MsgCloseComplete, "")
		}
	case wire.MsgBind:
		s.dirty = true
		if s.parsed == "" {
			s.fail("26000", "unnamed prepared statement does not exist", true)
			return
		}
		s.say(wire.MsgBindComplete, "")
	case wire.MsgDescribe:
		s.dirty = true
		s.say(wire.MsgNoData, "")
	case wire.MsgExecute:
		s.dirty = true
		if !s.interrupted(s.parsed, true) {
			tag, statements, _ := strings.Cut(s.parsed, "|")
			s.run(tag, statements, true)
		}
	default:
		s.w.fail("a message %c has reached a server", typ)
	}
}

// interrupted lets a cancel request hit what is about to run. A client's own request must hit nobody else.
func (s *server) interrupted(text string, extended bool) bool {
	if !s.cancel {
		return false
	}
	s.cancel = false
	if tag, _, ok := strings.Cut(text, "|"); ok && s.canceller != 0 {
		if p := s.w.whose(tag); p.number != s.canceller {
			s.w.fail("the cancel request of client %d hits a request of client %d", s.canceller, p.number)
		}
	}
	s.fail(claimpool.CodeQueryCanceled, "canceling statement due to user request", extended)
	return true
}

// query runs a client's text, or one of the proxy's own.
func (s *server) query(text string) {
	switch text {
	case "RESET ALL", "RESET ALL; RESET ROLE", "DISCARD ALL", "ROLLBACK":
		s.own(text)
	default:
		tag, statements, ok := strings.Cut(text, "|")
		if !ok {
			s.w.fail("a server is asked %q", text)
		}
		s.run(tag, statements, false)
	}
}

// own is what the proxy itself asks.
func (s *server) own(text string) {
	tag := strings.TrimSuffix(text, " ALL")
	switch {
	case s.status == wire.StatusFailed && text != "ROLLBACK":
		s.fail("25P02", "current transaction is aborted", false)
		return
	case text == "RESET ALL":
		s.settings = defaults()
	case text == "RESET ALL; RESET ROLE":
		tag = "RESET"
		s.settings = defaults()
		s.say(wire.MsgCommandComplete, tag+"\x00")
	case text == "DISCARD ALL":
		tag = text
		if !s.discard() {
			s.fail(claimpool.CodeQueryCanceled, "canceling statement due to statement timeout", false)
			return
		}
	case text == "ROLLBACK" && s.status != wire.StatusIdle:
		s.undo()
		s.status = wire.StatusIdle
	}
	s.say(wire.MsgCommandComplete, tag+"\x00")
	s.ready()
}

// discard is DISCARD ALL. It reports whether it came to its end: the last user may have left a timeout that it cannot keep.
func (s *server) discard() bool {
	if s.settings[timeout] != "" && s.temp != "" {
		return false
	}
	s.session = session{settings: defaults()}
	clear(s.prepared)
	return true
}

// run begins to carry out statements.
func (s *server) run(tag, statements string, extended bool) {
	s.once(tag)
	s.proceed(tag, statements, 0, extended)
}

// once notes that a request runs. Behind a broken hand-over it does not, whatever the gate lets through.
func (s *server) once(tag string) {
	switch {
	case s.native.broken && !s.w.ungated:
	case s.w.ran[tag] && !s.w.wild: // wild people execute a statement as often as they like
		s.w.fail("request %s runs a second time", tag)
	default:
		s.w.ran[tag] = true
	}
}

// proceed carries out the statements from the given one on.
func (s *server) proceed(tag, statements string, at int, extended bool) {
	p := s.w.whose(tag)
	for i := at; i < len(statements); i++ {
		kind := statements[i]
		if s.status == wire.StatusFailed && kind != 'c' && kind != 'r' && kind != 'X' {
			s.fail("25P02", "boom "+tag, extended)
			return
		}
		first := !s.started && s.status == wire.StatusIdle
		s.started = true
		if !strings.ContainsRune("bcrRDX", rune(kind)) && !s.allowed(p, tag, first) {
			s.fail(claimpool.CodeInvalidAuthorization, "boom "+tag, extended)
			return
		}
		done, complete := s.statement(p, tag, kind, statements, extended)
		if !done {
			s.text, s.at = statements, i+1
			return
		}
		s.say(wire.MsgCommandComplete, complete+"\x00")
	}
	if !extended {
		s.ready()
	}
}

// statement carries out one, and gives its command tag. Unless done, it has failed or goes on.
func (s *server) statement(p *person, tag string, kind byte, all string, extended bool) (done bool, complete string) {
	mark := p.mark()
	complete = "SET"
	switch kind {
	case 'b':
		s.status, complete = wire.StatusInTransaction, "BEGIN"
	case 'c', 'r':
		complete = "ROLLBACK"
		if kind == 'r' || s.status == wire.StatusFailed {
			if s.status != wire.StatusIdle {
				s.undo()
			}
		} else {
			complete = "COMMIT"
		}
		s.status = wire.StatusIdle
		s.begin()
	case 'S':
		s.settings[appName] = mark
	case 'G':
		s.settings[workMem] = mark
	case 'W':
		s.settings[timeout] = mark
	case 'R', 'H':
		s.settings, s.wiped, s.seen = defaults(), p.name, map[byte]int{'R': s.lease}[kind]
		complete = map[byte]string{'R': "RESET", 'H': "DO"}[kind]
	case 'D':
		if complete = "DISCARD ALL"; all != "D" || s.status != wire.StatusIdle || !s.discard() {
			s.fail("25001", "boom "+tag, extended)
			return false, ""
		}
		s.wiped, s.seen = p.name, s.lease
	case 'P':
		s.prepared[tag], complete = mark, "PREPARE"
	case 'T':
		s.temp, complete = mark, "CREATE TABLE"
	case 'L':
		s.listen, complete = mark, "LISTEN"
	case 'z':
		s.seed, complete = mark, "SELECT 1"
	case 'e':
		s.fail("22012", "boom "+tag, extended)
		return false, ""
	case 'X':
		s.fatal("boom " + tag)
		return false, ""
	case 'i':
		s.say(wire.MsgCopyInResponse, "\x00\x00\x00")
		s.copying, s.byBatch, s.holding = tag, extended, false
		return false, ""
	case 'o':
		s.say(wire.MsgCopyOutResponse, "\x00\x00\x00")
		s.say(wire.MsgCopyData, tag)
		s.say(wire.MsgCopyDone, "")
		complete = "COPY 1"
	default:
		s.say(wire.MsgRowDescription, "\x00\x00")
		s.say(wire.MsgDataRow, "\x00\x01"+string(binary.BigEndian.AppendUint32(nil, uint32(len(tag))))+tag)
		complete = "SELECT 1"
	}
	return true, complete
}

// copyData takes a message inside of COPY.
func (s *server) copyData(typ byte) {
	tag, extended := s.copying, s.byBatch
	switch typ {
	case wire.MsgFlush, wire.MsgSync:
		return
	case wire.MsgCopyData:
		if !s.interrupted(tag+"|", extended) {
			return
		}
		s.copying = ""
		return
	case wire.MsgCopyDone:
		s.copying = ""
		s.say(wire.MsgCommandComplete, "COPY 1\x00")
		s.proceed(tag, s.text, s.at, extended)
	case wire.MsgCopyFail:
		s.copying = ""
		s.fail("57014", "boom "+tag, extended)
	default:
		s.fatal("boom " + tag)
	}
}
