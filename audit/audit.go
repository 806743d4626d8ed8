// Package audit records who did what: one stream of events, each one line of JSON with the identity in it. It is told what has happened, and
// does not know how, or why.
//
// Nobody waits for the stream: events go into a queue, and one goroutine writes them. What happens when the queue is full is the
// owner's choice.
package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool"
)

// Options are what a stream needs.
type Options struct {
	Queue  int  // how many events may wait to be written
	Refuse bool // what cannot be recorded must not happen; else it is dropped and counted

	// Report is called when writing fails, with the error, and when it works again, with nil and how many events were lost.
	// Nil: nobody is told.
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
	failing atomic.Bool
	out     io.Writer
	ended   chan struct{}
	end     context.CancelFunc

	mu     sync.RWMutex
	closed bool // guarded by mu
}

type line struct {
	at time.Time
	e  claimpool.Event
}

// New makes a stream that writes to out until it is closed.
func New(out io.Writer, opts Options) *Stream {
	ctx, end := context.WithCancel(context.Background())
	s := &Stream{opts: opts, queue: make(chan line, max(2, opts.Queue)), out: out, ended: make(chan struct{}), end: end}
	go s.run(ctx)
	return s
}

// Record puts an event into the queue. With Options.Refuse the error is ErrFull; else there is none, and what does not fit is counted.
// Refusals, which strangers can cause at will, get half of the queue, and are never a reason to refuse others.
func (s *Stream) Record(e *claimpool.Event) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrFull
	}
	refusal := e.Kind == claimpool.EventRefusal
	if refusal && len(s.queue) >= cap(s.queue)/2 {
		s.lost.Add(1)
		return nil
	}
	if s.opts.Refuse && s.failing.Load() && !refusal {
		s.lost.Add(1)
		return ErrFull
	}
	select {
	case s.queue <- line{time.Now(), *e}:
		return nil
	default:
	}
	s.lost.Add(1)
	if s.opts.Refuse && !refusal {
		return ErrFull
	}
	return nil
}

// Lost is how many events were not recorded.
func (s *Stream) Lost() uint64 { return s.lost.Load() }

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

// run writes events, and flushes when no more wait.
func (s *Stream) run(ctx context.Context) {
	defer close(s.ended)
	var pending buffer
	h := slog.NewJSONHandler(&pending, &slog.HandlerOptions{ReplaceAttr: named})
	for l := range s.queue {
		pending.write(h, &l)
		for more := true; more && pending.Len() < maxBatch; {
			select {
			case next, ok := <-s.queue:
				if ok {
					pending.write(h, &next)
				}
				more = ok
			default:
				more = false
			}
		}
		s.flush(ctx, &pending)
	}
}

// maxBatch is how many bytes are written at once at the most, but for the last event in them.
const maxBatch = 64 << 10

// flush writes a batch. A stream that refuses tries until it works; the other one drops what it cannot write.
func (s *Stream) flush(ctx context.Context, b *buffer) {
	defer b.reset()
	for {
		_, err := s.out.Write(b.Bytes())
		if was := s.failing.Swap(err != nil); was != (err != nil) && s.opts.Report != nil {
			s.opts.Report(err, s.lost.Load())
		}
		if err == nil {
			return
		}
		wait := time.NewTimer(retryAfter)
		if !s.opts.Refuse || ctx.Err() != nil {
			wait.Stop()
			s.lost.Add(b.events)
			return
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}
