package proxy

import "sync"

// tasks are goroutines that work for the loops: openings and cancels. Unlike a sync.WaitGroup they may be waited for while the loops
// begin new ones. The zero value is ready.
type tasks struct {
	mu      sync.Mutex
	running int           // under mu
	over    chan struct{} // under mu; closed when the last one has ended; nil: nobody waits
}

// Go runs f in a goroutine.
func (t *tasks) Go(f func()) {
	t.mu.Lock()
	t.running++
	t.mu.Unlock()
	go func() {
		defer t.done()
		f()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running--; t.running == 0 && t.over != nil {
		close(t.over)
		t.over = nil
	}
}

// Wait returns at a moment at which none is running.
func (t *tasks) Wait() {
	t.mu.Lock()
	if t.running == 0 {
		t.mu.Unlock()
		return
	}
	if t.over == nil {
		t.over = make(chan struct{})
	}
	over := t.over
	t.mu.Unlock()
	<-over
}
