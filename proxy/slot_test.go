package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// One login computes at a time, the others wait; whoever waits for its client lets them.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPlaces(3, 1)
		a, b := newSlot(t.Context(), all), newSlot(t.Context(), all)
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
		if len(all.turns) != 1 {
			t.Errorf("%d turns are taken, want 1", len(all.turns))
		}
		a.quit()
		if len(all.turns) != 0 || len(all.slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all.turns), len(all.slots))
		}
		a.waiting()() // of a stream, whose login is over
		if len(all.turns) != 0 {
			t.Error("a stream has taken a turn")
		}
	})
}

// A login that waits for something unforeseen loses its turn, and gives it back only once.
func TestTurnEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPlaces(2, 1)
		stuck, next := newSlot(t.Context(), all), newSlot(t.Context(), all)
		stuck.work()
		start := time.Now()
		next.work()
		if took := time.Since(start); took != maxStall {
			t.Errorf("the next one got its turn after %v, want %v", took, maxStall)
		}
		stuck.pause()
		if len(all.turns) != 1 {
			t.Error("the stuck one has given away a turn that was not its own")
		}
		next.quit()
		stuck.quit()
		if len(all.turns) != 0 || len(all.slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all.turns), len(all.slots))
		}
	})
}

// Its slot goes, too: otherwise as many of them as there are slots would keep everybody out.
func TestSlotEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPlaces(1, 1)
		stuck := newSlot(t.Context(), all)
		stuck.work()
		start := time.Now()
		newSlot(t.Context(), all).quit()
		if took := time.Since(start); took != 2*maxStall {
			t.Errorf("the next one got its slot after %v, want %v", took, 2*maxStall)
		}
		stuck.quit()
		if len(all.turns) != 0 || len(all.slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all.turns), len(all.slots))
		}
	})
}

// A stranger who says a byte from time to time keeps nobody out, either, and goes on without a slot until there is one again.
func TestSlotOfManyShortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPlaces(1, 1)
		slow := newSlot(t.Context(), all)
		slow.work()
		says := func() {
			over := slow.waiting()
			time.Sleep(maxStall * 4 / 5)
			over()
		}
		start, next := time.Now(), make(chan *slot)
		go func() { next <- newSlot(t.Context(), all) }()
		says()
		says()
		synctest.Wait()
		select {
		case s := <-next:
			says()
			if slow.held || len(all.slots) != 1 {
				t.Error("the slow one has a slot that another has")
			}
			s.quit()
		default:
			t.Fatalf("the next one has no slot after %v", time.Since(start))
		}
		says()
		if !slow.held {
			t.Error("the slow one has not taken the free slot")
		}
		slow.quit()
		if len(all.turns) != 0 || len(all.slots) != 0 {
			t.Errorf("%d turns and %d slots are left", len(all.turns), len(all.slots))
		}
	})
}

// Who ends a stream may write to it before its login is quite over, and wait for a turn when it is: it takes none.
func TestTurnOfTheEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPlaces(2, 1)
		a, b := newSlot(t.Context(), all), newSlot(t.Context(), all)
		b.work()
		go a.work()
		go a.work()
		synctest.Wait()
		a.quit()
		b.quit()
		synctest.Wait()
		if len(all.turns) != 0 {
			t.Error("a login that is over has a turn")
		}
	})
}
