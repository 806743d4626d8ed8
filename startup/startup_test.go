package startup_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/claimpool/claimpool/cluster.(*Cluster).start.func1"))
}

// patience is longer than anything here takes; it only ends a test that hangs.
const patience = 20 * time.Second

// secrets are the two ends of TLS in a test.
type secrets struct{ server, client *tls.Config }

func newSecrets(t testing.TB) secrets {
	ca := pgtest.NewCA(t)
	return secrets{
		server: &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "localhost").TLS}, NextProtos: []string{startup.ALPN}},
		client: &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"},
	}
}

// direct is the client's configuration for direct TLS with the given protocols.
func (s secrets) direct(protocols ...string) *tls.Config {
	c := s.client.Clone()
	c.NextProtos = protocols
	return c
}

// greeting is one Read on the server's end of a real connection.
type greeting struct {
	client net.Conn
	server net.Conn
	hello  *startup.Hello
	err    error
	done   chan struct{}
}

// greet connects over loopback and starts to read on the other side.
func greet(t testing.TB, opts *startup.Options, limit time.Duration) *greeting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := &greeting{done: make(chan struct{})}
	if g.client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if g.server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = g.client.SetDeadline(time.Now().Add(patience))
	_ = g.server.SetDeadline(time.Now().Add(limit))
	go func() {
		defer close(g.done)
		g.hello, g.err = startup.Read(g.server, opts)
		if g.err != nil {
			g.refuse()
		}
	}()
	t.Cleanup(func() {
		g.client.Close()
		<-g.done
		g.server.Close()
	})
	return g
}

// refuse does what Read asks of its caller.
func (g *greeting) refuse() {
	var e *claimpool.Error
	if errors.As(g.err, &e) {
		_, _ = g.hello.Conn.Write(wire.AppendError(g.hello.AppendNegotiation(nil), "FATAL", e))
	}
	g.server.Close()
}

func (g *greeting) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := g.client.Write(b); err != nil {
		t.Fatal(err)
	}
}

// expect reads the answer to a request for encryption.
func (g *greeting) expect(t testing.TB, want byte) {
	t.Helper()
	var b [1]byte
	if _, err := io.ReadFull(g.client, b[:]); err != nil || b[0] != want {
		t.Fatalf("answer %q, %v; want %q", b, err, want)
	}
}

// secure does the client's TLS handshake.
func (g *greeting) secure(t testing.TB, c *tls.Config) {
	t.Helper()
	conn := tls.Client(g.client, c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	g.client = conn
}

// result waits for the end of Read.
func (g *greeting) result(t testing.TB) (*startup.Hello, error) {
	t.Helper()
	<-g.done
	if g.hello == nil || g.hello.Conn == nil {
		t.Fatal("no hello, or none to answer on")
	}
	return g.hello, g.err
}

// refused waits for a refusal with the given SQLSTATE and text; "" stands for one without an answer.
func (g *greeting) refused(t testing.TB, code claimpool.Code, message string) {
	t.Helper()
	_, err := g.result(t)
	var e *claimpool.Error
	switch {
	case err == nil:
		t.Error("accepted")
	case errors.As(err, &e) != (code != ""):
		t.Errorf("refused with %v, want code %q", err, code)
	case e != nil && (e.Code != code || !strings.Contains(e.Message, message)):
		t.Errorf("refused with %s %q, want %s %q", e.Code, e.Message, code, message)
	case e == nil && !strings.Contains(err.Error(), message):
		t.Errorf("refused with %q, want %q", err, message)
	}
}

func hello30(params ...[2]string) []byte { return wire.AppendStartup(nil, wire.Version30, params) }

var ann = [2]string{"user", "ann"}

func gssRequest() []byte { return []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30} }

// TestWaysIn walks every way that a good client takes.
func TestWaysIn(t *testing.T) {
	s := newSecrets(t)
	request := func(b []byte, answer byte) func(testing.TB, *greeting) {
		return func(t testing.TB, g *greeting) { g.send(t, b); g.expect(t, answer) }
	}
	secure := func(c *tls.Config) func(testing.TB, *greeting) {
		return func(t testing.TB, g *greeting) { g.secure(t, c) }
	}
	ssl, gss := wire.AppendSSLRequest(nil), gssRequest()
	tests := []struct {
		name   string
		server *tls.Config
		steps  []func(testing.TB, *greeting)
		tls    bool
	}{
		{"plain", nil, nil, false},
		{"plain, TLS not asked for", s.server, nil, false},
		{"TLS", s.server, []func(testing.TB, *greeting){request(ssl, 'S'), secure(s.client)}, true},
		{"TLS with ALPN", s.server, []func(testing.TB, *greeting){request(ssl, 'S'), secure(s.direct("postgresql"))}, true},
		{"TLS not to be had", nil, []func(testing.TB, *greeting){request(ssl, 'N')}, false},
		{"GSSAPI not to be had", s.server, []func(testing.TB, *greeting){request(gss, 'N')}, false},
		{"GSSAPI, then TLS", s.server, []func(testing.TB, *greeting){request(gss, 'N'), request(ssl, 'S'), secure(s.client)}, true},
		{"TLS, then GSSAPI", nil, []func(testing.TB, *greeting){request(ssl, 'N'), request(gss, 'N')}, false},
		{"direct TLS", s.server, []func(testing.TB, *greeting){secure(s.direct("postgresql"))}, true},
		{"direct TLS with two protocols", s.server, []func(testing.TB, *greeting){secure(s.direct("h2", "postgresql"))}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: tt.server}, patience)
			for _, step := range tt.steps {
				step(t, g)
			}
			g.send(t, append(hello30(ann, [2]string{"database", "d"}), "next"...))
			h, err := g.result(t)
			if err != nil {
				t.Fatal(err)
			}
			want := wire.Startup{Version: wire.Version30, Params: [][2]string{ann, {"database", "d"}}}
			if !cmp.Equal(h.Startup, want) || h.Cancel != nil || h.Negotiate {
				t.Errorf("got %+v", h)
			}
			if (h.TLS != nil) != tt.tls || tt.tls && h.Conn != net.Conn(h.TLS) || !tt.tls && h.Conn != g.server {
				t.Errorf("TLS %v", h.TLS != nil)
			}
			next := make([]byte, 4) // what follows is still there
			if _, err := io.ReadFull(h.Conn, next); err != nil || string(next) != "next" {
				t.Errorf("next bytes %q, %v", next, err)
			}
		})
	}
}

// TestOneByteAtATime sends everything in single bytes.
func TestOneByteAtATime(t *testing.T) {
	g := greet(t, &startup.Options{}, patience)
	for _, b := range append(wire.AppendSSLRequest(nil), hello30(ann)...) {
		g.send(t, []byte{b})
	}
	if h, err := g.result(t); err != nil || h.Startup.Get("user") != "ann" {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		name      string
		version   uint32
		option    string
		speak     uint32
		negotiate string
	}{
		{"3.0", wire.Version30, "", wire.Version30, ""},
		{"3.1", 3<<16 | 1, "", 3<<16 | 1, ""},
		{"3.2", wire.Version32, "", wire.Version32, ""},
		{"3.3", 3<<16 | 3, "", wire.Version32, "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00"},
		{"3.9999", 3<<16 | 9999, "", wire.Version32, "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00"},
		{"3.0 with an option", wire.Version30, "_pq_.x", wire.Version30, "v\x00\x00\x00\x13\x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00"},
		{"3.9999 with an option", 3<<16 | 9999, "_pq_.x", wire.Version32, "v\x00\x00\x00\x13\x00\x03\x00\x02\x00\x00\x00\x01_pq_.x\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params := [][2]string{ann}
			if tt.option != "" {
				params = append(params, [2]string{tt.option, "1"})
			}
			g := greet(t, &startup.Options{}, patience)
			g.send(t, wire.AppendStartup(nil, tt.version, params))
			h, err := g.result(t)
			if err != nil {
				t.Fatal(err)
			}
			if h.Startup.Version != tt.speak || string(h.AppendNegotiation(nil)) != tt.negotiate || h.Startup.Get(tt.option) != "" {
				t.Errorf("got %+v, %q", h, h.AppendNegotiation(nil))
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name           string
		params         [][2]string
		user, database string
		code           claimpool.Code
		message        string
	}{
		{"both", [][2]string{ann, {"database", "d"}}, "ann", "d", "", ""},
		{"no database", [][2]string{ann}, "ann", "ann", "", ""},
		{"empty database", [][2]string{{"database", ""}, ann}, "ann", "ann", "", ""},
		{"the longest", [][2]string{{"user", strings.Repeat("u", 255)}}, strings.Repeat("u", 255), strings.Repeat("u", 255), "", ""},
		{"no parameters", nil, "", "", "28000", "no PostgreSQL user name specified in startup packet"},
		{"no user", [][2]string{{"database", "d"}}, "", "", "28000", "no PostgreSQL user name specified in startup packet"},
		{"empty user", [][2]string{{"user", ""}}, "", "", "28000", "no PostgreSQL user name specified in startup packet"},
		{"user in another case", [][2]string{{"User", "ann"}}, "", "", "28000", "no PostgreSQL user name specified in startup packet"},
		{"user too long", [][2]string{{"user", strings.Repeat("u", 256)}}, "", "", "28000", "longer than 255 bytes"},
		{"user of 9 kB", [][2]string{{"user", strings.Repeat("u", 9000)}}, "", "", "28000", "longer than 255 bytes"},
		{"database too long", [][2]string{ann, {"database", strings.Repeat("d", 256)}}, "", "", "28000", "longer than 255 bytes"},
		{"user not UTF-8", [][2]string{{"user", "a\xff"}}, "", "", "08P01", "not UTF-8"},
		{"parameter not UTF-8", [][2]string{ann, {"application_name", "\xc3"}}, "", "", "08P01", "not UTF-8"},
		{"option not UTF-8", [][2]string{ann, {"_pq_.\xff", ""}}, "", "", "08P01", "not UTF-8"},
		{"user twice", [][2]string{ann, {"user", "postgres"}}, "", "", "08P01", "appears twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, hello30(tt.params...))
			if tt.code != "" {
				g.refused(t, tt.code, tt.message)
				return
			}
			h, err := g.result(t)
			if err != nil || h.Startup.Get("user") != tt.user || h.Startup.Get("database") != tt.database {
				t.Errorf("got %+v, %v", h.Startup, err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	s := newSecrets(t)
	for _, n := range []int{4, 32, 256} {
		for _, encrypted := range []bool{false, true} {
			key := bytes.Repeat([]byte{0xfe}, n)
			g := greet(t, &startup.Options{TLS: s.server}, patience)
			if encrypted {
				g.send(t, wire.AppendSSLRequest(nil))
				g.expect(t, 'S')
				g.secure(t, s.client)
			}
			g.send(t, wire.AppendCancelRequest(nil, 1<<32-1, key))
			h, err := g.result(t)
			if err != nil || h.Cancel == nil || h.Cancel.PID != 1<<32-1 || !bytes.Equal(h.Cancel.Secret, key) || h.Startup.Params != nil {
				t.Errorf("key of %d bytes, TLS %v: %+v, %v", n, encrypted, h.Cancel, err)
			}
		}
	}
}

// wrapped counts what goes through it.
type wrapped struct {
	net.Conn
	read int
}

func (w *wrapped) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.read += n
	return n, err
}

// TestWrap checks that all of TLS goes through the wrapper, also when its first bytes had been read before.
func TestWrap(t *testing.T) {
	s := newSecrets(t)
	for _, direct := range []bool{false, true} {
		var w *wrapped
		opts := &startup.Options{TLS: s.server, Wrap: func(c net.Conn) net.Conn {
			w = &wrapped{Conn: c}
			return w
		}}
		g := greet(t, opts, patience)
		if direct {
			g.secure(t, s.direct("postgresql"))
		} else {
			g.send(t, wire.AppendSSLRequest(nil))
			g.expect(t, 'S')
			g.secure(t, s.client)
		}
		g.send(t, hello30(ann))
		if h, err := g.result(t); err != nil || h.TLS == nil || w == nil || w.read == 0 || w.Conn != g.server {
			t.Errorf("direct %v: %+v, %v", direct, w, err)
		}
	}
}

// TestEnds checks what Read says when the client goes away.
func TestEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		sent []byte
		want error
	}{
		"at once":            {nil, io.EOF},
		"after a refused S":  {wire.AppendSSLRequest(nil), io.EOF},
		"in the length":      {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"after the length":   {[]byte{0, 0, 0, 9}, io.ErrUnexpectedEOF},
		"in the packet":      {hello30(ann)[:10], io.ErrUnexpectedEOF},
		"before the last":    {hello30(ann)[:len(hello30(ann))-1], io.ErrUnexpectedEOF},
		"in a long packet":   {append([]byte{0, 0, 0x20, 0}, make([]byte, 5000)...), io.ErrUnexpectedEOF},
		"in the SSLRequest":  {wire.AppendSSLRequest(nil)[:7], io.ErrUnexpectedEOF},
		"in a CancelRequest": {wire.AppendCancelRequest(nil, 1, []byte("abcd"))[:12], io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, tt.sent)
			if err := g.client.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := g.result(t); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestNothingConfigured checks that Read fails closed.
func TestNothingConfigured(t *testing.T) {
	g := greet(t, nil, patience)
	g.refused(t, "", "without a connection or options")
	if h, err := startup.Read(nil, &startup.Options{}); err == nil || h == nil {
		t.Error("no connection: accepted")
	}
}

// TestTooSlow checks the deadline of the caller in every state.
func TestTooSlow(t *testing.T) {
	s := newSecrets(t)
	for name, sent := range map[string][]byte{
		"nothing":          nil,
		"half a length":    {0, 0},
		"half a packet":    hello30(ann)[:12],
		"SSLRequest":       wire.AppendSSLRequest(nil),
		"half a handshake": {0x16, 0x03, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: s.server}, 50*time.Millisecond)
			g.send(t, sent)
			if _, err := g.result(t); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}
