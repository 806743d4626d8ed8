package loop

import (
	"bytes"
	"io"
	"net"
	"testing"
)

func TestPausedConnectionIsNotRead(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		got := make(chan string, 100)
		hung := make(chan struct{}, 1)
		end := make(chan error, 1)
		p := connect(t, l, k, func(c *Conn) Handler {
			c.Pause()
			return &hooks{
				data:   func(b []byte) int { got <- string(b); return len(b) },
				hangup: func() { hung <- struct{}{} },
				closed: func(err error) { end <- err },
			}
		})
		io.WriteString(p, "first")
		for range 10 {
			do(t, l, func() {})
		}
		if len(got) > 0 {
			t.Fatal("a paused connection was read")
		}
		p.Close()
		if tellsPaused {
			wait(t, hung)
		}
		if len(got) > 0 || len(end) > 0 {
			t.Fatal("a paused connection was read")
		}
		do(t, l, func() { p.conn.Resume() })
		if s := wait(t, got); s != "first" {
			t.Errorf("got %q", s)
		}
		if err := wait(t, end); err != io.EOF {
			t.Errorf("closed with %v", err)
		}
	})
}

// The peer sends and closes at once, and the handler pauses on what was sent: the one event that tells of both is over.
func TestHangupThatCameBeforeThePause(t *testing.T) {
	l := start(t)
	hung := make(chan struct{}, 10)
	p := connect(t, l, kinds[0], func(c *Conn) Handler {
		return &hooks{
			data:   func([]byte) int { c.Pause(); return 0 },
			hangup: func() { hung <- struct{}{} },
		}
	})
	do(t, l, func() { // while the loop looks elsewhere
		io.WriteString(p, "request")
		p.Close()
	})
	if tellsPaused {
		wait(t, hung)
	}
}

// The peer sends, pauses, sends more and closes: who asks in Hangup sees all of it, and is shown all of it after Resume, piece by piece if he
// wants it so.
func TestReadAhead(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		for _, test := range []struct {
			name  string
			first int // bytes that are kept already
			more  int // bytes that are in the kernel
			all   bool
		}{
			{"nothing more", 5, 0, true},
			{"nothing before", 0, 5, true},
			{"more", 5, 5, true},
			{"more than a buffer", 5, readSize, false},
		} {
			type ahead struct {
				kept int
				all  bool
			}
			t.Run(test.name, func(t *testing.T) {
				l := start(t)
				first, kept := make(chan int, 10), make(chan ahead, 10)
				end := make(chan error, 1)
				var resumed bool
				var got []byte
				p := connect(t, l, k, func(c *Conn) Handler {
					if test.first == 0 {
						c.Pause()
					}
					return &hooks{
						data: func(b []byte) int {
							if !resumed {
								first <- len(b)
								c.Pause()
								return 0
							}
							n := (len(b) + 1) / 2
							got = append(got, b[:n]...)
							c.Resume()
							return n
						},
						hangup: func() { // may be said more than once
							whole := c.ReadAhead()
							kept <- ahead{len(c.Kept()), whole}
						},
						closed: func(err error) { end <- err },
					}
				})
				sent := bytes.Repeat([]byte("0123456789"), (test.first+test.more+9)/10)[:test.first+test.more]
				if test.first > 0 {
					p.Write(sent[:test.first])
					wait(t, first)
				}
				p.Write(sent[test.first:])
				p.Close()
				want := min(test.first+test.more, readSize)
				if got := wait(t, kept); got != (ahead{want, test.all}) {
					t.Errorf("%d bytes are kept, want %d; all: %v", got.kept, want, got.all)
				}
				do(t, l, func() { resumed = true; p.conn.Resume() })
				if err := wait(t, end); err != io.EOF {
					t.Errorf("closed with %v", err)
				}
				if !bytes.Equal(got, sent) {
					t.Errorf("%d bytes were shown, of %d", len(got), len(sent))
				}
			})
		}
	})
}

func TestWhatIsLeftIsShownAgain(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		var seen []string
		done := make(chan struct{})
		p := connect(t, l, k, func(c *Conn) Handler {
			return &hooks{data: func(b []byte) int {
				seen = append(seen, string(b))
				if len(b) == 1 {
					close(done)
					return 1
				}
				c.Resume() // the rest, please, though nothing more comes
				return 1
			}}
		})
		io.WriteString(p, "abc")
		wait(t, done)
		if len(seen) != 3 || seen[1] != "bc" {
			t.Errorf("seen %q", seen)
		}
	})
}

func TestWhatIsLeftComesInFrontOfTheNext(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		got := make(chan string, 10)
		p := connect(t, l, k, func(c *Conn) Handler {
			return &hooks{data: func(b []byte) int {
				got <- string(b)
				if len(b) < 6 {
					return 1
				}
				return len(b)
			}}
		})
		io.WriteString(p, "abc")
		if s := wait(t, got); s != "abc" {
			t.Fatalf("got %q", s)
		}
		io.WriteString(p, "defg")
		if s := wait(t, got); s != "bcdefg" {
			t.Fatalf("got %q", s)
		}
	})
}

func TestHandlerThatUsesNothingIsCutOff(t *testing.T) {
	l := start(t)
	end := make(chan error, 1)
	p := connect(t, l, kinds[0], func(*Conn) Handler {
		return &hooks{
			data:   func([]byte) int { return 0 },
			closed: func(err error) { end <- err },
		}
	})
	go p.Write(make([]byte, 1<<20))
	if err := wait(t, end); err != errTooMuch {
		t.Errorf("closed with %v", err)
	}
}

func TestAFullBufferMayWaitForItsTurn(t *testing.T) {
	l := start(t)
	paused := make(chan struct{}, 1)
	total := 0
	done := make(chan struct{})
	go1 := false
	p := connect(t, l, kinds[0], func(c *Conn) Handler {
		return &hooks{data: func(b []byte) int {
			if !go1 {
				if len(b) == readSize {
					c.Pause()
					paused <- struct{}{}
				}
				return 0
			}
			if total += len(b); total == 1<<20 {
				close(done)
			}
			return len(b)
		}}
	})
	go p.Write(make([]byte, 1<<20))
	wait(t, paused)
	do(t, l, func() { go1 = true; p.conn.Resume() })
	wait(t, done)
}

// block fills the connection until the kernel takes no more, and gives how much was written.
func block(c *Conn) (n int) {
	b := make([]byte, 64<<10)
	for !c.Blocked() {
		c.Write(b)
		n += len(b)
	}
	return n
}

func TestDrained(t *testing.T) {
	for _, test := range []struct {
		name string
		// room is called when the kernel has room again and the loop does not know it yet.
		room func(c *Conn) int
	}{
		{"by the event", func(*Conn) int { return 0 }},
		{"by a write that found room", func(c *Conn) int { c.Write([]byte("x")); return 1 }},
		{"by a gathering write", func(c *Conn) int { c.WriteSoon([]byte("x")); return 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				l := start(t)
				drained := make(chan struct{}, 10)
				p := connect(t, l, k, func(*Conn) Handler {
					return &hooks{drained: func() { drained <- struct{}{} }}
				})
				count := make(chan int, 1)
				room := make(chan struct{})
				go l.Post(func() {
					n := block(p.conn)
					count <- n - (len(p.conn.out) - p.conn.sent)
					<-room
					test.room(p.conn)
				})
				sent := wait(t, count)
				if k.tls != 0 {
					p.Conn = p.raw // the number is of records; what they hold does not matter here
				}
				if sent > 0 {
					readFull(t, p, sent/2)
				}
				close(room)
				go io.Copy(io.Discard, p.raw)
				wait(t, drained)
				do(t, l, func() {
					if p.conn.Blocked() || len(p.conn.out) > 0 {
						t.Error("still blocked")
					}
				})
				if len(drained) > 0 {
					t.Error("told twice")
				}
				p.raw.Close()
			})
		})
	}
}

func TestWriteSoonGathers(t *testing.T) {
	l := start(t)
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{} })
	piece := bytes.Repeat([]byte("r"), 1000)
	do(t, l, func() {
		for range 30 {
			p.conn.WriteSoon(piece)
		}
		if p.conn.Blocked() || len(p.conn.out) != 30_000 {
			t.Errorf("%d bytes are gathered, blocked %v", len(p.conn.out), p.conn.Blocked())
		}
		for range 10 {
			p.conn.WriteSoon(piece)
		}
		if len(p.conn.out) >= gatherSize {
			t.Errorf("%d bytes are gathered", len(p.conn.out))
		}
	})
	readFull(t, p, 40_000) // a loop without other work sends at once
}

func TestWriteGoesBehindWhatWasGathered(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := start(t)
		p := connect(t, l, k, func(*Conn) Handler { return &hooks{} })
		do(t, l, func() {
			p.conn.WriteSoon([]byte("COPY data, "))
			p.conn.Write([]byte("the end of it, "))
			p.conn.WriteSoon([]byte("more"))
			p.conn.Finish()
		})
		if b, err := io.ReadAll(p); string(b) != "COPY data, the end of it, more" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	})
}

func TestGatheredBytesAreSentByABusyLoop(t *testing.T) {
	l := start(t)
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{} })
	busy := connect(t, l, kinds[0], func(c *Conn) Handler { c.Resume(); return &hooks{} })
	stop := make(chan struct{})
	var again func()
	again = func() { // the loop always has something to do
		select {
		case <-stop:
		default:
			busy.conn.Resume()
			l.Post(again)
		}
	}
	l.Post(again)
	do(t, l, func() { p.conn.WriteSoon([]byte("data")) })
	readFull(t, p, 4)
	close(stop)
}

func TestClosedConnectionsLeaveTheGatheringList(t *testing.T) {
	l := start(t)
	p := connect(t, l, kinds[0], func(*Conn) Handler { return &hooks{} })
	do(t, l, func() {
		p.conn.WriteSoon([]byte("lost"))
		p.conn.Close()
	})
	waitUntil(t, l, func() bool { return len(l.gather) == 0 })
}

func TestFailedGatheredWriteIsNoticed(t *testing.T) {
	l := start(t)
	end := make(chan error, 1)
	p := connect(t, l, kinds[1], func(c *Conn) Handler {
		c.Pause()
		return &hooks{closed: func(err error) { end <- err }}
	})
	p.raw.(*net.UnixConn).Close()
	do(t, l, func() { p.conn.WriteSoon([]byte("nobody reads this")) })
	wait(t, end)
}
