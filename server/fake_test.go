package server_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

var serial = big.NewInt(1)

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// fake runs a server that only misbehaves; it ends with the test, and waits for its connections to end.
func fake(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func fakeConfig(address string) *server.Config {
	return &server.Config{
		Hosts: []string{address}, Database: "d", Role: "r", Password: password("the secret"),
		TLS: server.TLS{Mode: server.ModeDisable}, ConnectTimeout: 30 * time.Second,
	}
}

// readStartup reads a StartupMessage or an SSLRequest.
func readStartup(conn net.Conn) []byte {
	var n [4]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return nil
	}
	body := make([]byte, binary.BigEndian.Uint32(n[:])-4)
	_, _ = io.ReadFull(conn, body)
	return body
}

// says is a server that sends fixed bytes and then waits for the client to leave. What the client sends behind its
// StartupMessage is collected.
func says(got *[]byte, b []byte) func(net.Conn) {
	return func(conn net.Conn) {
		readStartup(conn)
		_, _ = conn.Write(b)
		rest, _ := io.ReadAll(conn)
		*got = append(*got, rest...)
	}
}

// asksSCRAM is a server that begins SCRAM and then answers the client-first-message as given.
func asksSCRAM(first func(nonce string) string, then func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		readStartup(conn)
		_, _ = conn.Write(wire.AppendAuthSASL(nil, scram.Mechanism))
		_, body, err := wire.ReadMessage(conn, 1<<16)
		if err != nil {
			return
		}
		_, data, _, _ := wire.ParseSASLInitial(body)
		_, nonce, _ := strings.Cut(string(data), ",r=")
		_, _ = conn.Write(wire.AppendAuthSASLContinue(nil, []byte(first(nonce))))
		then(conn)
	}
}

func discard(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// afterProof waits for the client's proof and then sends what is given.
func afterProof(b []byte) func(net.Conn) {
	return func(conn net.Conn) {
		_, _, _ = wire.ReadMessage(conn, 1<<16)
		_, _ = conn.Write(b)
		discard(conn)
	}
}

func goodFirst(nonce string) string {
	return "r=" + nonce + "more,s=" + base64.StdEncoding.EncodeToString(make([]byte, 16)) + ",i=4096"
}

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// raw is a message with a length of our choice.
func raw(typ byte, length uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, length), body...)
}

// hostile is a server that misbehaves, and what must come of it.
type hostile struct {
	name  string
	serve func(net.Conn)
	edit  func(*server.Config)
	want  string // SQLSTATE
	text  string // part of the error for the log
}

// try logs in to hostile servers. got is what they collect: the password must not be in it.
func try(t *testing.T, got *[]byte, tests []hostile) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			*got = nil
			t.Run("try", func(t *testing.T) { // its end is the end of the server, so got is complete behind it
				cfg := fakeConfig(fake(t, test.serve))
				if test.edit != nil {
					test.edit(cfg)
				}
				attempt(t, cfg, test.want, test.text)
			})
			if strings.Contains(string(*got), "secret") {
				t.Errorf("the server got the password: %q", *got)
			}
		})
	}
}

// TestAttackHostileSCRAM: the attacker is, or sits in front of, the server and breaks the rules of SCRAM: to get the password,
// to be taken for the server, or to crash us or keep us busy.
//
// Must: Every try must end in an error, soon and small.
func TestAttackHostileSCRAM(t *testing.T) {
	loggedIn := concat(wire.AppendAuthOK(nil), wire.AppendReadyForQuery(nil, 'I'))
	nonceOf := func(n int) func(string) string {
		return func(nonce string) string { return "r=" + nonce + strings.Repeat("x", n) + ",s=c2FsdA==,i=4096" }
	}
	iterations := func(n string) func(string) string {
		return func(nonce string) string { return "r=" + nonce + "x,s=c2FsdA==,i=" + n }
	}
	var got []byte
	try(t, &got, []hostile{
		{"64 kB nonce (CVE-2026-6665)", asksSCRAM(nonceOf(64<<10), discard), nil, "08006", ""},
		{"7 kB nonce", asksSCRAM(nonceOf(7<<10), discard), nil, "08006", "nonce"},
		{"64 kB salt", asksSCRAM(func(nonce string) string {
			return "r=" + nonce + "x,s=" + strings.Repeat("AAAA", 16<<10) + ",i=4096"
		}, discard), nil, "08006", ""},
		{"2^31 iterations", asksSCRAM(iterations("2147483648"), discard), nil, "08006", "iteration"},
		{"2^64 iterations", asksSCRAM(iterations("18446744073709551616"), discard), nil, "08006", "iteration"},
		{"one iteration", asksSCRAM(iterations("1"), discard), nil, "08006", "iteration"},
		{"negative iterations", asksSCRAM(iterations("-4096"), discard), nil, "08006", "iteration"},
		{"a nonce that is not ours", asksSCRAM(func(string) string { return "r=other,s=c2FsdA==,i=4096" }, discard), nil, "08006", "nonce"},
		{"AuthenticationOk in place of the first answer", says(&got, concat(wire.AppendAuthSASL(nil, scram.Mechanism), loggedIn)),
			nil, "08006", "authentication message 0 in place of 11"},
		{"AuthenticationOk before SASLFinal", asksSCRAM(goodFirst, afterProof(loggedIn)), nil, "08006", "authentication message 0 in place of 12"},
		{"forged server signature", asksSCRAM(goodFirst, afterProof(concat(
			wire.AppendAuthSASLFinal(nil, []byte("v="+base64.StdEncoding.EncodeToString(make([]byte, 32)))), loggedIn))), nil, "08006", "signature"},
		{"empty server signature", asksSCRAM(goodFirst, afterProof(concat(wire.AppendAuthSASLFinal(nil, []byte("v=")), loggedIn))), nil, "08006", ""},
		{"SCRAM, then cleartext", asksSCRAM(goodFirst, afterProof(wire.AppendAuthCleartext(nil))), nil, "08006", "message 3 in place of 12"},
		{"channel binding offered without TLS", says(&got, wire.AppendAuthSASL(nil, scram.MechanismPlus, scram.Mechanism)), nil, "08006", "without TLS"},
		{"unknown mechanism", says(&got, wire.AppendAuthSASL(nil, "PLAIN")), nil, "08006", "no SASL mechanism"},
		{"no mechanism", says(&got, wire.AppendAuthSASL(nil)), nil, "08006", ""},
	})
}

// TestAttackHostileServer: the same attacker breaks the rules of the login around SCRAM, or offers weaker methods.
//
// Must: He must not get anything from which the password can be read, and not fill our memory.
func TestAttackHostileServer(t *testing.T) {
	ok, ready := wire.AppendAuthOK(nil), wire.AppendReadyForQuery(nil, 'I')
	loggedIn := concat(ok, ready)
	var got []byte
	try(t, &got, []hostile{
		{"cleartext without TLS", says(&got, wire.AppendAuthCleartext(nil)), nil, "08006", "where somebody may listen"},
		{"md5 when SCRAM is demanded", says(&got, wire.AppendAuthMD5(nil, [4]byte{1, 2, 3, 4})),
			func(cfg *server.Config) { cfg.Methods = []server.Method{server.MethodSCRAM} }, "08006", "does not allow"},
		{"no proof wanted when SCRAM is demanded", says(&got, loggedIn),
			func(cfg *server.Config) { cfg.Methods = []server.Method{server.MethodSCRAM} }, "08006", "wants no proof"},
		{"md5, then cleartext", says(&got, concat(wire.AppendAuthMD5(nil, [4]byte{}), wire.AppendAuthCleartext(nil))), nil, "08006", "in place of 0"},
		{"md5, then md5", says(&got, concat(wire.AppendAuthMD5(nil, [4]byte{}), wire.AppendAuthMD5(nil, [4]byte{}))), nil, "08006", "in place of 0"},
		{"md5 with a short salt", says(&got, raw('R', 10, "\x00\x00\x00\x05ab")), nil, "08006", ""},
		{"Kerberos", says(&got, raw('R', 8, "\x00\x00\x00\x02")), nil, "08006", "not supported"},
		{"authentication message without a code", says(&got, raw('R', 6, "ab")), nil, "08006", ""},
		{"error without SQLSTATE (CVE-2026-6666)", says(&got, raw('E', 10, "Mbad\x00\x00")), nil, "XX000", "bad"},
		{"error without any field", says(&got, raw('E', 5, "\x00")), nil, "XX000", ""},
		{"error without terminator", says(&got, raw('E', 7, "Mba")), nil, "08006", ""},
		{"error of zero bytes", says(&got, raw('E', 4, "")), nil, "08006", ""},
		{"length 0", says(&got, raw('R', 0, "")), nil, "08006", ""},
		{"length 3", says(&got, raw('R', 3, "")), nil, "08006", ""},
		{"length 2^32-1", says(&got, raw('R', 0xffffffff, "")), nil, "08006", ""},
		{"length 2^31-1", says(&got, raw('E', 0x7fffffff, "")), nil, "08006", ""},
		{"1 MB parameter", says(&got, concat(ok, wire.AppendParameterStatus(nil, "a", strings.Repeat("x", 1<<20)))), nil, "08006", ""},
		{"parameters without end", says(&got, concat(ok, manyParams(100_000))), nil, "08006", ""},
		{"notices without end", says(&got, manyNotices(100_000)), nil, "08006", ""},
		{"garbage", says(&got, []byte("HTTP/1.1 400 Bad Request\r\n\r\n")), nil, "08006", ""},
		{"a row", says(&got, raw('D', 6, "\x00\x00")), nil, "08006", "unexpected message"},
		{"a row after the authentication", says(&got, concat(ok, raw('D', 6, "\x00\x00"))), nil, "08006", "unexpected message"},
		{"a second authentication after AuthenticationOk", says(&got, concat(ok, wire.AppendAuthCleartext(nil))), nil, "08006", "unexpected message"},
		{"ready before the authentication", says(&got, ready), nil, "08006", "unexpected message"},
		{"ready inside a transaction", says(&got, concat(ok, wire.AppendReadyForQuery(nil, 'T'))), nil, "08006", "transaction"},
		{"ready in an unknown state", says(&got, concat(ok, wire.AppendReadyForQuery(nil, 'X'))), nil, "08006", ""},
		{"two cancel keys", says(&got, concat(ok, wire.AppendBackendKeyData(nil, 1, make([]byte, 4)),
			wire.AppendBackendKeyData(nil, 1, make([]byte, 4)), ready)), nil, "08006", "twice"},
		{"long cancel key in protocol 3.0", says(&got, concat(ok, wire.AppendBackendKeyData(nil, 1, make([]byte, 32)), ready)), nil, "08006", "32 bytes"},
		{"very long cancel key", says(&got, concat(ok, wire.AppendBackendKeyData(nil, 1, make([]byte, 257)), ready)),
			func(cfg *server.Config) { cfg.Version = wire.Version32 }, "08006", ""},
		{"newer protocol than asked for", says(&got, concat(wire.AppendNegotiateProtocolVersion(nil, wire.Version32, nil), loggedIn)), nil, "08006", "protocol"},
		{"protocol 2 after 3.2", says(&got, concat(wire.AppendNegotiateProtocolVersion(nil, 2<<16, nil), loggedIn)),
			func(cfg *server.Config) { cfg.Version = wire.Version32 }, "08006", "protocol"},
		{"an option refused that was not sent", says(&got, concat(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, []string{"_pq_.x"}), loggedIn)),
			func(cfg *server.Config) { cfg.Version = wire.Version32 }, "08006", "protocol"},
		{"negotiation without end", says(&got, concat(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, nil),
			wire.AppendNegotiateProtocolVersion(nil, wire.Version30, nil), loggedIn)),
			func(cfg *server.Config) { cfg.Version = wire.Version32 }, "08006", "unexpected message"},
		{"the connection is reset at once", func(conn net.Conn) { readStartup(conn); _ = conn.(*net.TCPConn).SetLinger(0) }, nil, "08006", ""},
		{"the connection ends at once", func(conn net.Conn) { readStartup(conn) }, nil, "08006", "EOF"},
		{"the connection ends inside of a message", func(conn net.Conn) { readStartup(conn); conn.Write(raw('R', 100, "ab")) }, nil, "08006", "EOF"},
		{"silence", says(&got, nil), func(cfg *server.Config) { cfg.ConnectTimeout = 500 * time.Millisecond }, "08006", "deadline exceeded"},
		{"half a message, then silence", says(&got, raw('R', 100, "ab")),
			func(cfg *server.Config) { cfg.ConnectTimeout = 500 * time.Millisecond }, "08006", "deadline exceeded"},
		{"one byte at a time, for ever", drip, func(cfg *server.Config) { cfg.ConnectTimeout = 500 * time.Millisecond }, "08006", "deadline exceeded"},
	})
}

// attempt opens a connection, which must fail as said and without holding much memory.
func attempt(t *testing.T, cfg *server.Config, want, text string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := server.Open(t.Context(), cfg)
	runtime.ReadMemStats(&after)
	var e *claimpool.Error
	if !errors.As(err, &e) || string(e.Code) != want || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %s %q", err, want, text)
	}
	if strings.Contains(fmt.Sprint(err), "the secret") {
		t.Errorf("the error shows the password: %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func manyParams(n int) (b []byte) {
	for i := range n {
		b = wire.AppendParameterStatus(b, fmt.Sprintf("p%d", i), "x")
	}
	return b
}

func manyNotices(n int) (b []byte) {
	for range n {
		b = wire.AppendNotice(b, &claimpool.Error{Code: "00000", Message: "hello"})
	}
	return b
}

// drip sends a valid stream of notices, so slowly that it never ends.
func drip(conn net.Conn) {
	readStartup(conn)
	for {
		for _, c := range wire.AppendNotice(nil, &claimpool.Error{Code: "00000", Message: "hello"}) {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
		}
	}
}

// TestAttackAnswerToSSLRequest: the attacker sits between us and the server and answers our SSLRequest himself.
//
// Must: He must not get us to speak without TLS, nor to read bytes that were never encrypted (CVE-2021-23222, CVE-2021-43767),
// nor to show people an error text of his (CVE-2024-10977).
func TestAttackAnswerToSSLRequest(t *testing.T) {
	ca := pgtest.NewCA(t)
	cert := ca.Server(t, "localhost", "127.0.0.1")
	loggedIn := concat(wire.AppendAuthOK(nil), wire.AppendReadyForQuery(nil, 'I'))
	for _, test := range []struct {
		name   string
		mode   server.Mode
		answer []byte
		text   string
	}{
		{"no, when TLS is required", server.ModeRequire, []byte("N"), "does not offer TLS"},
		{"no, with a login behind it", server.ModeVerifyFull, append([]byte("N"), loggedIn...), "does not offer TLS"},
		{"yes, with a login behind it", server.ModeRequire, append([]byte("S"), loggedIn...), "TLS handshake"},
		{"yes, with a login behind it, mode prefer", server.ModePrefer, append([]byte("S"), loggedIn...), "TLS handshake"},
		{"an error", server.ModePrefer, wire.AppendError(nil, "FATAL", &claimpool.Error{Code: "28P01", Message: "call 555-0100"}), "with an error"},
		{"garbage", server.ModePrefer, []byte("HTTP"), "0x48"},
		{"nothing", server.ModePrefer, nil, "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []byte
			t.Run("try", func(t *testing.T) {
				cfg := fakeConfig(fake(t, func(conn net.Conn) {
					readStartup(conn)
					if test.answer != nil {
						_, _ = conn.Write(test.answer)
						conn.(*net.TCPConn).CloseWrite()
						got, _ = io.ReadAll(conn)
					}
				}))
				cfg.TLS = server.TLS{Mode: test.mode, Config: cert.Config(ca, "")}
				_, err := server.Open(t.Context(), cfg)
				if err == nil || claimpool.AsError(err).Code != claimpool.CodeConnectionFailure || !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %v", err)
				}
				if strings.Contains(fmt.Sprint(err), "555-0100") {
					t.Errorf("the attacker's text is shown: %v", err)
				}
			})
			if strings.Contains(string(got), "user") {
				t.Errorf("a startup message was sent without TLS: %q", got)
			}
		})
	}
}

// withoutTLS denies TLS and then relays to the real server.
func withoutTLS(client net.Conn, address string) {
	readStartup(client)
	_, _ = client.Write([]byte("N"))
	up, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	relay(client, up)
}

// relay copies both ways until both ends are closed.
func relay(client, up net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(up, client); _ = up.Close() })
	_, _ = io.Copy(client, up)
	_ = client.Close()
	wg.Wait()
}

// TestAttackTLSInTheMiddle: the attacker ends our TLS with a certificate of his own, which mode require without a CA takes,
// and relays to the real server.
//
// Must: Channel binding must stop him; taking the offer of channel binding away must not help, because the "y" flag tells the
// real server.
func TestAttackTLSInTheMiddle(t *testing.T) {
	c := startCluster(t, pgtest.Newest(t), pgtest.NewCA(t))
	hisCert := pgtest.NewCA(t).Server(t, "localhost").TLS
	for _, hide := range []bool{false, true} {
		t.Run(fmt.Sprintf("hides the offer: %v", hide), func(t *testing.T) {
			cfg := config(c, "r_scram")
			cfg.TLS.Mode = server.ModeRequire
			cfg.Hosts = []string{fake(t, func(conn net.Conn) { middle(conn, c.Address(), hisCert, hide) })}
			_, err := server.Open(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), "channel binding") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// middle relays between two TLS connections; with hide it takes SCRAM-SHA-256-PLUS out of the server's offer.
func middle(client net.Conn, address string, cert tls.Certificate, hide bool) {
	readStartup(client)
	_, _ = client.Write([]byte("S"))
	tc := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"postgresql"}})
	up, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer up.Close()
	_, _ = up.Write(wire.AppendSSLRequest(nil))
	_, _ = io.ReadFull(up, make([]byte, 1))
	us := tls.Client(up, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
	if hide {
		// The client's startup message must go first; then the offer can be replaced.
		startup := readStartup(tc)
		_, _ = us.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(startup)+4)), startup...))
		_, _, _ = wire.ReadMessage(us, 1<<16)
		_, _ = tc.Write(wire.AppendAuthSASL(nil, scram.Mechanism))
	}
	relay(tc, us)
}

// TestAttackCleartextInTheMiddle: on another machine, mode prefer takes any certificate, so the attacker's too.
//
// Must: A request for the cleartext password must be refused all the same.
func TestAttackCleartextInTheMiddle(t *testing.T) {
	his := pgtest.NewCA(t).Server(t, "localhost").TLS
	var got []byte
	t.Run("try", func(t *testing.T) {
		addr := fake(t, func(conn net.Conn) {
			readStartup(conn)
			_, _ = conn.Write([]byte("S"))
			tc := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{his}, NextProtos: []string{"postgresql"}})
			says(&got, wire.AppendAuthCleartext(nil))(tc)
		})
		_, port, _ := net.SplitHostPort(addr)
		// To dial this address is to dial loopback, but it does not look so: it stands for another machine.
		cfg := fakeConfig(net.JoinHostPort("0.0.0.0", port))
		cfg.TLS.Mode = server.ModePrefer
		_, err := server.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "where somebody may listen") {
			t.Errorf("got %v", err)
		}
	})
	if strings.Contains(string(got), "secret") {
		t.Errorf("the attacker got the password")
	}
}
