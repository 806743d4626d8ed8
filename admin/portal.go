package admin

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// The extended protocol, which most drivers speak by default (protocol-flow, Extended Query). Parameters are texts, so that a program
// need not write values into commands.

// portal is a statement with its arguments, and what is left of its answer.
type portal struct {
	statement *statement // nil: empty
	args      []string
	formats   []uint16
	rows      [][]any
	begun     bool
}

// textType is the type of every parameter.
const textType = 25

// extended deals with a message of the extended protocol. What is refused is told, and skips to the next Sync; what is broken ends the
// connection.
func (s *session) extended(typ byte, body []byte) (refused, broken error) {
	switch typ {
	case wire.MsgParse:
		m, err := wire.ParseParse(body)
		if err != nil {
			return nil, err
		}
		return s.prepare(m), nil
	case wire.MsgBind:
		m, err := wire.ParseBind(body)
		if err != nil {
			return nil, err
		}
		return s.bind(m), nil
	case wire.MsgExecute:
		name, most, err := wire.ParseExecute(body)
		if err != nil {
			return nil, err
		}
		return s.execute(name, most)
	}
	kind, name, err := wire.ParseTarget(body)
	if err != nil {
		return nil, err
	}
	if typ == wire.MsgDescribe {
		return s.describe(kind, name), nil
	}
	if kind == wire.KindPortal {
		delete(s.portals, name)
	} else {
		delete(s.statements, name)
	}
	s.out = wire.AppendBare(s.out, wire.MsgCloseComplete)
	return nil, nil
}

func (s *session) prepare(m wire.Parse) error {
	if m.Name != "" && s.statements[m.Name] != nil {
		return &claimpool.Error{Code: claimpool.CodeDuplicateStatement, Message: fmt.Sprintf("prepared statement %q already exists", m.Name)}
	}
	if s.statements[m.Name] == nil && len(s.statements) >= maxStatements {
		return errTooMany
	}
	for _, oid := range m.Types {
		if !slices.Contains([]uint32{0, textType, 1043, 705}, oid) { // text, varchar, unknown
			return &claimpool.Error{
				Code: claimpool.CodeFeatureNotSupported, Message: "parameters of the console are texts", Hint: "Pass strings.",
			}
		}
	}
	st, err := s.parse(m.SQL)
	if err != nil {
		return err
	}
	if st == nil {
		st = &statement{}
	}
	s.statements[m.Name] = st
	s.out = wire.AppendBare(s.out, wire.MsgParseComplete)
	return nil
}

var errTooMany = &claimpool.Error{
	Code: claimpool.CodeProgramLimitExceeded, Message: "too many prepared statements in the console", Hint: "Close those that are not in use.",
}

func (s *session) statement(name string) (*statement, error) {
	if st := s.statements[name]; st != nil {
		return st, nil
	}
	return nil, &claimpool.Error{Code: claimpool.CodeUndefinedStatement, Message: fmt.Sprintf("prepared statement %q does not exist", name)}
}

func (s *session) bind(m wire.Bind) error {
	st, err := s.statement(m.Statement)
	if err != nil {
		return err
	}
	if len(m.Arguments) != st.params {
		return &claimpool.Error{
			Code:    claimpool.CodeProtocolViolation,
			Message: fmt.Sprintf("bind message supplies %d parameters, but prepared statement requires %d", len(m.Arguments), st.params),
		}
	}
	if n := len(m.Results); n > 1 && n != len(st.columns) {
		return &claimpool.Error{
			Code: claimpool.CodeProtocolViolation, Message: fmt.Sprintf("bind message has %d result formats but query has %d columns", n, len(st.columns)),
		}
	}
	p := &portal{statement: st, formats: m.Results}
	for _, a := range m.Arguments {
		if a == nil || !utf8.Valid(a) || slices.Contains(a, 0) {
			return &claimpool.Error{Code: claimpool.CodeInvalidParameterValue, Message: "a parameter of the console is null or no text"}
		}
		p.args = append(p.args, string(a))
	}
	if s.portals[m.Portal] == nil && len(s.portals) >= maxStatements {
		return errTooMany
	}
	s.portals[m.Portal] = p
	s.out = wire.AppendBare(s.out, wire.MsgBindComplete)
	return nil
}

func (s *session) portal(name string) (*portal, error) {
	if p := s.portals[name]; p != nil {
		return p, nil
	}
	return nil, &claimpool.Error{Code: claimpool.CodeUndefinedPortal, Message: fmt.Sprintf("portal %q does not exist", name)}
}

func (s *session) describe(kind byte, name string) error {
	var st *statement
	var formats []uint16
	if kind == wire.KindStatement {
		var err error
		if st, err = s.statement(name); err != nil {
			return err
		}
		s.out = wire.AppendParameterDescription(s.out, slices.Repeat([]uint32{textType}, st.params)...)
	} else {
		p, err := s.portal(name)
		if err != nil {
			return err
		}
		st, formats = p.statement, p.formats
	}
	if st.columns == nil {
		s.out = wire.AppendBare(s.out, wire.MsgNoData)
		return nil
	}
	s.out = wire.AppendRowDescription(s.out, fields(st.columns), formats)
	return nil
}

// maxKept is how many rows the portals of one client may hold: who fetches in pieces does so in one of them.
const maxKept = 2 * maxShownClients

func (s *session) kept() (n int) {
	for _, p := range s.portals {
		n += len(p.rows)
	}
	return n
}

// execute gives the next rows of a portal. The command runs at the first time.
func (s *session) execute(name string, most int) (refused, broken error) {
	p, err := s.portal(name)
	if err != nil {
		return err, nil
	}
	st := p.statement
	if st.run == nil {
		s.out = wire.AppendBare(s.out, wire.MsgEmptyQueryResponse)
		return nil, nil
	}
	if !p.begun {
		p.begun = true
		if p.rows, err = s.do(st, p.args); err != nil {
			return err, nil
		}
		if s.kept() > maxKept {
			p.rows = nil
			return errTooMany, nil
		}
	}
	n := len(p.rows)
	if most > 0 {
		n = min(n, most)
	}
	if err := s.send(st, p.rows[:n], p.formats); err != nil {
		return nil, err
	}
	if p.rows = p.rows[n:]; len(p.rows) > 0 {
		s.out = wire.AppendBare(s.out, wire.MsgPortalSuspended)
		return nil, nil
	}
	s.out = wire.AppendCommandComplete(s.out, st.tag)
	return nil, nil
}
