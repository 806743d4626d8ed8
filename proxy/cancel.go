package proxy

import (
	"context"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/startup"
)

// cancel routes a CancelRequest. The sender is never told anything (protocol-flow, "Canceling Requests in Progress"), but
// its connection stays open until the request has been dealt with, as PostgreSQL's does.
func (p *Proxy) cancel(ctx context.Context, req *startup.Cancel) {
	c := p.keys.find(req.PID, req.Secret)
	if c == nil {
		p.log.Debug("cancel request with an unknown key")
		return
	}
	if c.stream != nil {
		c.stream.cancel(ctx)
		return
	}
	done := make(chan struct{})
	if !c.pool.hub.loop.Post(func() { c.cancel(done) }) {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// cancel stops what the client is doing now: its wait in the queue, or its query. A client that does nothing has nothing
// that could be cancelled, and its last server is somebody else's already.
func (c *client) cancel(done chan<- struct{}) {
	switch c.state {
	case waiting:
		c.pool.pool.Cancel(c.ticket)
		c.turnAway(errCanceled)
	case receiving:
		if c.ahead > 0 { // the request has gone along, and may run
			c.server.sendCancel(done)
			return
		}
		if c.kept { // its session needs the hand-over: the request is answered behind that
			c.canceled = true
			break
		}
		c.server.client, c.server = nil, nil // the hand-over goes on, and the server goes back to the pool when it is complete
		c.turnAway(errCanceled)
	case relaying:
		if c.server.relay.Busy() {
			c.server.sendCancel(done)
			return
		}
	}
	close(done)
}

var errCanceled = &claimpool.Error{Code: claimpool.CodeQueryCanceled, Message: "canceling statement due to user request"}

// sendCancel passes a cancel request on. Until PostgreSQL has dealt with it the server cannot be released; if that is not
// certain, it is closed.
func (s *backend) sendCancel(done chan<- struct{}) {
	if s.cancels > 0 { // one is on its way already; a storm of them must not become a storm of connections
		close(done)
		return
	}
	s.cancels++
	target, h := s.target, s.pool.hub
	h.proxy.wg.Go(func() {
		defer close(done)
		ctx, stop := context.WithTimeout(h.proxy.ctx, h.proxy.config.Load().Limits.cancelTimeout())
		defer stop()
		err := target.Cancel(ctx)
		h.loop.Post(func() { s.cancelled(err) })
	})
}

func (s *backend) cancelled(err error) {
	s.cancels--
	if s.state == gone {
		return
	}
	if err != nil {
		s.pool.hub.proxy.log.Warn("cancel request failed", claimpool.LogServer, s.session.PID, claimpool.LogErr, err.Error())
		s.doubtful = true
	}
	if c := s.client; c != nil && c.held && c.state == keeping && s.cancels == 0 {
		c.held = false
		c.conn.Resume()
	}
	if s.state != cancelling || s.cancels > 0 {
		return
	}
	if s.doubtful {
		s.retire(pool.CancelUnsure)
		return
	}
	s.release(s.pool.hub.loop.Now())
}
