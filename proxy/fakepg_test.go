package proxy_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// fakePG is a server that answers at once, until it is told to misbehave. PostgreSQL itself cannot be made to.
type fakePG struct {
	net.Listener
	opened  atomic.Int32 // logins
	cancels atomic.Int32 // cancel requests

	mu    sync.Mutex
	login func(net.Conn) bool               // nil, or false: log in as usual
	query func(c net.Conn, sql string) bool // the same for a Query message
	conns map[net.Conn]bool
	says  [][2]string // parameters that it reports at login

	onCancel func(net.Conn)
}

func startFake(t testing.TB) *fakePG {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakePG{Listener: l, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			wg.Go(func() {
				f.serve(c)
				f.mu.Lock()
				delete(f.conns, c)
				f.mu.Unlock()
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.drop()
		wg.Wait()
	})
	return f
}

// misbehave changes what happens from now on.
func (f *fakePG) misbehave(login func(net.Conn) bool, query func(c net.Conn, sql string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.login, f.query = login, query
}

// drop closes all connections.
func (f *fakePG) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

// say sends something on all connections without having been asked.
func (f *fakePG) say(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Write(b)
	}
}

func (f *fakePG) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *fakePG) serve(c net.Conn) {
	var n [4]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return
	}
	body := make([]byte, binary.BigEndian.Uint32(n[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	if binary.BigEndian.Uint32(body) == wire.CancelRequestCode {
		f.cancels.Add(1)
		f.mu.Lock()
		onCancel := f.onCancel
		f.mu.Unlock()
		if onCancel != nil {
			onCancel(c)
		}
		return
	}
	f.mu.Lock()
	login, says := f.login, f.says
	f.mu.Unlock()
	if login != nil && login(c) {
		return
	}
	pid := uint32(f.opened.Add(1))
	b := wire.AppendParameterStatus(wire.AppendAuthOK(nil), "server_version", "17.0")
	for _, kv := range says {
		b = wire.AppendParameterStatus(b, kv[0], kv[1])
	}
	c.Write(wire.AppendReadyForQuery(wire.AppendBackendKeyData(b, pid, []byte("abcd")), 'I'))
	for {
		typ, body, err := wire.ReadMessage(c, 1<<20)
		if err != nil || !f.reply(c, typ, body) {
			return
		}
	}
}

// reply answers a message as PostgreSQL would; false ends the connection.
func (f *fakePG) reply(c net.Conn, typ byte, body []byte) bool {
	switch typ {
	case wire.MsgTerminate:
		return false
	case wire.MsgFunctionCall:
		c.Write(wire.AppendReadyForQuery([]byte{'V', 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff}, 'I'))
	case wire.MsgSync:
		c.Write(wire.AppendReadyForQuery(nil, 'I'))
	case wire.MsgQuery:
		sql := strings.TrimSuffix(string(body), "\x00")
		f.mu.Lock()
		query := f.query
		f.mu.Unlock()
		if query != nil && query(c, sql) {
			return true
		}
		c.Write(wire.AppendReadyForQuery(complete(sql), 'I'))
	}
	return true
}

func complete(tag string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{'C'}, uint32(4+len(tag)+1)), tag+"\x00"...)
}

// report is an ErrorResponse.
func report(severity string, code claimpool.Code) []byte {
	return wire.AppendError(nil, severity, &claimpool.Error{Code: code, Message: "so it is"})
}

// hang is a login that gets no answer.
func hang(c net.Conn) bool { io.Copy(io.Discard, c); return true }

// fakeWay is the way to a fake server.
func fakeWay(fake *fakePG) *server.Config {
	return &server.Config{
		Hosts: []string{fake.Addr().String()}, Database: "postgres", ConnectTimeout: patience,
		TLS:      server.TLS{Mode: server.ModeDisable},
		Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret("secret"), nil },
	}
}

// startBefore runs a proxy in front of a fake server.
func startBefore(t testing.TB, fake *fakePG, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	f := &plain{role: "app"}
	f.options = pgtest.ProxyOptions{Role: "app", Pool: pgtest.DefaultPool(), Server: fakeWay(fake)}
	f.options.Pool.Size = 1
	if change != nil {
		change(&f.options)
	}
	f.Proxy = pgtest.StartProxy(t, f.options)
	t.Cleanup(func() { checkLog(t, f.Proxy) })
	return f
}
