package loop

import (
	"io"
	"testing"
)

// exchange is one request and one reply through two connections of a loop.
func exchange(tb testing.TB, k kind, request, reply int) (once func()) {
	l := start(tb)
	var p pair
	never := make(chan struct{}, 1)
	client := connect(tb, l, k, func(c *Conn) Handler { p.a = c; return p.half(&p.a, &p.b, never) })
	server := connect(tb, l, kind{network: "tcp"}, func(c *Conn) Handler { p.b = c; return p.half(&p.b, &p.a, never) })
	ask, answer := make([]byte, request), make([]byte, reply)
	return func() {
		client.Write(ask)
		io.ReadFull(server, ask)
		if len(answer) > 4096 {
			go server.Write(answer)
		} else {
			server.Write(answer)
		}
		if _, err := io.ReadFull(client, answer); err != nil {
			tb.Fatal(err)
		}
	}
}

// The steady state makes no garbage. (crypto/tls itself makes some for each read.)
func TestExchangeDoesNotAllocate(t *testing.T) {
	for _, k := range kinds[:2] {
		once := exchange(t, k, 60, 500)
		once()
		if n := testing.AllocsPerRun(500, once); n > 0 {
			t.Errorf("%s: %v allocations", k.name, n)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, k := range kinds[:3] {
		b.Run(k.name, func(b *testing.B) {
			once := exchange(b, k, 60, 500)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
		b.Run(k.name+", 1 MB reply", func(b *testing.B) {
			once := exchange(b, k, 60, 1<<20)
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

func BenchmarkPost(b *testing.B) {
	l := start(b)
	done := make(chan struct{})
	f := func() { done <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		l.Post(f)
		<-done
	}
}
