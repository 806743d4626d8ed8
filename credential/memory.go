package credential

import (
	"context"
	"sync"
	"time"
)

const (
	// maxFlight bounds one question with all its requests, whoever waits for it.
	maxFlight = 4 * maxWait
	// patience is how long a caller waits for something new while what is there is still good: a service that has fallen silent must not
	// hold up logins before it has to.
	patience = 250 * time.Millisecond
)

// memory keeps the last value of a source. Those who want one at the same time share one question, which ends with nobody's context. It
// holds no lock meanwhile. The zero memory is empty, and safe for use by many goroutines.
type memory[T any] struct {
	mu       sync.Mutex
	last     T         // under mu
	got      time.Time // under mu
	valid    bool      // under mu
	flight   *flight   // under mu: the running question; nil when there is none
	failure  error     // under mu
	failedAt time.Time // under mu
}

// flight is one question; err is set before done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// terms are what a memory's owner knows of its values.
type terms[T any] struct {
	clock     func() time.Time
	replaceAt func(v T, got time.Time) time.Time // when the next one is due
	expires   func(v T) time.Time                // until when one is good if there is no next one; zero: not known
	clone     func(v T) T                        // a caller's own
	drop      func(v T)                          // one is not needed any more
}

// get gives a value that is good now.
func (m *memory[T]) get(ctx context.Context, t *terms[T], source func(context.Context) (T, error)) (v T, err error) {
	for {
		m.mu.Lock()
		now := t.clock()
		if m.valid && now.Before(t.replaceAt(m.last, m.got)) {
			defer m.mu.Unlock()
			return t.clone(m.last), nil
		}
		if m.flight == nil && (m.failure == nil || now.Sub(m.failedAt) >= afterFailure) {
			m.launch(t, source)
		}
		f, good := m.flight, m.valid && now.Before(t.expires(m.last))
		m.mu.Unlock()
		landed := f != nil && f.wait(ctx, good)
		if v, ok, err := m.take(t, f, landed); ok || err != nil {
			return v, err
		}
		if err := ctx.Err(); err != nil {
			return v, err
		}
	}
}

// wait waits for the end of a question, and no longer than ctx, or than patience while there is something good.
func (f *flight) wait(ctx context.Context, good bool) (landed bool) {
	var enough <-chan time.Time
	if good {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-f.done:
		return true
	case <-enough:
	case <-ctx.Done():
	}
	return false
}

// take gives what there is after a wait: neither a value nor an error when it was forgotten at once, or when there was nothing to wait for.
func (m *memory[T]) take(t *terms[T], f *flight, landed bool) (v T, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.valid && (landed && f.err == nil || t.clock().Before(t.expires(m.last))) {
		return t.clone(m.last), true, nil
	}
	switch {
	case landed:
		return v, false, f.err
	case f == nil:
		return v, false, m.failure
	}
	return v, false, nil
}

// launch begins a question. The caller holds mu, and no other is running.
func (m *memory[T]) launch(t *terms[T], source func(context.Context) (T, error)) {
	f := &flight{done: make(chan struct{})}
	m.flight = f
	go func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(context.Background(), maxFlight)
		defer cancel()
		asked := t.clock()
		next, err := source(ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.flight, f.err = nil, err
		m.failure, m.failedAt = err, t.clock()
		switch {
		case err == nil:
			m.forget(t)
			m.last, m.got, m.valid = next, asked, true
		case m.valid && !t.clock().Before(t.expires(m.last)):
			m.forget(t)
		}
	}()
}

// forget drops what is kept. The caller holds mu.
func (m *memory[T]) forget(t *terms[T]) {
	var none T
	if m.valid {
		t.drop(m.last)
	}
	m.last, m.valid = none, false
}
