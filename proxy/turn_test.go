package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// One login computes at a time, the others wait; whoever waits for its client lets them.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, slots := make(turns, 1), make(chan struct{}, 3)
		a, b := newSlot(t.Context(), slots, all), newSlot(t.Context(), slots, all)
		a.work()
		got := make(chan time.Duration)
		start := time.Now()
		go func() {
			b.work()
			got <- time.Since(start)
		}()
		time.Sleep(maxStall / 2)
		select {
		case <-got:
			t.Fatal("two compute at the same time")
		default:
		}
		over := a.waiting()
		if took := <-got; took != maxStall/2 {
			t.Errorf("the other one got its turn after %v", took)
		}
		time.Sleep(maxStall / 5)
		b.quit()
		over()
		a.work() // it has a turn: there is no second one to wait for
		if len(all) != 1 {
			t.Errorf("%d turns are taken, want 1", len(all))
		}
		a.quit()
		if len(all) != 0 || len(slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all), len(slots))
		}
		a.waiting()() // of a stream, whose login is over
		if len(all) != 0 {
			t.Error("a stream has taken a turn")
		}
	})
}

// A login that waits for something unforeseen loses its turn, and gives it back only once.
func TestTurnEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, slots := make(turns, 1), make(chan struct{}, 2)
		stuck, next := newSlot(t.Context(), slots, all), newSlot(t.Context(), slots, all)
		stuck.work()
		start := time.Now()
		next.work()
		if took := time.Since(start); took != maxStall {
			t.Errorf("the next one got its turn after %v, want %v", took, maxStall)
		}
		stuck.rest()
		if len(all) != 1 {
			t.Error("the stuck one has given away a turn that was not its own")
		}
		next.quit()
		stuck.quit()
		if len(all) != 0 || len(slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all), len(slots))
		}
	})
}
