package loop

import (
	"container/heap"
	"time"
)

// Timer calls a function once in the loop's goroutine. The hot path has none: a queue or a pool has one timer for all.
type Timer struct {
	at    time.Time
	f     func()
	index int // place in the heap; -1 when not armed
	owner *Loop
}

// After arms a timer: f runs in the loop's goroutine when d has gone by.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{at: time.Now().Add(d), f: f, owner: l}
	heap.Push(&l.timers, t)
	return t
}

// Stop disarms the timer; nothing happens when it is nil or has already run.
func (t *Timer) Stop() {
	if t != nil && t.index >= 0 {
		heap.Remove(&t.owner.timers, t.index)
	}
}

// timers is a heap ordered by time.
type timers []*Timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is part of heap.Interface.
func (h *timers) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is part of heap.Interface.
func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// maxWait keeps the time to wait within the kernel's 32 bits of milliseconds.
const maxWait = time.Hour

// next is how long the loop may wait: until the first timer, or forever (-1).
func (h timers) next(now time.Time) time.Duration {
	if len(h) == 0 {
		return -1
	}
	return min(maxWait, max(0, h[0].at.Sub(now)))
}

func (h *timers) run(now time.Time) {
	for len(*h) > 0 && !(*h)[0].at.After(now) {
		t := heap.Pop(h).(*Timer)
		t.f()
	}
}
