package loop

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestPostFromManyGoroutines(t *testing.T) {
	l := start(t)
	const goroutines, each = 50, 400
	got := make([][]int, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				l.Post(func() { got[g] = append(got[g], i) })
			}
		})
	}
	wg.Wait()
	do(t, l, func() {})
	for g := range got {
		if len(got[g]) != each || !slices.IsSorted(got[g]) {
			t.Errorf("goroutine %d: %d calls, sorted %v", g, len(got[g]), slices.IsSorted(got[g]))
		}
	}
}

func TestPostIsKeptUntilTheEnd(t *testing.T) {
	for range 200 {
		l, err := New(engine)
		if err != nil {
			t.Fatal(err)
		}
		promised, ran := 0, 0
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			l.Run()
		}()
		l.Post(l.Stop)
		for l.Post(func() { ran++ }) {
			promised++
		}
		<-stopped
		if promised != ran {
			t.Fatalf("%d were promised, %d ran", promised, ran)
		}
	}
}

func TestStopClosesWhatIsLeft(t *testing.T) {
	l, stop := startAndStop(t)
	told := false
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{closed: func(error) { told = true }} })
	stop()
	if _, err := p.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}
	if told || p.conn.Open() {
		t.Errorf("told %v, open %v", told, p.conn.Open())
	}
}

func TestTimersRunInOrder(t *testing.T) {
	l := start(t)
	done := make(chan struct{})
	var order []int
	do(t, l, func() {
		note := func(i int) func() { return func() { order = append(order, i) } }
		l.After(3*time.Millisecond, note(3))
		l.After(time.Millisecond, note(1))
		var stopped *Timer
		l.After(2*time.Millisecond, func() { order = append(order, 2); stopped.Stop(); stopped.Stop() })
		stopped = l.After(4*time.Millisecond, note(4))
		l.After(5*time.Millisecond, func() {
			l.After(0, func() { close(done) })
			l.After(-time.Hour, note(5))
		})
		l.After(1000*time.Hour, note(6)) // more milliseconds than the kernel takes
	})
	wait(t, done)
	do(t, l, func() {
		if !slices.Equal(order, []int{1, 2, 3, 5}) {
			t.Errorf("the order was %v", order)
		}
	})
	var none *Timer
	none.Stop()
}

func TestTimersOfOneMoment(t *testing.T) {
	l, err := New(engine)
	if err != nil {
		t.Fatal(err)
	}
	now, ran := time.Now(), 0
	var list []*Timer
	for range 100 {
		x := l.After(0, nil)
		x.at = now
		x.f = func() {
			ran++
			list[len(list)-1].Stop() // the last one never runs
		}
		list = append(list, x)
	}
	l.timers.run(now.Add(-time.Nanosecond))
	if ran != 0 {
		t.Error("too early")
	}
	l.timers.run(now)
	if ran != 99 && ran != 100 || len(l.timers) != 0 {
		t.Errorf("%d ran, %d are left", ran, len(l.timers))
	}
	l.Stop()
	l.Run()
}

func TestNextWaitIsBounded(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name string
		h    timers
		want time.Duration
	}{
		{"none", nil, -1},
		{"due", timers{{at: now.Add(-time.Second)}}, 0},
		{"soon", timers{{at: now.Add(time.Second)}}, time.Second},
		{"in a year", timers{{at: now.Add(365 * 24 * time.Hour)}}, maxWait},
	} {
		if got := test.h.next(now); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestFreeList(t *testing.T) {
	var f freeList
	for _, n := range []int{0, 1, 255, 256, 257, 65536, 65537, 131072, 131073, 1 << 20} {
		b := f.get(n)
		if len(b) != 0 || cap(b) < n {
			t.Errorf("get(%d): len %d, cap %d", n, len(b), cap(b))
		}
		f.put(b)
		if again := f.get(n); cap(again) < n {
			t.Errorf("get(%d) after put: cap %d", n, cap(again))
		}
	}
	f.put(nil)
	f.put(make([]byte, 10))
	f.put(make([]byte, 300)) // between two classes: serves the smaller one
	if b := f.get(257); cap(b) < 257 {
		t.Error("too small")
	}
	for range 10_000 {
		f.put(make([]byte, 0, 128<<10))
	}
	if n := len(f.classes[class(128<<10)]); n > 8 {
		t.Errorf("%d large buffers are kept", n)
	}
	b := append(f.get(100), "abc"...)
	if b = f.grow(b, 100_000); string(b) != "abc" || cap(b) < 100_003 {
		t.Errorf("grown to %q, cap %d", b, cap(b))
	}
}
