//go:build linux

package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/loop"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/wire"
)

// engine is the hot path of the proxy with nothing around it: two connections of a loop, a relay and a pool.
type engine struct {
	client, server *loop.Conn
	relay          relay.Relay
	pool           *pool.Pool
	ticket         pool.Ticket
	member         pool.Server
	leased         bool

	statements *prepared.Server
	book       *prepared.Client
	out        []byte
}

type clientSide struct{ *engine }

func (e clientSide) Data(b []byte) int {
	if !e.leased {
		if _, verdict := e.pool.Acquire(&e.ticket, e.client.Loop().Now()); verdict != pool.Granted {
			panic("no server")
		}
		e.relay.Begin(false, false)
		e.statements.Begin(1, e.book)
		e.leased = true
	}
	n, _, err := e.relay.FromClient(b)
	if err != nil {
		panic(err)
	}
	if !e.relay.Named() {
		e.server.Write(b[:n])
		return n
	}
	e.out = append(e.out[:0], b[:n]...)
	for e.relay.Named() && err == nil {
		var k int
		e.out, k, err = e.relay.Rewrite(e.out, b[n:])
		n += k
		k, _, _ = e.relay.FromClient(b[n:])
		e.out = append(e.out, b[n:n+k]...)
		n += k
	}
	e.server.Write(e.out)
	return n
}

type serverSide struct{ *engine }

func (e serverSide) Data(b []byte) int {
	used := 0
	for used < len(b) {
		r, err := e.relay.FromServer(b[used:])
		if err != nil {
			panic(err)
		}
		e.client.Write(b[used : used+r.Forward])
		if used += r.Forward + r.Drop; r.Done {
			break
		}
	}
	if e.relay.Over() {
		e.leased = false
		e.pool.Release(&e.member, pool.Keep, e.client.Loop().Now())
		e.server.Resume()
	}
	return used
}

func (*engine) Drained()     {}
func (*engine) Hangup()      {}
func (*engine) Closed(error) {}

// transact gives one transaction through the engine, with the client and the server at its ends.
func transact(tb testing.TB) func() {
	client, server := startEngine(tb)
	reply := wire.AppendReadyForQuery([]byte("T\x00\x00\x00\x06\x00\x00D\x00\x00\x00\x06\x00\x00C\x00\x00\x00\x0dSELECT 1\x00"), 'I')
	return exchange(tb, client, server, wire.AppendQuery(nil, "select 1"), len(wire.AppendQuery(nil, "select 1")), reply, len(reply))
}

// transactPrepared is transact with a statement that has been prepared: Bind, Execute, Sync.
func transactPrepared(tb testing.TB) func() {
	client, server := startEngine(tb)
	const name = "claimpool_x"
	bind := func(name string) []byte {
		return wire.AppendSync(wire.AppendExecute(wire.AppendBind(nil, "", name, [][]byte{[]byte("1")}), "", 0))
	}
	parse := wire.AppendSync(wire.AppendParse(nil, "s", "select $1"))
	done := wire.AppendReadyForQuery([]byte("1\x00\x00\x00\x04"), 'I')
	exchange(tb, client, server, parse, len(parse)+len(name)-len("s"), done, len(done))()
	reply := wire.AppendReadyForQuery([]byte("2\x00\x00\x00\x04D\x00\x00\x00\x06\x00\x00C\x00\x00\x00\x0dSELECT 1\x00"), 'I')
	return exchange(tb, client, server, bind("s"), len(bind(name)), reply, len(reply))
}

// exchange sends a request of the client and an answer of the server, and reads as many bytes at the other ends.
func exchange(tb testing.TB, client, server net.Conn, request []byte, forwarded int, reply []byte, heard int) func() {
	in, out := make([]byte, forwarded), make([]byte, heard)
	return func() {
		client.Write(request)
		io.ReadFull(server, in)
		server.Write(reply)
		if _, err := io.ReadFull(client, out); err != nil {
			tb.Fatal(err)
		}
	}
}

// startEngine gives the ends of the client and of the server.
func startEngine(tb testing.TB) (client, server net.Conn) {
	l, err := loop.New(loop.Auto)
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); l.Run() }()
	tb.Cleanup(func() { l.Post(l.Stop); <-ended })

	e := &engine{pool: pool.New(pool.Config{Isolation: pool.Shared, Size: 1, QueueLength: 1, Lifetime: time.Hour})}
	e.ticket.Entry = e.pool.Enter(claimpool.Key{1}, claimpool.Key{1})
	e.pool.Open()
	e.pool.Opened(&e.member, 0, time.Now())
	library := &prepared.Library{Random: func() string { return "x" }}
	e.statements = prepared.NewServer(library, 10)
	e.book = prepared.NewClient(library, prepared.Limits{Client: 1, Bytes: 1000}, "")
	e.relay.Keep(e.statements)
	client, c := socketPair(tb)
	server, s := socketPair(tb)
	ready := make(chan error, 1)
	l.Post(func() {
		var err, err2 error
		e.client, err = l.Add(c, nil, nil, clientSide{e}, nil)
		e.server, err2 = l.Add(s, nil, nil, serverSide{e}, nil)
		if err == nil {
			err = err2
		}
		ready <- err
	})
	if err := <-ready; err != nil {
		tb.Fatal(err)
	}

	return client, server
}

func socketPair(tb testing.TB) (net.Conn, int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { near.Close() })
	far, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	fd, err := loop.Detach(far)
	if err != nil {
		tb.Fatal(err)
	}
	return near, fd
}

// The steady state of the proxy makes no garbage.
func TestATransactionDoesNotAllocate(t *testing.T) {
	for name, transact := range map[string]func(testing.TB) func(){"Query": transact, "prepared": transactPrepared} {
		f := transact(t)
		f()
		if n := testing.AllocsPerRun(1000, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkTransaction(b *testing.B) {
	for name, transact := range map[string]func(testing.TB) func(){"Query": transact, "prepared": transactPrepared} {
		b.Run(name, func(b *testing.B) {
			f := transact(b)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
