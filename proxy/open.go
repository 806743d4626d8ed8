package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
	"golang.org/x/sys/unix"
)

// opened is a server connection on its way into a loop.
type opened struct {
	conn    *server.Conn
	carrier *loop.Carrier
	session trusted.Session
	fd      int
}

// seed gives a number from 0 to 1 that nobody can guess.
func seed() float64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

func wrap(c net.Conn) net.Conn { return loop.NewCarrier(c) }

// openServer opens a connection, learns what the dialect needs, and takes the descriptor out of the standard library's
// hands. It blocks.
func openServer(ctx context.Context, cfg *server.Config, d trusted.Dialect) (*opened, error) {
	conn, err := server.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	o := &opened{conn: conn, session: trusted.Session{PID: conn.PID(), Seed: seed}}
	if err := o.prepare(cfg, d); err != nil {
		conn.Close()
		return nil, err
	}
	return o, nil
}

func (o *opened) prepare(cfg *server.Config, d trusted.Dialect) error {
	c := o.conn.Conn
	if err := c.SetDeadline(time.Now().Add(max(cfg.ConnectTimeout, time.Second))); err != nil {
		return err
	}
	if err := greet(c, d, &o.session); err != nil {
		return notInstalled(err)
	}
	if err := c.SetDeadline(noDeadline); err != nil {
		return err
	}
	base := c
	if o.conn.TLS != nil {
		base = o.conn.TLS.NetConn()
	}
	carrier, ok := base.(*loop.Carrier)
	if !ok {
		return fmt.Errorf("server connection is a %T", base)
	}
	fd, err := loop.Detach(carrier.Conn)
	if err != nil {
		return err
	}
	o.fd = fd
	if o.conn.TLS != nil {
		o.carrier = carrier
	}
	return nil
}

// discard closes a connection that no loop has taken.
func (o *opened) discard() { unix.Close(o.fd) }

const notReady = "the database is not ready for trusted contexts"

// notInstalled explains a database that cannot carry the context.
func notInstalled(err error) error {
	return &claimpool.Error{
		Code: claimpool.CodeCannotConnectNow, Message: notReady,
		Hint: `Run "claimpool db status" to see what is missing.`, Cause: err,
	}
}

// maxAnswer is the longest message of the answer to a dialect's question.
const maxAnswer = 64 << 10

// greet is the dialect's conversation with a new connection.
func greet(c net.Conn, d trusted.Dialect, s *trusted.Session) error {
	var answer []string
	for {
		ask, err := d.Greet(s, answer, time.Now())
		if err != nil || ask == nil {
			return err
		}
		if answer, err = question(c, ask); err != nil {
			return err
		}
	}
}

// maxQuestions is how often a question is asked when it is cancelled: a neighbour with the same role may call
// pg_cancel_backend on every new connection without end, and a pool that cannot grow serves nobody.
const maxQuestions = 100

// question asks a new connection something and gives the one row of the answer.
func question(c net.Conn, messages []byte) (row []string, err error) {
	for range maxQuestions {
		row, err = questionOnce(c, messages)
		var e *claimpool.Error
		if !errors.As(err, &e) || e.Code != claimpool.CodeQueryCanceled {
			break
		}
	}
	return row, err
}

func questionOnce(c net.Conn, messages []byte) (row []string, err error) {
	if _, err := c.Write(messages); err != nil {
		return nil, err
	}
	var failed error
	for {
		typ, body, err := wire.ReadMessage(c, maxAnswer)
		if err != nil {
			return nil, err
		}
		switch typ {
		case wire.MsgDataRow:
			if row, err = wire.ParseDataRow(body); err != nil {
				return nil, err
			}
		case wire.MsgFunctionCallResponse:
			value, err := wire.ParseFunctionCallResponse(body)
			if err != nil {
				return nil, err
			}
			row = []string{string(value)}
		case wire.MsgErrorResponse:
			fields, err := wire.ParseError(body)
			if err != nil {
				return nil, err
			}
			failed = fields.ClaimpoolError()
		case wire.MsgReadyForQuery:
			if failed == nil && row == nil {
				failed = fmt.Errorf("no row in the answer")
			}
			return row, failed
		}
	}
}
