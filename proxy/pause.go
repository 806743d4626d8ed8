package proxy

import (
	"context"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pool"
)

// Pause closes the server connections of a database as they become free, and lets clients wait, within the bounds of the queue, until it is
// ended (on is false): also those who want to replicate or to listen. Nobody looks at the hosts. It outlives reloads, but no restart. It
// says how many server connections are still in use, those that listen or replicate included, which it leaves alone; known is false for
// a database that is not there. Other is none: its databases have names.
func (p *Proxy) Pause(ctx context.Context, database string, on bool) (busy int, known bool, err error) {
	p.mu.Lock()
	if known = database != Other && p.config.Load().database(database) != nil; known && on {
		if p.paused[database] == nil {
			p.paused[database] = make(chan struct{})
		}
	} else if resumed := p.paused[database]; resumed != nil {
		delete(p.paused, database)
		close(resumed)
	}
	if on {
		busy += p.reaching[database]
	}
	for st := range p.streams {
		if on && st.visitor.request.Database == database {
			busy++
		}
	}
	var told []chan int
	for key, sp := range p.pools {
		left := make(chan int, 1)
		if key.database == database && sp.hub.loop.Post(func() { left <- sp.pause(p.IsPaused(database)) }) { // else the loop has ended
			told = append(told, left)
		}
	}
	p.mu.Unlock()
	for _, left := range told {
		select {
		case n := <-left:
			busy += n
		case <-ctx.Done(): // it is done all the same
			return busy, known, ctx.Err()
		}
	}
	return busy, known, nil
}

// IsPaused reports whether a database is paused.
func (p *Proxy) IsPaused(database string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused[database] != nil
}

// awaitResume waits until a database is not paused, within the bounds of the queue and of the login: for those who open a connection of their
// own. It counts that connection until reached is called, which takes it over. It blocks.
func (p *Proxy) awaitResume(ctx context.Context, database string, wait time.Duration) (reached func(), err error) {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		p.mu.Lock()
		resumed := p.paused[database]
		if resumed == nil {
			p.reaching[database]++
		}
		p.mu.Unlock()
		if resumed == nil {
			return func() { p.reached(database) }, nil
		}
		select {
		case <-resumed:
		case <-late.C:
			return nil, errWaited
		case <-ctx.Done():
			return nil, errPaused(ctx)
		}
	}
}

func errPaused(ctx context.Context) error {
	return &claimpool.Error{
		Code: claimpool.CodeCannotConnectNow, Message: "the database is paused", Hint: "Try again later.", Cause: ctx.Err(),
	}
}

func (p *Proxy) reached(database string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaching[database]--; p.reaching[database] == 0 {
		delete(p.reaching, database)
	}
}

// pause says how many server connections are in use, or on their way.
func (sp *sharedPool) pause(on bool) (busy int) {
	sp.pool.Pause(on)
	if !on {
		sp.grow(sp.hub.loop.Now())
		sp.openForLogins()
		sp.listener.resume()
		return 0
	}
	for _, s := range sp.pool.Condemn(pool.Reconfigured) {
		s.Value.(*backend).closeFor(pool.Reconfigured)
	}
	st := sp.pool.Stats()
	busy = st.Leased + st.Opening
	if sp.listener != nil && sp.listener.begun {
		busy++
	}
	return busy
}
