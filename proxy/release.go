package proxy

import (
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// release is step 11: the server has answered everything and is outside of a transaction. While a cancel request is on its
// way to it, nobody else may have it: the request would hit the wrong query.
func (s *backend) release(now time.Time) {
	if s.cancels > 0 {
		s.state = cancelling
		return
	}
	if s.doubtful {
		s.retire(pool.CancelUnsure)
		return
	}
	s.state = resting
	s.conn.Resume() // it may have been paused for a client that took its time
	t, why := s.pool.pool.Release(&s.member, pool.Keep, now)
	if why != pool.Keep {
		s.closeFor(why)
		s.pool.grow(now)
		return
	}
	if t != nil {
		t.Value.(*client).granted(s, now)
	}
	s.pool.match(now)
}

// abandoned decides what becomes of a server whose client has left in the middle of something. When unsure, close. After a
// goodbye what was asked before it is still carried out; a client that just vanished has its query cancelled.
func (s *backend) abandoned(c *client, now time.Time) {
	session := s.pool.pool.Config().Mode == pool.Session
	if s.state == asking || s.member.Pinned() || s.relay.Seen()&s.pool.features.left != 0 {
		s.session.Soil()
	}
	switch {
	case s.state == handingOver && s.relay.Busy(): // its request has gone along
		s.retireBusy(pool.LeftInQuery)
	case s.state == handingOver:
		if session {
			s.session.Soil()
		}
		return // the hand-over goes on, and the server goes back to the pool when it is complete
	case s.state == reopening:
		return // its place is taken until the connection that is on its way has come, and is closed
	case s.state != serving:
		return
	case !s.relay.Whole():
		s.retireBusy(pool.LeftInMessage)
	case s.relay.Unsure():
		s.retireBusy(pool.OutOfStep)
	case s.relay.Copying():
		s.retireBusy(pool.LeftInCopy)
	case s.relay.Unsynced():
		s.retireBusy(pool.LeftUnsynced)
	case s.relay.Busy() && c.leaving:
		s.finishFor(c)
	case s.relay.Busy():
		s.retireBusy(pool.LeftInQuery)
	case s.relay.InTransaction():
		s.session.Wiped() // settings that the client has changed in the transaction go back unseen
		if session {
			s.session.Soil()
		}
		b, steps := trusted.Rollback(s.pool.hub.scratch[:0])
		s.cleanUp(b, steps, session)
	case session && !s.session.Unisolated:
		s.session.Soil()
		s.cleanUp(s.pool.hub.scratch[:0], nil, true)
	default:
		if session {
			s.session.Soil()
		}
		s.release(now)
	}
}

// cleanUp asks what has to be asked before the server goes back to the pool: behind a session, whether it can be like a new one.
func (s *backend) cleanUp(b []byte, steps trusted.Steps, session bool) {
	if session && !s.session.Unisolated {
		s.session.Soil() // the question takes settings away, the context among them
		b, steps = trusted.AskTemporary(b, steps)
	}
	s.pool.hub.scratch = b
	s.ask(rollingBack, b, steps, rollbackTimeout)
}

// finish takes the answers that nobody reads any more. As for a client that is there, no transaction begins behind the end of the token.
func (s *backend) finish(b []byte) int {
	used, ended, now := 0, s.relay.Ended(), s.pool.hub.loop.Now()
	for used < len(b) {
		r, err := s.relay.FromServer(b[used:])
		used += r.Forward + r.Drop
		if err != nil {
			s.retire(pool.ServerError)
			return len(b)
		}
		if r.Event == relay.Parameter {
			s.session.Soil() // a setting that is not known to be anybody's
		}
		if r.Done {
			break
		}
	}
	s.pool.counts.Transactions += uint64(s.relay.Ended() - ended)
	switch {
	case !s.relay.Answering() && s.relay.Whole(): // all is answered, or the server waits for what will never come
		s.timer.Stop()
		c := s.former
		s.state, c.leaving = serving, false
		s.finished()
		s.abandoned(c, now)
	case s.relay.Ended() != ended && s.former.identity.Expired(now):
		s.retireBusy(pool.LeftInQuery)
		return len(b)
	}
	return used
}

// retireBusy closes a server that may still be working for a client that is gone, and stops that work.
func (s *backend) retireBusy(why pool.Reason) {
	s.cancelRunning()
	s.retire(why)
}

// retire closes a leased or idle server for a reason, and lets the pool open another one.
func (s *backend) retire(why pool.Reason) {
	s.pool.hub.proxy.log.Info("server connection closed", claimpool.LogPool, s.pool.name(),
		claimpool.LogServer, s.session.PID, claimpool.LogReason, why.String())
	s.remove(why)
}

// remove takes the server out of the pool and closes it.
func (s *backend) remove(why pool.Reason) {
	if s.state == gone {
		return
	}
	s.pool.pool.Remove(&s.member, why)
	s.statements.Leave()
	s.dismiss()
	s.pool.grow(s.pool.hub.loop.Now())
}

// closeFor closes a server that the pool has already let go.
func (s *backend) closeFor(why pool.Reason) {
	s.pool.hub.proxy.log.Debug("server connection closed", claimpool.LogPool, s.pool.name(),
		claimpool.LogServer, s.session.PID, claimpool.LogReason, why.String())
	s.dismiss()
}

// dismiss closes the connection, with a Terminate where that is possible, so that PostgreSQL's log stays quiet.
func (s *backend) dismiss() {
	if s.state == gone {
		return
	}
	if s.state == resting {
		s.conn.Write(wire.AppendTerminate(nil))
	}
	s.state = gone
	s.finished()
	s.timer.Stop()
	s.conn.Close()
}

// idle is for how long its client has kept it without a request: in an open transaction, or because nobody can tell for certain that all
// has been answered. 0 when a request is under way.
func (s *backend) idle(now time.Time) time.Duration {
	if s.state != serving || s.relay.Busy() || !s.relay.InTransaction() && !s.relay.Unsure() || s.heard.IsZero() {
		return 0
	}
	return now.Sub(s.heard)
}
