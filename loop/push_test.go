package loop

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// More connections are written to than may wait for the end of a round, outside of the events of a round: a part leaves at once, and the
// kernel uses the occasion to say what it has. It is heard.

func TestBytesBetweenTwoRounds(t *testing.T) {
	l := start(t)
	_, others := crowd(t, l, maxDue+1, "", func(int, *Conn) Handler { return &hooks{} })
	const before = 40_000 // more than a poller reads by itself
	total, heard := 0, make(chan string, 1)
	var ends []int
	ends, conns := crowd(t, l, 1, "", func(_ int, c *Conn) Handler {
		c.Pause()
		return &hooks{data: func(b []byte) int {
			if total += len(b); total < before {
				return len(b)
			}
			if total > before {
				heard <- string(b)
				return len(b)
			}
			unix.Write(ends[0], []byte("news"))
			for _, c := range others {
				c.Write([]byte("to all"))
			}
			return len(b)
		}}
	})
	unix.Write(ends[0], make([]byte, before))
	for range 5 {
		do(t, l, func() {})
	}
	do(t, l, func() { l.After(0, conns[0].Resume) })
	if got := wait(t, heard); got != "news" {
		t.Errorf("heard %q", got)
	}
}

func TestDrainedBetweenTwoRounds(t *testing.T) {
	l := start(t)
	_, others := crowd(t, l, maxDue+1, "", func(int, *Conn) Handler { return &hooks{} })
	drained := make(chan bool, 1)
	p := connect(t, l, kinds[0], func(*Conn) Handler {
		return &hooks{drained: func() { drained <- true }}
	})
	do(t, l, func() {
		l.After(0, func() {
			if block(p.conn); p.conn.Unsent() == 0 {
				t.Error("nothing waits")
			}
			p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			io.Copy(io.Discard, p) // what the kernel has taken
			for _, c := range others {
				c.Write([]byte("to all"))
			}
		})
	})
	p.SetReadDeadline(time.Now().Add(patience))
	go io.Copy(io.Discard, p) // what it has not read on a busy machine
	wait(t, drained)
	p.Close()
}
