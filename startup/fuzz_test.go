package startup_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// fakeConn is a client that has sent everything already and never listens.
type fakeConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *fakeConn) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *fakeConn) Write(b []byte) (int, error) { return c.out.Write(b) }
func (c *fakeConn) Close() error                { return nil }

// FuzzRead greets any bytes: whoever gets in has a user and a database, nothing behind the start-up has been read, and on
// a plain connection at most two bytes have been answered.
func FuzzRead(f *testing.F) {
	f.Add(hello30(ann), false)
	f.Add(append(wire.AppendSSLRequest(nil), hello30(ann)...), false)
	f.Add(append(append(gssRequest(), wire.AppendSSLRequest(nil)...), hello30(ann)...), true)
	f.Add(wire.AppendCancelRequest(nil, 1, []byte("abcd")), false)
	f.Add(wire.AppendStartup(nil, 3<<16|77, [][2]string{ann, {"_pq_.x", "1"}}), false)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), true)
	s := newSecrets(f)
	f.Fuzz(func(t *testing.T, in []byte, encrypted bool) {
		opts := &startup.Options{}
		if encrypted {
			opts.TLS = s.server
		}
		c := &fakeConn{in: bytes.NewReader(in)}
		h, err := startup.Read(c, opts)
		if h == nil || h.Conn == nil {
			t.Fatal("nowhere to answer")
		}
		if err != nil {
			var e *claimpool.Error
			if errors.As(err, &e) && (len(e.Code) != 5 || e.Message == "") {
				t.Fatalf("incomplete refusal %+v", e)
			}
			return
		}
		if h.TLS != nil {
			t.Fatal("a handshake without a client")
		}
		if c.out.Len() > 2 {
			t.Fatalf("answered %q", c.out.Bytes())
		}
		if h.Cancel != nil {
			if n := len(h.Cancel.Secret); n < 4 || n > 256 || h.Startup.Params != nil {
				t.Fatalf("cancel request %+v", h)
			}
			return
		}
		user, database := h.Startup.Get("user"), h.Startup.Get("database")
		if user == "" || database == "" || !utf8.ValidString(user+database) || h.Startup.Version>>16 != 3 {
			t.Fatalf("got %+v", h)
		}
		rest, _ := io.ReadAll(c.in)
		if !bytes.HasSuffix(in[:len(in)-len(rest)], []byte{0}) {
			t.Fatalf("%q is left of %q", rest, in)
		}
	})
}
