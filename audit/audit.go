// Package audit records who did what: one stream of events with the identity in each, as lines of JSON or as rows of a table. It is told
// what has happened, and does not know how, or why.
//
// Nobody waits for the stream: events go into a queue, and one goroutine writes them. What happens when the queue is full is the
// owner's choice.
package audit

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool"
)

// Options are what a stream needs.
type Options struct {
	Queue  int  // how many events may wait to be written
	Refuse bool // what cannot be recorded must not happen; else it is dropped and counted

	// Report is called when writing fails, with the error, once a minute while it does, and when it works again, with nil; and with a
	// *Skipped when a table refuses some events. lost is how many events were lost so far. Nil: nobody is told.
	Report func(err error, lost uint64)
}

// ErrFull says that an event could not be recorded.
var ErrFull = errors.New("the audit stream cannot be written, or is full")

// retryAfter is how long a stream that refuses waits before it tries to write an event again.
const retryAfter = time.Second

// Stream is where events go. It is safe for use by many goroutines.
type Stream struct {
	opts    Options
	queue   chan line
	lost    atomic.Uint64
	written atomic.Uint64
	failing atomic.Bool
	out     io.Writer
	format  func(*buffer, *line)
	ended   chan struct{}
	end     context.CancelFunc

	gatherFor  time.Duration // how long events are gathered for one write; 0: as long as more wait
	gatherUpTo uint64        // and how many; 0: maxBatch bytes
	patient    bool          // what cannot be written is kept and tried again
	last       func()        // what is done at the end; nil: nothing

	// In run alone.
	told     uint64    // how many lost events the stream itself tells of
	reported time.Time // when Report was last called for an error
	warned   uint64    // how many lost events Report was told of
	gaveUp   bool      // closed, and it could not be written: nothing is tried any more

	mu     sync.RWMutex
	closed bool // guarded by mu
}

// line is an event that waits. It holds no identity: what that knows of claims is not kept in memory for this.
type line struct {
	at                 time.Time
	e                  claimpool.Event
	role, method, rule string
	lost               uint64 // of EventLost
}

// New makes a stream that writes to out, in lines of JSON, until it is closed.
func New(out io.Writer, opts Options) *Stream {
	return start(&Stream{opts: opts, out: out, format: jsonLines})
}

func start(s *Stream) *Stream {
	ctx, end := context.WithCancel(context.Background())
	s.queue, s.ended, s.end = make(chan line, max(2, s.opts.Queue)), make(chan struct{}), end
	go s.run(ctx)
	return s
}

// Record puts an event into the queue. With Options.Refuse the error is ErrFull; else there is none, and what does not fit is counted.
// Refusals, which strangers can cause at will, get half of the queue, and hand-overs and transactions, which clients can, a quarter: they
// are lost before others are, and are never a reason to refuse them.
func (s *Stream) Record(e *claimpool.Event) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrFull
	}
	room := share(e.Kind, cap(s.queue))
	whole := room == cap(s.queue)
	if len(s.queue) >= room || whole && s.opts.Refuse && s.failing.Load() {
		return s.lose(whole)
	}
	select {
	case s.queue <- newLine(e, time.Now()):
		return nil
	default:
		return s.lose(whole)
	}
}

// share is how much of a queue events of a kind may fill.
func share(k claimpool.EventKind, whole int) int {
	switch k {
	case claimpool.EventRefusal:
		return whole / 2
	case claimpool.EventHandover, claimpool.EventTransaction:
		return whole / 4
	}
	return whole
}

// lose counts an event that is not recorded.
func (s *Stream) lose(matters bool) error {
	s.lost.Add(1)
	if s.opts.Refuse && matters {
		return ErrFull
	}
	return nil
}

// Lost is how many events were not recorded.
func (s *Stream) Lost() uint64 { return s.lost.Load() }

// Stats counts events, and says whether the stream can be written.
type Stats struct {
	Written, Lost  uint64
	Waiting, Queue int // events that wait to be written; how many may
	Failing        bool
}

// Stats gives the counts so far.
func (s *Stream) Stats() Stats {
	return Stats{Written: s.written.Load(), Lost: s.lost.Load(), Waiting: len(s.queue), Queue: cap(s.queue), Failing: s.failing.Load()}
}

// Close writes what is in the queue and ends the stream; out is the caller's to close.
func (s *Stream) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
		s.end()
	}
	s.mu.Unlock()
	<-s.ended
}

// run writes events, and flushes when no more wait, or enough have been gathered.
func (s *Stream) run(ctx context.Context) {
	defer close(s.ended)
	if s.last != nil {
		defer s.last()
	}
	var pending buffer
	if s.patient {
		s.flush(ctx, &pending) // nothing, to hear whether it works
	}
	for l := range s.queue {
		s.format(&pending, &l)
		s.gather(ctx, &pending)
		if s.flush(ctx, &pending) {
			s.tell(ctx, &pending)
		}
	}
	s.tell(ctx, &pending)
	if lost := s.lost.Load(); s.gaveUp && lost > s.warned {
		s.report(errUnwritten, lost)
	}
}

var errUnwritten = errors.New("it has ended before everything was written")

// tell writes into the stream how many events were lost since it was last told.
func (s *Stream) tell(ctx context.Context, b *buffer) {
	lost := s.lost.Load()
	if lost == s.told {
		return
	}
	s.format(b, &line{at: time.Now(), e: claimpool.Event{Kind: claimpool.EventLost}, lost: lost - s.told})
	b.events = 0 // if this is lost, it will be told again
	if s.flush(ctx, b) {
		s.told = lost
	}
}

// gather adds events that wait, and those that come for a while.
func (s *Stream) gather(ctx context.Context, b *buffer) {
	var over <-chan time.Time
	if s.gatherFor > 0 {
		t := time.NewTimer(s.gatherFor)
		defer t.Stop()
		over = t.C
	}
	for b.Len() < maxBatch && (s.gatherUpTo == 0 || b.events < s.gatherUpTo) {
		select {
		case next, ok := <-s.queue:
			if !ok {
				return
			}
			s.format(b, &next)
			continue
		default:
		}
		if over == nil {
			return
		}
		select {
		case next, ok := <-s.queue:
			if !ok {
				return
			}
			s.format(b, &next)
		case <-over:
			return
		case <-ctx.Done():
			over = nil // what waits, and no more
		}
	}
}

// maxBatch is how many bytes are written at once at the most, but for the last event in them.
const maxBatch = 64 << 10

// reportAgain is how often it is said that the stream still cannot be written.
const reportAgain = time.Minute

func (s *Stream) report(err error, lost uint64) {
	s.reported, s.warned = time.Now(), lost
	if s.opts.Report != nil {
		s.opts.Report(err, lost)
	}
}

// flush writes a batch, and reports whether that has worked. A stream that refuses or is patient tries until it works, or until it is
// closed; the other one drops what it cannot write. A stream that is closed tries once more, for all that waits.
func (s *Stream) flush(ctx context.Context, b *buffer) bool {
	defer b.reset()
	for {
		if s.gaveUp {
			s.lost.Add(b.events)
			return false
		}
		_, err := s.out.Write(b.Bytes())
		var some *Skipped
		refused := uint64(0)
		if errors.As(err, &some) {
			refused = some.rows
			s.lost.Add(refused)
			if time.Since(s.reported) > reportAgain {
				s.report(err, s.lost.Load())
			}
			err = nil
		}
		if was := s.failing.Swap(err != nil); was != (err != nil) || err != nil && time.Since(s.reported) > reportAgain {
			s.report(err, s.lost.Load())
		}
		if err == nil {
			s.written.Add(b.events - min(b.events, refused))
			return true
		}
		if !s.opts.Refuse && !s.patient || ctx.Err() != nil {
			s.gaveUp = ctx.Err() != nil
			s.lost.Add(b.events)
			return false
		}
		wait := time.NewTimer(retryAfter)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}
