package proxy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// frame is a message with a length of our choice.
func frame(typ byte, length uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, length), body...)
}

func untyped(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
}

// undisturbed runs test while a neighbour works, who must not notice, and then waits until goroutines are at rest again.
func (f *plain) undisturbed(t *testing.T, test func()) {
	t.Helper()
	neighbour := f.login(t)
	neighbour.expect("BEGIN", "C(BEGIN) Z(T)")
	pid := neighbour.one("SELECT pg_backend_pid()")
	soon(t, "one client", func() bool { return f.Clients() == 1 })
	before := runtime.NumGoroutine()
	test()
	if got := neighbour.one("SELECT pg_backend_pid()"); got != pid {
		t.Errorf("the server was lost: %s, then %s", pid, got)
	}
	soon(t, "clients at rest", func() bool { return f.Clients() == 1 })
	soon(t, "goroutines at rest", func() bool { return runtime.NumGoroutine() <= before })
	neighbour.leave()
}

func TestBadStartup(t *testing.T) {
	f := startPlain(t, nil)
	tests := map[string]struct {
		sent []byte
		want string
	}{
		"nothing":               {nil, "EOF"},
		"length 0":              {[]byte{0, 0, 0, 0}, "E(08P01 fatal) EOF"},
		"length 3":              {[]byte{0, 0, 0, 3}, "E(08P01 fatal) EOF"},
		"length 7":              {[]byte{0, 0, 0, 7}, "E(08P01 fatal) EOF"},
		"length 2^31-1":         {[]byte{0x7f, 0xff, 0xff, 0xff}, "EOF"},
		"length 2^32-1":         {[]byte{0xff, 0xff, 0xff, 0xff}, "EOF"},
		"HTTP":                  {[]byte("GET / HTTP/1.1\r\n\r\n"), "EOF"},
		"truncated":             {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}})[:9], "EOF"},
		"no terminator":         {untyped("\x00\x03\x00\x00user\x00x\x00"), "E(08P01 fatal) EOF"},
		"no user":               {untyped("\x00\x03\x00\x00database\x00postgres\x00\x00"), "E(28000 fatal) EOF"},
		"name of 9 kB":          {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", strings.Repeat("d", 9000)}}), "E(28000 fatal) EOF"},
		"too long":              {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", strings.Repeat("u", 10_001)}}), "E(08P01 fatal) EOF"},
		"version 2.0":           {wire.AppendStartup(nil, 2<<16, [][2]string{{"user", "x"}}), "E(0A000 fatal) EOF"},
		"version 4.0":           {wire.AppendStartup(nil, 4<<16, [][2]string{{"user", "x"}}), "E(0A000 fatal) EOF"},
		"unknown database":      {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", "nowhere"}}), "E(3D000 fatal) EOF"},
		"replication":           {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", "postgres"}, {"replication", "true"}}), "E(0A000 fatal) EOF"},
		"a role":                {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", "postgres"}, {"role", "postgres"}}), "E(0A000 fatal) EOF"},
		"a context":             {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", "postgres"}, {"options", "-c claimpool.context=x"}}), "E(0A000 fatal) EOF"},
		"session_authorization": {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "x"}, {"database", "postgres"}, {"options", "--session_authorization=x"}}), "E(0A000 fatal) EOF"},
		"100 parameters":        {wire.AppendStartup(nil, wire.Version30, manyParameters(65)), "E(54000 fatal) EOF"},
		"Query before startup":  {wire.AppendQuery(nil, "SELECT 1"), "EOF"},
	}
	f.undisturbed(t, func() {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				p := f.dial(t)
				p.send(tt.sent)
				if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
					half.CloseWrite()
				}
				if got := p.gone(); strings.TrimPrefix(got, "R ") != tt.want {
					t.Errorf("answered %s, want %s", got, tt.want)
				}
			})
		}
	})
}

func manyParameters(n int) [][2]string {
	list := [][2]string{{"user", "x"}, {"database", "postgres"}}
	for n := range n {
		list = append(list, [2]string{fmt.Sprintf("a%d.b", n), "c"})
	}
	return list
}

// TestBadPasswordMessages sends what is not a password to somebody who waits for one.
func TestBadPasswordMessages(t *testing.T) {
	issuer := pgtest.NewIssuer(t, "https://issuer.test")
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		jwt := pgtest.JWTRule(t, o.Role, issuer)
		jwt.Users = []string{"jwt"}
		o.Rules = []auth.Rule{jwt, {Name: "trust", TLS: auth.TLSAny, Method: claimpool.MethodTrust}}
	})
	tests := map[string]struct {
		sent []byte
		want string
	}{
		"Query":               {wire.AppendQuery(nil, "SELECT 1"), "E(08P01 fatal) EOF"},
		"Terminate":           {wire.AppendTerminate(nil), "E(08P01 fatal) EOF"},
		"empty password":      {wire.AppendPassword(nil, nil), "E(28P01 fatal) EOF"},
		"no token":            {wire.AppendPassword(nil, []byte("x")), "E(28P01 fatal) EOF"},
		"60 kB":               {wire.AppendPassword(nil, bytes.Repeat([]byte("x"), 60_000)), "E(28P01 fatal) EOF"},
		"a million dots":      {wire.AppendPassword(nil, bytes.Repeat([]byte("."), 1_000_000)), "E(08P01 fatal) EOF"},
		"no terminator":       {frame('p', 8, "abcd"), "E(08P01 fatal) EOF"},
		"length 0":            {frame('p', 0, ""), "E(08P01 fatal) EOF"},
		"length 3":            {frame('p', 3, ""), "E(08P01 fatal) EOF"},
		"length 2^31-1":       {frame('p', 0x7fffffff, ""), "E(08P01 fatal) EOF"},
		"length 2^32-1":       {frame('p', 0xffffffff, ""), "E(08P01 fatal) EOF"},
		"truncated":           {frame('p', 100, "abc"), "E(08006 fatal) EOF"},
		"SASL in its place":   {wire.AppendSASLInitial(nil, "SCRAM-SHA-256", []byte("n,,n=,r=x")), "E(08P01 fatal) EOF"},
		"StartupMessage":      {wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "postgres"}}), "E(08006 fatal) EOF"},
		"NUL in the password": {frame('p', 4+4, "a\x00b\x00"), "E(08P01 fatal) EOF"},
	}
	f.undisturbed(t, func() {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				p := f.dialTLS(t).start(wire.Version30, "jwt")
				if typ, _, err := wire.ReadMessage(p, 100); typ != 'R' || err != nil {
					t.Fatalf("asked with %q: %v", typ, err)
				}
				p.Write(tt.sent) // may fail when we are cut off in the middle of it
				p.Conn.(*tls.Conn).CloseWrite()
				if got := p.gone(); got != tt.want {
					t.Errorf("answered %s, want %s", got, tt.want)
				}
			})
		}
	})
}

// TestBadMessages sends what no client may send once it is logged in. What PostgreSQL itself understands better than the
// proxy is PostgreSQL's to answer.
func TestBadMessages(t *testing.T) {
	f := startPlain(t, nil)
	const wrong = "E(08P01 fatal) EOF"
	sync, query := wire.AppendSync(nil), wire.AppendQuery(nil, "SELECT 1")
	tests := map[string]struct {
		sent []byte
		want string // empty: any answer that ends
		cut  bool   // the client leaves behind it
	}{
		"unknown type":          {frame('!', 4, ""), wrong, false},
		"NUL as type":           {frame(0, 4, ""), wrong, false},
		"a server's message":    {frame('Z', 5, "I"), wrong, false},
		"PasswordMessage":       {wire.AppendPassword(nil, []byte("x")), wrong, false},
		"length 0":              {frame('Q', 0, ""), wrong, false},
		"length 3":              {frame('Q', 3, ""), wrong, false},
		"length 2^31-1":         {frame('Q', 0x7fffffff, "SELECT"), wrong, false},
		"length 2^32-1":         {frame('Q', 0xffffffff, "SELECT"), wrong, false},
		"SSLRequest":            {wire.AppendSSLRequest(nil), wrong, false},
		"truncated header":      {[]byte{'Q', 0}, "EOF", true},
		"truncated query":       {frame('Q', 100, "SELECT"), "EOF", true},
		"truncated after 20 kB": {frame('Q', 1<<20, strings.Repeat("x", 20_000)), "EOF", true},
		"query without its NUL": {frame('Q', 4+8, "SELECT 1"), "E(08P01) Z(I)", false},
		"query with NULs":       {frame('Q', 4+10, "SEL\x00CT 1\x00\x00"), "E(08P01) Z(I)", false},
		"Bind of -128 bytes":    {append(frame('B', 4+14, "\x00\x00\x00\x00\x00\x01\xff\xff\xff\x80\x00\x00\x00\x00"), sync...), "E(26000) Z(I)", false},
		"Parse without its end": {append(frame('P', 4+3, "abc"), sync...), "E(08P01) Z(I)", false},
		"FunctionCall, -1 args": {frame('F', 4+10, "\x00\x00\x08\x1e\xff\xff\xff\xff\x00\x00"), "E(08P01) Z(I)", false},
		"Sync with a body":      {frame('S', 5, "x"), "", false},
		"stray CopyData":        {append(wire.AppendCopyData(nil, []byte("x")), query...), "T D(1) C(SELECT 1) Z(I)", false},
		"1,000 stray CopyDone":  {append(bytes.Repeat(wire.AppendCopyDone(nil), 1000), sync...), "Z(I)", false},
		"Flush, then Terminate": {append(wire.AppendFlush(nil), wire.AppendTerminate(nil)...), "EOF", false},
		"Terminate with a body": {frame('X', 8, "abcd"), "EOF", false},
		"Terminate in a batch":  {append(wire.AppendParse(nil, "", "SELECT 1"), wire.AppendTerminate(nil)...), "EOF", false},
	}
	f.undisturbed(t, func() {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				p := f.login(t)
				p.send(tt.sent)
				if tt.cut {
					p.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
				if got := p.answer(); strings.HasSuffix(got, "TIMEOUT") || tt.want != "" && got != tt.want {
					t.Errorf("answered %s, want %s", got, tt.want)
				}
				if strings.HasSuffix(tt.want, "Z(I)") {
					p.expect("SELECT 2", "T D(2) C(SELECT 1) Z(I)")
				}
				p.Close()
			})
			t.Run(name+", in a transaction", func(t *testing.T) {
				p := f.login(t)
				p.expect("BEGIN", "C(BEGIN) Z(T)")
				p.send(tt.sent)
				if tt.cut {
					p.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
				status := "Z(T)"
				if strings.HasPrefix(tt.want, "E(") {
					status = "Z(E)"
				}
				want := strings.ReplaceAll(tt.want, "Z(I)", status)
				if got := p.answer(); strings.HasSuffix(got, "TIMEOUT") || tt.want != "" && got != want {
					t.Errorf("answered %s, want %s", got, want)
				}
				p.Close()
			})
		}
	})
}

// TestBadTLS breaks off in the middle of TLS, or speaks none.
func TestBadTLS(t *testing.T) {
	f := startPlain(t, nil)
	hello := clientHello(t)
	tests := map[string][]byte{
		"plain text":            append(wire.AppendSSLRequest(nil), "SELECT 1"...),
		"StartupMessage behind": wire.AppendSSLRequest(wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", "postgres"}}))[:8:8],
		"half a hello":          append(wire.AppendSSLRequest(nil), hello[:50]...),
		"hello twice":           append(append(wire.AppendSSLRequest(nil), hello...), hello...),
		"a record of 2^16-1":    append(wire.AppendSSLRequest(nil), 0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff),
		"direct, half a hello":  hello[:50],
		"direct, no ALPN":       hello,
	}
	f.undisturbed(t, func() {
		for name, sent := range tests {
			t.Run(name, func(t *testing.T) {
				p := f.dial(t)
				p.send(sent)
				p.Conn.(interface{ CloseWrite() error }).CloseWrite()
				answer, _ := io.ReadAll(p)
				if bytes.Contains(answer, []byte("R\x00\x00\x00\x08")) {
					t.Errorf("logged in: %q", answer)
				}
			})
		}
	})
}

// clientHello is the first flight of a TLS client.
func clientHello(t *testing.T) []byte {
	var b recorder
	tls.Client(&b, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
	return b.Bytes()
}

// TestSlowStrangersKeepNobodyOut fills the login with clients that never get further: others log in as if they were not
// there, and the login timeout ends them.
func TestSlowStrangersKeepNobodyOut(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Limits = proxy.Limits{MaxClients: 1000, MaxLogins: 16, LoginTimeout: prompt}
	})
	f.login(t).leave()
	ssl := wire.AppendSSLRequest(nil)
	stalls := [][]byte{{}, {0}, {0, 0, 0, 50}, ssl[:7], ssl, append(bytes.Clone(ssl), clientHello(t)[:30]...), clientHello(t)[:30]}
	var stalled []*peer
	for i := range 100 {
		p := f.dial(t)
		p.send(stalls[i%len(stalls)])
		stalled = append(stalled, p)
	}
	soon(t, "the strangers are in", func() bool { return f.Clients() >= 100 })
	begin := time.Now()
	f.login(t).leave()
	f.loginTLS(t).leave()
	took := time.Since(begin)
	if took > prompt/2 {
		t.Errorf("two logins took %v behind the strangers", took)
	}
	soon(t, "the login timeout", func() bool { return f.Clients() == 0 })
	for _, p := range stalled {
		io.Copy(io.Discard, p) // ends
	}
}

// recorder is a connection that keeps what is written and has nothing to read.
type recorder struct{ bytes.Buffer }

func (r *recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (r *recorder) Close() error                     { return nil }
func (r *recorder) LocalAddr() net.Addr              { return nil }
func (r *recorder) RemoteAddr() net.Addr             { return nil }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
