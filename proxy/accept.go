package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// acceptPause is how long accepting rests after an error such as "too many open files": the listener would give the same
// error again at once and take a whole core.
const acceptPause = 50 * time.Millisecond

// accept takes clients in. It waits for a free login slot, and for the turn of the login that it begins: in a storm of logins
// the rest waits in the kernel, where it takes no memory of ours, and the running clients hardly notice.
func (p *Proxy) accept(l *Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			p.log.Warn("could not accept a client", claimpool.LogErr, err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-p.ctx.Done():
				return nil
			}
		}
		slot := newSlot(p.ctx, p.places)
		if slot == nil {
			conn.Close()
			return nil
		}
		slot.work()
		if !p.welcome(conn) {
			slot.quit()
			conn.Close()
			continue
		}
		go func() {
			defer p.logins.Done()
			defer slot.quit()
			defer p.forget(conn)
			p.walk(l, conn, slot)
		}()
	}
}

// welcome counts the client in, unless the proxy is stopping. A few more than the limit are let in, to be told so in their
// own words (see admit); beyond those nobody costs more than this.
func (p *Proxy) welcome(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	if p.count.Load() >= int64(p.config.Load().Limits.MaxClients+cap(p.places.slots)) {
		p.counts.drop()
		return false
	}
	p.count.Add(1)
	p.logins.Add(1)
	p.pending[conn] = struct{}{}
	return true
}

func (p *Proxy) forget(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, conn)
}

// walk takes one client from its first byte into an event loop, or refuses it. It owns the client's count.
func (p *Proxy) walk(l *Listener, conn net.Conn, slot *slot) {
	direct, err := loop.NewDirect(conn, slot.pause, slot.resume)
	if err != nil {
		p.log.Error("could not use a client's connection", claimpool.LogErr, err)
		conn.Close()
		p.uncount(nil)
		return
	}
	v := &visitor{proxy: p, raw: conn, conn: direct, slot: slot, listener: l, number: p.number.Add(1)}
	defer v.survive()
	cfg := p.config.Load()
	ctx, cancel := context.WithTimeout(p.ctx, cfg.Limits.LoginTimeout)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if err = v.handshake(ctx, cfg); err == nil {
		return
	}
	p.uncount(v.seats)
	v.refuse(err)
}

// survive ends the connection of a stranger whose bytes have found a mistake of ours, and nobody else's. In a loop there is
// no such net: what it shares between clients may be half changed, and then the process must end.
func (v *visitor) survive() {
	what := recover()
	if what == nil {
		return
	}
	v.proxy.log.Error("mistake in a login; please report it", append(v.attrs(), claimpool.LogErr, fmt.Sprint(what),
		claimpool.LogReason, string(debug.Stack()))...)
	v.proxy.counts.refused(v.method, claimpool.CodeInternalError)
	v.raw.Close()
	v.proxy.uncount(v.seats)
}

// uncount is the end of a client.
func (p *Proxy) uncount(seats []seat) {
	p.census.free(seats)
	p.count.Add(-1)
}

// refuse tells the client what it may know, the log everything, and closes.
func (v *visitor) refuse(err error) {
	defer v.raw.Close()
	attrs := v.attrs()
	var e *claimpool.Error
	switch {
	case errors.Is(err, startup.ErrCertificate): // TLS has told the client so
		e = &claimpool.Error{Code: claimpool.CodeInvalidAuthorization, Message: "client certificate not accepted", Cause: err}
		v.proxy.log.Warn("connection refused", append(attrs, claimpool.LogSQLState, string(e.Code), claimpool.LogReason, err.Error())...)
		v.recordRefusal(e)
		return
	case !errors.As(err, &e):
		if !errors.Is(err, errDone) {
			v.proxy.counts.left(v.method)
			v.proxy.log.Debug("client left before its login was over", append(attrs, claimpool.LogErr, err)...)
		}
		return
	}
	v.proxy.log.Warn("connection refused", append(attrs, claimpool.LogSQLState, string(e.Code), claimpool.LogReason, e.Error())...)
	v.recordRefusal(e)
	if v.hello == nil {
		return
	}
	v.raw.SetDeadline(time.Now().Add(lastWords))
	if _, err := v.hello.Conn.Write(wire.AppendError(v.hello.AppendNegotiation(nil), "FATAL", e)); err != nil {
		return
	}
	v.closeSoftly()
}

// lastWords is how long the answer to a refused client may take to go out, or a cancel request for one that has left.
const lastWords = 2 * time.Second
