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
	kind    Kind
	why     string
	conns   []*Conn // by file descriptor
	count   int     // connections alive
	ready   []*Conn // connections that have something to do without an event from the kernel
	spare   []*Conn // the other half of ready, reused
	push    func()  // sends what is due; nil: output leaves at once
	due     []*Conn // connections whose output leaves by push, or at the end of the round
	events  int     // of this round
	seen    int     // how many of them the loop has taken
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

// New makes a loop; it must be run.
func New(kind Kind) (*Loop, error) {
	l := newLoop()
	var err error
	if l.poller, err = newPoller(l, kind); err != nil {
		return nil, fmt.Errorf("open event loop: %w", err)
	}
	return l, nil
}

func newLoop() *Loop {
	return &Loop{buf: make([]byte, readSize), cipher: make([]byte, readSize), now: time.Now()}
}

// poller is what the kernel tells a loop, and does for it.
type poller interface {
	// enable is called first, in the goroutine that calls all else but wake. It may bind it to its thread.
	enable() error
	// add begins to watch a connection; remove ends that, and closes its descriptor.
	add(*Conn) error
	remove(*Conn)
	// A connection is quiet when the kernel has no more bytes for now, paused when its bytes are not wanted, blocked when the kernel
	// takes no more, and broken when it never will.
	quiet(*Conn)
	paused(*Conn)
	blocked(*Conn)
	broken(*Conn)
	// poll ends a round of the loop, and gives how many events there are for the next. It waits for the first of them: 0 not at all, a
	// negative time without end.
	poll(time.Duration) int
	event(int) (fd int, gen uint32, what happening)
	// wake ends poll, from any goroutine.
	wake()
	close()
}

// Kind is how a loop talks to the kernel.
type Kind string

const (
	// Auto is the best that works here.
	Auto Kind = "auto"
	// IOUring is io_uring(7), of a Linux that can end a multishot receive by length (6.18 can).
	IOUring Kind = "io_uring"
	// Epoll is epoll(7), of any Linux. Other systems have only Auto, which is poll(2).
	Epoll Kind = "epoll"
)

// Kind is what the loop uses.
func (l *Loop) Kind() Kind { return l.kind }

// Why says why it is not what Auto would rather have; empty when it is, or when it was chosen.
func (l *Loop) Why() string { return l.why }

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
	if err := l.poller.enable(); err != nil {
		panic(err) // it worked a moment ago: see New
	}
	l.run()
}

func (l *Loop) run() {
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
		n = l.poller.poll(0)
		l.ageGathered()
	}
	if n == 0 && len(l.ready) == 0 {
		l.flushGathered()
	}
	if n == 0 && len(l.ready) == 0 { // still: sending may have failed
		n = l.poller.poll(l.timers.next(l.now))
	}
	l.now, l.events = time.Now(), n
	for l.seen = 0; l.seen < l.events; l.seen++ { // push may add some; those that come behind this belong to the next round
		fd, gen, what := l.poller.event(l.seen)
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
