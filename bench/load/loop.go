//go:build linux

package load

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/claimpool/claimpool/bench/epoll"
	"github.com/claimpool/claimpool/bench/pgmsg"
)

// member is a client inside the loop.
type member struct {
	*client
	fd      int
	frames  pgmsg.Framer
	prepare []byte // to be sent before the first transaction
	steps   []step // of a transaction
	step    int    // the one that is going on
	began   time.Time
	unsent  []byte // the rest of a request
}

// loop drives all members through the workload.
type loop struct {
	o       *Options
	poll    *epoll.Poll
	members []*member // by descriptor
	in      []byte    // what was just read, for whichever member it was
	plain   []byte    // the same, decrypted

	waiting []*member // those without a transaction, the first to be next; see Options.Active
	pace    *pace     // nil: every client begins again at once
	meter   *meter
	measure bool // the warm-up is over
	done    int  // transactions while measuring
	times   histogram
	now     time.Time
}

// newLoop takes the clients' descriptors away from the runtime's own poller.
func newLoop(o *Options, w *workload, clients []*client) (*loop, error) {
	poll, err := epoll.New()
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	l := &loop{o: o, poll: poll, in: make([]byte, 256<<10), plain: make([]byte, 64<<10)}
	for i, c := range clients {
		fd, err := detach(c.raw)
		if err != nil {
			return nil, fmt.Errorf("take over connection: %w", err)
		}
		if c.via != nil {
			c.via.memory = true
		}
		for len(l.members) <= fd {
			l.members = append(l.members, nil)
		}
		m := &member{client: c, fd: fd, steps: w.steps}
		if w.prepared != nil {
			m.prepare, m.steps = w.prepared(i)
		}
		l.members[fd] = m
		if err := poll.Add(fd); err != nil {
			return nil, fmt.Errorf("watch connection: %w", err)
		}
	}
	return l, nil
}

// detach duplicates a connection's descriptor and closes the original.
func detach(c io.Closer) (fd int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(old uintptr) { fd, err = syscall.Dup(int(old)) }); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	return fd, c.Close()
}

func (l *loop) close() {
	for _, m := range l.members {
		if m != nil {
			_ = syscall.Close(m.fd)
		}
	}
	_ = l.poll.Close()
}

func (l *loop) run() (*Result, error) {
	l.now = time.Now()
	warm, active := l.now.Add(l.o.Warmup), 0
	if l.o.Rate > 0 {
		l.pace = &pace{every: time.Duration(float64(time.Second) / l.o.Rate), next: l.now}
	}
	for _, m := range l.members {
		if m == nil {
			continue
		}
		if l.pace != nil && m.prepare == nil {
			l.pace.free = append(l.pace.free, m)
			continue
		}
		if l.o.Active > 0 && active >= l.o.Active {
			l.waiting = append(l.waiting, m)
			continue
		}
		active++
		if err := l.begin(m); err != nil {
			return nil, err
		}
	}
	var end time.Time
	for {
		events, err := l.poll.Wait(l.patience())
		if err != nil {
			return nil, fmt.Errorf("wait for events: %w", err)
		}
		for i := range events {
			m := l.members[events[i].Fd]
			if events[i].Events&syscall.EPOLLOUT != 0 {
				err = l.flush(m)
			} else {
				err = l.receive(m)
			}
			if err != nil {
				return nil, err
			}
		}
		l.now = time.Now()
		if l.pace != nil {
			if err := l.pace.start(l, l.now); err != nil {
				return nil, err
			}
		}
		switch {
		case !l.measure && !l.now.Before(warm):
			if l.meter, err = startMeter(l.o); err != nil {
				return nil, err
			}
			l.measure = true
			l.now = l.meter.began
			end = l.now.Add(l.o.Time)
		case l.measure && (!l.now.Before(end) || l.o.Count > 0 && l.done >= l.o.Count):
			return l.meter.result(l.done, &l.times)
		}
	}
}

// patience is how long the loop waits for the proxy, in milliseconds.
func (l *loop) patience() int {
	if l.pace != nil {
		return 1
	}
	return 1000
}

// begin starts a member's next transaction, or its preparation before the first one.
func (l *loop) begin(m *member) error {
	m.step, m.began = 0, time.Now()
	if m.prepare != nil {
		return l.send(m, m.prepare)
	}
	return l.send(m, m.steps[0].send)
}

func (l *loop) send(m *member, b []byte) error {
	if m.tls != nil {
		if _, err := m.tls.Write(b); err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		b, m.via.out = m.via.out, m.via.out[:0]
	}
	n, errno := epoll.Write(m.fd, b)
	if errno != 0 {
		return fmt.Errorf("send: %w", errno)
	}
	if n < len(b) {
		m.unsent = b[n:] // the workload's own bytes, or the pipe's, which is used again only after the reply
		return l.poll.WatchOutput(m.fd, true)
	}
	return nil
}

func (l *loop) flush(m *member) error {
	n, errno := epoll.Write(m.fd, m.unsent)
	if errno != 0 {
		return fmt.Errorf("send: %w", errno)
	}
	if m.unsent = m.unsent[n:]; len(m.unsent) == 0 {
		return l.poll.WatchOutput(m.fd, false)
	}
	return nil
}

func (l *loop) receive(m *member) error {
	n, errno := epoll.Read(m.fd, l.in)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return nil
	case errno != 0:
		return fmt.Errorf("receive: %w", errno)
	case n == 0:
		return errors.New("the connection was closed")
	case m.tls != nil:
		return m.decrypt(l.in[:n], l.plain, func(b []byte) error { return l.take(m, b) })
	}
	return l.take(m, l.in[:n])
}

// take looks at the types of the messages in b and goes on when a step's reply is complete.
func (l *loop) take(m *member, b []byte) error {
	for len(b) > 0 {
		typ, body, rest := m.frames.Next(b)
		b = rest
		switch {
		case typ == 'E':
			return errors.New(pgmsg.ErrorText(body))
		case typ == 0 || typ != 'Z' && typ != 'G':
		case m.prepare != nil:
			m.prepare = nil
			if err := l.begin(m); err != nil {
				return err
			}
		case typ == m.steps[m.step].until:
			if err := l.advance(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loop) advance(m *member) error {
	if m.step++; m.step < len(m.steps) {
		return l.send(m, m.steps[m.step].send)
	}
	if l.measure {
		l.done++
		l.times.add(time.Since(m.began))
	}
	if l.pace != nil {
		return l.pace.again(l, m)
	}
	if len(l.waiting) > 0 {
		l.waiting = append(l.waiting, m)
		m, l.waiting = l.waiting[0], l.waiting[1:]
	}
	return l.begin(m)
}
