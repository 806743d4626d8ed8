// Package loop is the event loop: it reads and writes many connections from one goroutine, without a buffer or a
// goroutine for a connection that is idle. It does not know the protocol that the bytes belong to.
//
// A loop owns its connections outright: there are no locks and no channels on its path. Everything that touches a Conn
// or a Timer runs in the loop's goroutine; another goroutine asks for something with Post. What must block (dialling,
// DNS, files) happens elsewhere and posts its result.
package loop

import (
	"fmt"
	"sync"
	"time"
)

const (
	// readSize is the size of the one read buffer of a loop. Long results want it large, the processor's cache wants it
	// small.
	readSize = 64 << 10
	// maxTurns is how many reads in a row one connection gets before the others have their turn (a client that uploads
	// without end starves nobody).
	maxTurns = 8
	// maxEvents is how many events one call takes from the kernel.
	maxEvents = 256
)

// Loop is one event loop. Make it with New, run it with Run in a goroutine of its own.
type Loop struct {
	poller  poller
	conns   []*Conn // by file descriptor
	count   int     // connections alive
	ready   []*Conn // connections that have something to do without an event from the kernel
	spare   []*Conn // the other half of ready, reused
	gather  []*Conn // connections whose output waits for more of it (see Conn.Gather)
	timers  timers
	buf     []byte // plain bytes just read
	cipher  []byte // TLS records just read
	buffers freeList
	now     time.Time
	gen     uint32
	stopped bool

	mu     sync.Mutex
	posted []func() // guarded by mu
	woken  bool     // guarded by mu: a wake-up is under way
	closed bool     // guarded by mu: the loop takes nothing any more
}

// New makes a loop; it must be run or closed.
func New() (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("open event loop: %w", err)
	}
	return &Loop{
		poller: p,
		buf:    make([]byte, readSize),
		cipher: make([]byte, readSize),
		now:    time.Now(),
	}, nil
}

// Now is the moment at which the current round of the loop began.
func (l *Loop) Now() time.Time { return l.now }

// Len is the number of connections that the loop owns.
func (l *Loop) Len() int { return l.count }

// Post runs f in the loop's goroutine, in the order of the calls. It may be called from any goroutine; false means that
// the loop has ended and f will not run.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.posted = append(l.posted, f)
	if !l.woken {
		l.woken = true
		l.poller.wake()
	}
	return true
}

// Stop ends Run after the current round. It must be called in the loop's goroutine (by Post).
func (l *Loop) Stop() { l.stopped = true }

// Run serves the connections until Stop. Then it runs what was posted before the end, since it may hold a descriptor, and
// closes the connections that are left without telling their handlers.
func (l *Loop) Run() {
	for !l.stopped {
		l.round()
	}
	l.mu.Lock()
	l.closed = true
	last := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range last {
		f()
	}
	for _, c := range l.conns {
		if c != nil {
			c.Close()
		}
	}
	l.poller.close()
}

// round takes what the kernel has. It waits for that only when there is nothing else to do; asking first without waiting
// would be a second system call for every wake-up of a loop that is not busy.
func (l *Loop) round() {
	n := 0
	if len(l.ready) > 0 || len(l.gather) > 0 {
		n = l.poller.poll(l)
		l.ageGathered()
	}
	if n == 0 && len(l.ready) == 0 {
		l.flushGathered()
	}
	if n == 0 && len(l.ready) == 0 { // still: sending may have failed
		n = l.poller.wait(l, l.timers.next(l.now))
	}
	l.now = time.Now()
	for i := range n {
		fd, gen, what := l.poller.event(i)
		if fd < 0 {
			l.runPosted()
			continue
		}
		if c := l.lookup(fd, gen); c != nil {
			c.event(what)
		}
	}
	l.runReady()
	l.timers.run(l.now)
}

func (l *Loop) lookup(fd int, gen uint32) *Conn {
	if fd >= len(l.conns) {
		return nil
	}
	c := l.conns[fd]
	if c == nil || c.gen != gen {
		return nil // closed in this round; the descriptor may already be another connection's
	}
	return c
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	fs := l.posted
	l.posted = nil
	l.woken = false
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// runReady serves the connections that were resumed or failed since the last round, each once: what they make ready
// comes next round, so that the kernel's events are looked at in between.
func (l *Loop) runReady() {
	if len(l.ready) == 0 {
		return
	}
	list := l.ready
	l.ready = l.spare[:0]
	for i, c := range list {
		list[i] = nil
		c.queued = false
		if !c.closed {
			c.serve()
		}
	}
	l.spare = list[:0]
}

func (l *Loop) enqueue(c *Conn) {
	if !c.queued {
		c.queued = true
		l.ready = append(l.ready, c)
	}
}
