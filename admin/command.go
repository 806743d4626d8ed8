package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// statement is a command of the console that has been understood.
type statement struct {
	name    string // "SHOW POOLS": what the audit stream calls it
	tag     string // of CommandComplete
	right   Right  // what it needs
	quiet   bool   // it does nothing, and is not recorded: what drivers say by themselves
	columns []column
	params  int // how many $n it has
	run     func(ctx context.Context, s *session, args []string) (result, error)
}

// result is what came out.
type result struct {
	rows [][]any
	said string // for the audit stream, behind the name of the command: what exactly it was about, and no secret
}

// parse understands a command; nil is an empty one. What is wrong with it is recorded by its first word alone: behind it may stand anything.
func (s *session) parse(sql string) (*statement, error) {
	tokens, err := scan(sql)
	if err == nil && len(tokens) == 0 {
		return nil, nil
	}
	var st *statement
	if err == nil {
		p := &parser{tokens: tokens, session: s}
		st, err = p.statement()
	}
	if err != nil {
		if over := s.rest(); over != nil {
			return nil, over
		}
		if lost := s.record("a command that is none", claimpool.AsError(err).Code, ""); lost != nil {
			return nil, lost
		}
		return nil, err
	}
	return st, nil
}

// do carries a command out. What cannot be recorded is not done; how it ended is recorded too when it has changed something.
func (s *session) do(st *statement, args []string) ([][]any, error) {
	if st.quiet {
		a, err := st.run(s.ctx, s, args)
		return a.rows, err
	}
	if err := s.rest(); err != nil {
		return nil, err
	}
	if refused := s.mayNot(st); refused != nil {
		if lost := s.record(st.name, refused.Code, refused.Message); lost != nil {
			return nil, lost
		}
		return nil, refused
	}
	if err := s.record(st.name, "", ""); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxTaking)
	defer cancel()
	a, err := st.run(ctx, s, args)
	switch {
	case err != nil:
		e := claimpool.AsError(err)
		s.record(strings.TrimSpace(st.name+" "+a.said), e.Code, e.Message) // it has failed already
	case st.right > Read:
		s.Log.Info("command of an administrator", claimpool.LogClient, s.Who.Client, claimpool.LogIdentity, s.Who.Identity,
			claimpool.LogReason, st.name+" "+a.said)
		s.record(strings.TrimSpace(st.name+" "+a.said)+": done", "", "") // it is done already
	}
	return a.rows, err
}

// mayNot says why a command is not carried out now; nil when it is.
func (s *session) mayNot(st *statement) *claimpool.Error {
	switch {
	case s.Rights(s.Who.Identity) < st.right:
		return &claimpool.Error{
			Code: claimpool.CodeInsufficientPrivileges, Message: "permission denied for this command", Hint: "It is for those whom console.admins names.",
		}
	case st.right > Read && s.status != wire.StatusIdle:
		return &claimpool.Error{
			Code: claimpool.CodeActiveTransaction, Message: "this command cannot run inside a transaction block",
			Hint: "It takes effect at once and cannot be rolled back: turn autocommit on.",
		}
	}
	return nil
}

// rest keeps one client from asking without a pause.
func (s *session) rest() error {
	if wait := time.Until(s.last.Add(pace)); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	s.last = time.Now()
	return nil
}

// record puts a command into the audit stream.
func (s *session) record(what string, code claimpool.Code, why string) error {
	if s.Audit == nil {
		return nil
	}
	e := s.Who
	e.Kind, e.Code, e.Reason = claimpool.EventCommand, code, "console: "+what
	if why != "" {
		e.Reason += ": " + why
	}
	if err := s.Audit.Record(&e); err != nil {
		return &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "cannot record the command at the moment", Hint: "Try again later.", Cause: err,
		}
	}
	return nil
}

// syntax is the answer to what is no command.
func syntax(message, hint string) error {
	return &claimpool.Error{Code: claimpool.CodeSyntaxError, Message: message, Hint: hint}
}

// parser goes through the tokens of one command.
type parser struct {
	session *session
	tokens  []token
	params  int
}

// peek gives the next word in capital letters; empty when there is none.
func (p *parser) peek() string {
	if len(p.tokens) == 0 || p.tokens[0].kind != word {
		return ""
	}
	return strings.ToUpper(p.tokens[0].text)
}

// take goes past the next token if it is one of the words, and gives it.
func (p *parser) take(words ...string) string {
	w := p.peek()
	if w == "" || !slices.Contains(words, w) {
		return ""
	}
	p.tokens = p.tokens[1:]
	return w
}

// value reads a string, or a parameter. Some drivers put what they have quoted into parentheses.
func (p *parser) value(behind string) (value, error) {
	if len(p.tokens) > 2 && p.tokens[0].is("(") && p.tokens[1].kind == quoted && p.tokens[2].is(")") {
		v := value{text: p.tokens[1].text}
		p.tokens = p.tokens[3:]
		return v, nil
	}
	if len(p.tokens) == 0 || p.tokens[0].kind != quoted && p.tokens[0].kind != param {
		return value{}, syntax(fmt.Sprintf("%s needs a value in single quotes", behind), "As in "+behind+" 'value', where two quotes stand for one.")
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	if t.kind == param {
		p.params = max(p.params, t.number)
		return value{param: t.number}, nil
	}
	return value{text: t.text}, nil
}

// over is the end of a command.
func (p *parser) over() error {
	if len(p.tokens) > 0 {
		return syntax(fmt.Sprintf("syntax error at or near %q", printable(p.tokens[0].near())), hintCommands)
	}
	return nil
}

// value is a word of the client's choice: in the command, or in the parameter with this number.
type value struct {
	text  string
	param int
}

// of gives the text. What was bound is enough: portals see to that.
func (v value) of(args []string) string {
	if v.param > 0 {
		return args[v.param-1]
	}
	return v.text
}

// statement reads one command.
func (p *parser) statement() (st *statement, err error) {
	switch w := p.take("SHOW", "REVOKE", "UNDO", "RELOAD", "KILL", "PAUSE", "RESUME"); w {
	case "SHOW":
		st, err = p.show()
	case "REVOKE":
		st, err = p.revoke()
	case "UNDO":
		st, err = p.undo()
	case "KILL":
		st, err = p.kill()
	case "PAUSE", "RESUME":
		st, err = p.pause(w)
	case "RELOAD":
		st = reload
	default:
		st, err = p.chatter()
	}
	if err == nil {
		err = p.over()
	}
	if err != nil {
		return nil, err
	}
	own := *st
	own.params = p.params
	return &own, nil
}

var reload = &statement{name: "RELOAD", tag: "RELOAD", right: Steer, run: func(_ context.Context, s *session, _ []string) (result, error) {
	if s.Running == nil {
		return result{}, errNotHere
	}
	if err := s.Running.Reload(s.Who.Identity.String()); err != nil {
		return result{}, &claimpool.Error{
			Code: claimpool.CodeInvalidParameterValue, Message: "the configuration was not reloaded: the old one stays", Detail: err.Error(),
		}
	}
	return result{}, nil
}}

var errNotHere = &claimpool.Error{
	Code: claimpool.CodeFeatureNotSupported, Message: "this proxy has nothing for this command", Hint: "A setting turns it on; see SHOW HELP.",
}
