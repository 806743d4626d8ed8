package loop

import "syscall"

// Write sends b: what the kernel does not take at once is copied and follows later (see Blocked). It never fails
// visibly: when the connection is broken, the handler's Closed says so, later and in its own turn.
func (c *Conn) Write(b []byte) {
	if c.closed || c.broken || len(b) == 0 {
		return
	}
	c.gather = false
	if c.tls != nil {
		c.writeTLS(b)
		return
	}
	c.writeRaw(b)
}

// WriteSoon is Write for bytes that nobody waits for yet (COPY data): they may be collected with what follows, for as
// long as the loop has other work at hand.
func (c *Conn) WriteSoon(b []byte) {
	if c.closed || c.broken || len(b) == 0 {
		return
	}
	if c.Blocked() || len(b) >= gatherSize || c.tls != nil {
		c.Write(b)
		return
	}
	c.out = append(c.loop.buffers.grow(c.out, len(b)), b...)
	if len(c.out) >= gatherSize {
		c.gather = false
		c.flush()
		return
	}
	if !c.gather {
		c.gather = true
		c.waited = 0
		c.loop.gather = append(c.loop.gather, c)
	}
}

// Blocked reports whether the peer cannot take bytes now. Whoever writes stops reading its source until Drained, which
// comes without fail unless the connection ends before.
func (c *Conn) Blocked() bool { return c.blocked }

// Unsent is how many bytes wait for the peer to take them.
func (c *Conn) Unsent() int { return len(c.out) - c.sent }

func (c *Conn) writeRaw(b []byte) {
	if c.loop.push != nil && !c.blocked && len(c.out)+len(b) <= dueSize {
		c.out = append(c.loop.buffers.grow(c.out, len(b)), b...)
		c.loop.owe(c)
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.loop.buffers.grow(c.out, len(b)), b...)
		c.flush()
		return
	}
	n := c.send(b)
	if c.broken || n == len(b) {
		return
	}
	c.out = append(c.loop.buffers.get(len(b)-n), b[n:]...)
	c.sent = 0
	c.blocked = true
	c.loop.poller.blocked(c)
}

// dueSize is how many bytes of a connection, and maxDue how many connections, may wait for the end of a round.
const (
	dueSize = 4 << 10
	maxDue  = 64
)

// owe makes the output of a connection due.
func (l *Loop) owe(c *Conn) {
	if c.isDue {
		return
	}
	if len(l.due) >= maxDue {
		l.push()
	}
	c.isDue = true
	l.due = append(l.due, c)
}

// settle sends what is due at once.
func (c *Conn) settle() {
	if c.isDue && !c.blocked && !c.broken {
		c.flush()
	}
}

// sentSome is the kernel's answer to what was due.
func (c *Conn) sentSome(n int) {
	switch {
	case n >= 0:
		c.sent += n
	case syscall.Errno(-n) != syscall.EAGAIN:
		c.breaks()
		return
	}
	if c.sent == len(c.out) {
		c.loop.buffers.put(c.out)
		c.out, c.sent = nil, 0
		return
	}
	c.blocked = true
	c.loop.poller.blocked(c)
}

// flush sends what waits.
func (c *Conn) flush() {
	for c.sent < len(c.out) && !c.broken {
		n := c.send(c.out[c.sent:])
		if n == 0 {
			c.blocked = true
			c.loop.poller.blocked(c)
			return
		}
		c.sent += n
	}
	c.loop.buffers.put(c.out)
	c.out, c.sent = nil, 0
}

// send writes once and gives how much the kernel took; 0 means that it will say when it can take more.
func (c *Conn) send(b []byte) int {
	for {
		n, errno := write(c.fd, b)
		switch errno {
		case 0:
			return n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0
		default:
			c.breaks()
			return 0
		}
	}
}

// breaks ends the writing side. The handler hears of it from the reading side, in its own turn and never in the middle of a Write.
func (c *Conn) breaks() {
	c.broken = true
	c.flags |= readable | hangup
	c.loop.enqueue(c)
}

// flushGathered sends what was collected, since the loop has nothing else to do.
func (l *Loop) flushGathered() {
	for i, c := range l.gather {
		l.gather[i] = nil
		c.release()
	}
	l.gather = l.gather[:0]
}

// ageGathered sends what has waited long enough in a busy loop.
func (l *Loop) ageGathered() {
	kept := l.gather[:0]
	for _, c := range l.gather {
		c.waited++
		if c.closed || !c.gather {
			continue
		}
		if c.waited > maxGatherRounds {
			c.release()
			continue
		}
		kept = append(kept, c)
	}
	clear(l.gather[len(kept):])
	l.gather = kept
}

func (c *Conn) release() {
	if !c.closed && c.gather {
		c.gather = false
		c.flush()
	}
}
