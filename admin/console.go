package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Right is what somebody may do in the console.
type Right uint8

// The rights; each has those before it.
const (
	Nothing Right = iota
	Read          // look
	Steer         // revoke, reload and so on
)

// Console answers the clients of the database that is none, in SQL's clothes: it shows what runs, and steers it. What is nil is not there,
// and its commands say so.
type Console struct {
	Rights      func(*claimpool.Identity) Right // asked before every command: a reload may have changed them
	Idle        func() time.Duration            // how long a client may be silent; 0: for ever
	Version     string
	Pools       Pools
	Revocations Revocations
	Running     Running
	Roster      Roster
	Settings    Settings
	Meter       Meter
	Audit       claimpool.Auditor
	Log         *slog.Logger
}

// Running is the proxy as far as it can be steered.
type Running interface {
	// Reload reads the configuration again. The error is for the administrator.
	Reload(by string) error
}

// Guest is a client of the console after its login.
type Guest struct {
	Conn net.Conn
	Who  claimpool.Event // what every event of the client says

	// Check says why the client has to go before its next command; nil: it need not.
	Check func() error
}

// Our own limits keep a client of the console from taking memory or time.
const (
	maxMessage    = 16 << 10 // what a command can be long is bounded by the names in it
	maxTaking     = 10 * time.Second
	maxStatements = 100                  // prepared ones and portals, of one client
	maxAtOnce     = 64 << 10             // of an answer, before it is sent
	pace          = 5 * time.Millisecond // from one command to the next: each may look into every event loop
)

// session is one client of the console.
type session struct {
	*Console
	Guest
	ctx        context.Context
	out        []byte
	status     byte // of the transaction that drivers like to begin: see ReadyForQuery
	statements map[string]*statement
	portals    map[string]*portal
	skipping   bool      // after an error in the extended protocol, until Sync
	last       time.Time // when the last command began
}

// Serve talks to a client until it leaves, or ctx ends with a *claimpool.Error as its cause, and says why it has ended.
func (c *Console) Serve(ctx context.Context, g Guest) (reason string) {
	s := &session{Console: c, Guest: g, ctx: ctx, status: wire.StatusIdle, statements: map[string]*statement{}, portals: map[string]*portal{}}
	err := s.talk()
	var e *claimpool.Error
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &e):
	case errors.Is(err, errGoodbye):
		return "client said goodbye"
	case errors.As(err, &e):
	case errors.Is(err, os.ErrDeadlineExceeded):
		e = errIdle
	case err == io.EOF:
		return "client closed the connection"
	default:
		return "connection lost: " + err.Error()
	}
	s.out = wire.AppendError(s.out, "FATAL", e)
	s.flush() // it may have left
	c.Log.Warn("connection ended", claimpool.LogClient, g.Who.Client, claimpool.LogDB, g.Who.Database, claimpool.LogSQLState, string(e.Code),
		claimpool.LogReason, e.Error())
	return e.Message
}

var errGoodbye = errors.New("goodbye")

var errIdle = &claimpool.Error{
	Code: claimpool.CodeIdleSessionTimeout, Message: "terminating connection due to idle-session timeout", Hint: "Raise limits.idle_timeout.",
}

// talk answers one message after the other. Its error is the end.
func (s *session) talk() error {
	for {
		if err := s.await(); err != nil {
			return err
		}
		typ, body, err := wire.ReadMessage(s.Conn, maxMessage)
		if errors.Is(err, wire.ErrLength) {
			return &claimpool.Error{
				Code: claimpool.CodeProtocolViolation, Message: "message too long for the console", Hint: "Send one command at a time.",
			}
		}
		if err != nil {
			return err
		}
		if err := s.Check(); err != nil {
			return err
		}
		if err := s.message(typ, body); err != nil {
			return err
		}
	}
}

// await sets how long the client may be silent. Whoever ends ctx sets the deadline behind it, so that none of the two is missed.
func (s *session) await() error {
	until := time.Time{}
	if idle := s.Idle(); idle > 0 {
		until = time.Now().Add(idle)
	}
	if err := s.Conn.SetReadDeadline(until); err != nil {
		return err
	}
	return context.Cause(s.ctx)
}

// message deals with one message.
func (s *session) message(typ byte, body []byte) error {
	switch typ {
	case wire.MsgTerminate:
		return errGoodbye
	case wire.MsgSync:
		s.skipping = false
		return s.ready()
	}
	if s.skipping {
		return nil
	}
	switch typ {
	case wire.MsgQuery:
		sql, err := wire.ParseQuery(body)
		if err != nil {
			return err
		}
		if err := s.query(sql); err != nil {
			s.fail(err)
		}
		return s.ready()
	case wire.MsgFlush:
		return s.flush()
	case wire.MsgParse, wire.MsgBind, wire.MsgDescribe, wire.MsgExecute, wire.MsgClose:
		refused, broken := s.extended(typ, body)
		if broken != nil {
			return broken
		}
		if refused != nil {
			s.fail(refused)
			s.skipping = true
		}
		if len(s.out) > maxAtOnce {
			return s.flush()
		}
		return nil
	case wire.MsgFunctionCall:
		s.fail(&claimpool.Error{Code: claimpool.CodeFeatureNotSupported, Message: "the console has no functions to call"})
		return s.ready()
	case wire.MsgCopyData, wire.MsgCopyDone, wire.MsgCopyFail: // protocol, COPY Operations: outside of one they are passed over
		return nil
	}
	return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: "invalid message type for the console"}
}

// query is a simple Query: one command.
func (s *session) query(sql string) error {
	st, err := s.parse(sql)
	if err != nil {
		return err
	}
	if st == nil {
		s.out = wire.AppendBare(s.out, wire.MsgEmptyQueryResponse)
		return nil
	}
	if st.params > 0 {
		return syntax("there is no parameter $1", "Parameters need the extended protocol.")
	}
	rows, err := s.do(st, nil)
	if err != nil {
		return err
	}
	if st.columns != nil {
		s.out = wire.AppendRowDescription(s.out, fields(st.columns), nil)
	}
	if err := s.send(st, rows, nil); err != nil {
		return err
	}
	s.out = wire.AppendCommandComplete(s.out, st.tag)
	return nil
}

// send sends rows in pieces.
func (s *session) send(st *statement, rows [][]any, formats []uint16) error {
	for _, row := range rows {
		s.out = wire.AppendDataRow(s.out, encode(st.columns, row, formats))
		if len(s.out) > maxAtOnce {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// fail tells the client of an error. Of one that is not meant for it the log has the text.
func (s *session) fail(err error) {
	e := claimpool.AsError(err)
	s.Log.Warn("request refused", claimpool.LogClient, s.Who.Client, claimpool.LogDB, s.Who.Database, claimpool.LogSQLState, string(e.Code),
		claimpool.LogReason, e.Error())
	s.out = wire.AppendError(s.out, "ERROR", e)
}

// notice tells the client something in front of its answer.
func (s *session) notice(message string) {
	s.out = wire.AppendNotice(s.out, &claimpool.Error{Code: claimpool.CodeSuccess, Message: message})
}

// ready says that the client may go on. Portals end with the transaction.
func (s *session) ready() error {
	if s.status == wire.StatusIdle {
		clear(s.portals)
	}
	s.out = wire.AppendReadyForQuery(s.out, s.status)
	return s.flush()
}

// flush sends what there is. A client that does not take it in time has to go.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	if context.Cause(s.ctx) == nil {
		s.Conn.SetWriteDeadline(time.Now().Add(maxTaking)) // when it fails, so does Write
	}
	_, err := s.Conn.Write(s.out)
	s.out = s.out[:0]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the client does not take its answer")
	}
	return err
}
