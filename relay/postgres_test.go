package relay

import (
	"github.com/claimpool/claimpool/wire"
)

// postgres is a model of PostgreSQL's message loop (src/backend/tcop/postgres.c: PostgresMain, SocketBackend;
// copyfromparse.c: CopyGetData). What a Query or Execute does is written in its body, one letter for each statement:
//
//	s  select          e  error            i  COPY FROM STDIN
//	b  begin           o  COPY TO STDOUT   I  the same, which fails before it reads anything
//	c  commit          X  FATAL            J  the same, which fails at its first row
//	r  rollback                            K  the same, which fails behind its end
//
// Parse, Bind, Describe, Close and FunctionCall fail when their body is "e", Flush and Sync when they have one.
type postgres struct {
	old      bool // before version 14: a message that does not belong into COPY is an error, not FATAL
	in       []message
	out      []byte
	status   byte
	skip     bool // an error in the extended protocol: everything up to Sync is passed over
	dirty    bool // messages of the extended protocol since the last Sync
	closed   bool
	copying  byte   // the kind of the COPY that is under way; 0: none
	extended bool   // it was begun by Execute
	rest     string // the statements behind it
}

type message struct {
	typ  byte
	body string
}

func (m message) bytes() []byte {
	n := len(m.body) + 4
	return append([]byte{m.typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, m.body...)
}

func (p *postgres) say(typ byte, body string) {
	p.out = append(p.out, message{typ, body}.bytes()...)
}

func (p *postgres) ready() { p.say(wire.MsgReadyForQuery, string(p.status)) }

func (p *postgres) fatal() {
	p.say(wire.MsgErrorResponse, "SFATAL\x00VFATAL\x00C08P01\x00Mprotocol\x00\x00")
	p.closed = true
}

// fail raises an error.
func (p *postgres) fail(extended bool) {
	p.say(wire.MsgErrorResponse, "SFEHLER\x00VERROR\x00C42P01\x00Mno such FATAL thing\x00\x00")
	if p.status == 'T' {
		p.status = 'E'
	}
	if extended {
		p.skip = true
	} else {
		p.ready()
	}
}

// idle reports whether the next client would find the server as after its start: no transaction, nothing that waits for
// more, and nothing in its input but what it will throw away.
func (p *postgres) idle() bool {
	for _, m := range p.in {
		switch m.typ {
		case wire.MsgCopyData, wire.MsgCopyDone, wire.MsgCopyFail:
		case wire.MsgFlush:
			if m.body != "" {
				return false
			}
		default:
			return false
		}
	}
	return !p.closed && !p.skip && !p.dirty && p.copying == 0 && p.status == 'I'
}

// step carries out the next message. It reports whether there was one.
func (p *postgres) step() bool {
	if len(p.in) == 0 || p.closed {
		return false
	}
	m := p.in[0]
	p.in = p.in[1:]
	switch {
	case p.copying != 0:
		p.copyData(m)
	case m.typ == wire.MsgSync:
		p.skip, p.dirty = false, false
		if m.body != "" {
			p.fail(false)
			return true
		}
		p.ready()
	case p.skip:
	default:
		p.command(m)
	}
	return true
}

func (p *postgres) command(m message) {
	switch m.typ {
	case wire.MsgQuery:
		p.dirty = false
		if m.body == "" {
			p.say(wire.MsgEmptyQueryResponse, "")
		}
		p.run(m.body, false)
	case wire.MsgFunctionCall:
		p.dirty = false
		if p.status == 'E' {
			p.say(wire.MsgErrorResponse, "SFEHLER\x00VERROR\x00C25P02\x00Mcurrent transaction is aborted\x00\x00")
			p.ready()
			return
		}
		if m.body == "e" {
			p.fail(false)
			return
		}
		p.say(wire.MsgFunctionCallResponse, "\xff\xff\xff\xff")
		p.ready()
	case wire.MsgFlush:
		if m.body != "" {
			p.dirty = true
			p.fail(true)
		}
	case wire.MsgExecute:
		p.dirty = true
		p.run(m.body, true)
	case wire.MsgParse, wire.MsgBind, wire.MsgDescribe, wire.MsgClose:
		p.dirty = true
		if m.body == "e" {
			p.fail(true)
			return
		}
		p.say(map[byte]byte{
			wire.MsgParse: wire.MsgParseComplete, wire.MsgBind: wire.MsgBindComplete,
			wire.MsgDescribe: wire.MsgNoData, wire.MsgClose: wire.MsgCloseComplete,
		}[m.typ], "")
	}
}

// run carries out statements.
func (p *postgres) run(statements string, extended bool) {
	for i := range len(statements) {
		s := statements[i]
		if p.status == 'E' && s != 'c' && s != 'r' && s != 'X' {
			s = 'e'
		}
		switch s {
		case 'b':
			p.status = 'T'
		case 'c', 'r':
			p.status = 'I'
		case 'o':
			p.say(wire.MsgCopyOutResponse, "\x00\x00\x00")
			p.say(wire.MsgCopyData, "row\n")
			p.say(wire.MsgCopyDone, "")
		case 'e':
			p.fail(extended)
			return
		case 'X':
			p.fatal()
			return
		case 'i', 'I', 'J', 'K':
			p.say(wire.MsgCopyInResponse, "\x00\x00\x00")
			if s == 'I' {
				p.fail(extended)
				return
			}
			p.copying, p.extended, p.rest = s, extended, statements[i+1:]
			return
		default:
			p.say(wire.MsgRowDescription, "\x00\x00")
			p.say(wire.MsgDataRow, "\x00\x00")
		}
		p.say(wire.MsgCommandComplete, "SELECT 1\x00")
	}
	if !extended {
		p.ready()
	}
}

// copyData takes a message inside of COPY.
func (p *postgres) copyData(m message) {
	kind, extended := p.copying, p.extended
	switch m.typ {
	case wire.MsgFlush, wire.MsgSync:
		return
	case wire.MsgCopyData:
		if kind != 'J' {
			return
		}
	case wire.MsgCopyDone:
		if kind != 'K' {
			p.copying = 0
			p.say(wire.MsgCommandComplete, "COPY 1\x00")
			p.run(p.rest, extended)
			return
		}
	case wire.MsgCopyFail:
	default:
		if !p.old {
			p.fatal()
			return
		}
	}
	p.copying = 0
	p.fail(extended)
}
