package pool

import (
	"testing"
	"time"
)

// TestReopened: a connection that takes another one's place begins its own life, and both are counted.
func TestReopened(t *testing.T) {
	now := time.Unix(1700000000, 0)
	p := New(Config{Mode: Session, Size: 1, QueueLength: 1, QueueWait: time.Minute, Lifetime: time.Hour})
	e := p.Enter([32]byte{1}, [32]byte{1})
	ticket := &Ticket{Entry: e}
	if _, verdict := p.Acquire(ticket, now); verdict != Queued || p.Head() != ticket {
		t.Fatalf("verdict %v, at the head %v", verdict, p.Head())
	}
	if n, _ := p.Wanted(now); n != 1 {
		t.Fatalf("%d are wanted", n)
	}
	s := &Server{}
	if got := p.Opened(s, 0, now); got != ticket || p.Head() != nil {
		t.Fatalf("the server went to %v, and %v waits", got, p.Head())
	}
	now = now.Add(59 * time.Minute)
	p.Reopened(s, OtherSettings, 0, now)
	now = now.Add(59 * time.Minute)
	if _, why := p.Release(s, Keep, now); why != Keep {
		t.Errorf("the new connection was closed for %v", why)
	}
	if st := p.Stats(); st.Opened != 2 || st.Closed[OtherSettings] != 1 || st.Idle != 1 {
		t.Errorf("%+v", st)
	}
	if _, why := p.Sweep(now.Add(time.Minute)); why != Lifetime {
		t.Errorf("at the end of its life it was closed for %v", why)
	}
}
