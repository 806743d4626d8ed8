package startup_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackStuffing: the attacker sits between the victim and us, and puts a StartupMessage of his own behind the victim's
// SSLRequest, in one segment. CVE-2021-3935: PgBouncer read it as if it came from inside of the victim's TLS.
//
// Must: The handshake fails, and nothing of the plain text may be taken for a start-up.
func TestAttackStuffing(t *testing.T) {
	s := newSecrets(t)
	ssl, attack := wire.AppendSSLRequest(nil), hello30([2]string{"user", "postgres"})
	for name, sent := range map[string][]byte{
		"StartupMessage":         append(bytes.Clone(ssl), attack...),
		"second SSLRequest":      append(bytes.Clone(ssl), ssl...),
		"CancelRequest":          wire.AppendCancelRequest(bytes.Clone(ssl), 1, []byte("abcd")),
		"after GSSENCRequest":    append(append(gssRequest(), ssl...), attack...),
		"a single byte":          append(bytes.Clone(ssl), 0),
		"in a longer SSLRequest": append([]byte{0, 0, 0, byte(8 + len(attack)), 0x04, 0xd2, 0x16, 0x2f}, attack...),
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: s.server}, patience)
			g.send(t, sent)
			_ = g.client.(*net.TCPConn).CloseWrite()
			h, err := g.result(t)
			if err == nil || h.Startup.Params != nil || h.Cancel != nil || h.TLS != nil {
				t.Errorf("got %+v, %v", h, err)
			}
		})
	}
}

// TestAttackEndlessNegotiation: the attacker asks for encryption again and again (CVE-2026-6479: the server recursed until its
// stack was full).
//
// Must: Each request is answered once; the second of a kind is an unknown protocol version, as it is for PostgreSQL.
func TestAttackEndlessNegotiation(t *testing.T) {
	s := newSecrets(t)
	ssl, gss := wire.AppendSSLRequest(nil), gssRequest()
	const sslVersion, gssVersion = "unsupported frontend protocol 1234.5679", "unsupported frontend protocol 1234.5680"

	for name, tt := range map[string]struct {
		sent    []byte
		message string
	}{
		"SSLRequest":    {bytes.Repeat(ssl, 10_000), sslVersion},
		"GSSENCRequest": {bytes.Repeat(gss, 10_000), gssVersion},
		"in turn":       {bytes.Repeat(append(bytes.Clone(ssl), gss...), 10_000), sslVersion},
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			_, _ = g.client.Write(tt.sent) // fails when we close before the end of it
			g.refused(t, claimpool.CodeFeatureNotSupported, tt.message)
		})
	}
	for name, request := range map[string][]byte{sslVersion: ssl, gssVersion: gss} {
		t.Run("inside of TLS, "+name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: s.server}, patience)
			g.send(t, ssl)
			g.expect(t, 'S')
			g.secure(t, s.client)
			g.send(t, request)
			g.refused(t, claimpool.CodeFeatureNotSupported, name)
		})
	}
	t.Run("TLS inside of TLS", func(t *testing.T) {
		g := greet(t, &startup.Options{TLS: s.server}, patience)
		g.secure(t, s.direct("postgresql"))
		g.send(t, []byte{0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0, 0, 0, 0})
		g.refused(t, "", "not the PostgreSQL protocol")
	})
}

// TestAttackOtherProtocols: the attacker makes a browser or another program talk to us, for instance to have its requests or
// our answers taken for something else.
//
// Must: Nobody but PostgreSQL's clients may get an answer.
func TestAttackOtherProtocols(t *testing.T) {
	s := newSecrets(t)
	for name, sent := range map[string]string{
		"HTTP":             "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"SSH":              "SSH-2.0-OpenSSH_9.6\r\n",
		"SMTP":             "EHLO localhost\r\n",
		"0xff":             strings.Repeat("\xff", 100),
		"a Query too soon": string(wire.AppendQuery(nil, "select 1")),
		"PROXY protocol":   "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: s.server}, patience)
			g.send(t, []byte(sent))
			g.refused(t, "", "not the PostgreSQL protocol")
			if answer, _ := io.ReadAll(g.client); len(answer) > 0 {
				t.Errorf("answered %q", answer)
			}
		})
	}

	// TLS of another protocol: ALPACA.
	for name, c := range map[string]*tls.Config{"no ALPN": s.direct(), "h2": s.direct("h2", "http/1.1")} {
		t.Run("direct TLS with "+name, func(t *testing.T) {
			g := greet(t, &startup.Options{TLS: s.server}, patience)
			conn := tls.Client(g.client, c)
			if conn.Handshake() == nil {
				_, _ = conn.Write(hello30(ann))
			}
			h, err := g.result(t)
			var e *claimpool.Error
			if err == nil || errors.As(err, &e) || h.Startup.Params != nil {
				t.Errorf("got %+v, %v", h, err)
			}
		})
	}
	t.Run("direct TLS when ALPN is not configured", func(t *testing.T) {
		forgotten := s.server.Clone()
		forgotten.NextProtos = nil
		g := greet(t, &startup.Options{TLS: forgotten}, patience)
		_ = tls.Client(g.client, s.direct("postgresql")).Handshake()
		g.refused(t, "", "without ALPN")
	})
	t.Run("direct TLS when TLS is off", func(t *testing.T) {
		g := greet(t, &startup.Options{}, patience)
		_ = tls.Client(g.client, s.direct("postgresql")).Handshake()
		g.refused(t, "", "TLS is off")
	})
	t.Run("direct TLS behind a refused SSLRequest", func(t *testing.T) {
		g := greet(t, &startup.Options{}, patience)
		g.send(t, wire.AppendSSLRequest(nil))
		g.expect(t, 'N')
		_ = tls.Client(g.client, s.direct("postgresql")).Handshake()
		g.refused(t, "", "not the PostgreSQL protocol")
	})
}

// TestAttackLengths: the attacker announces lengths that are too short, too long, or wrap around (CVE-2026-6664: a pooler
// crashed on them before any login).
//
// Must: Each is refused before memory is spent on it.
func TestAttackLengths(t *testing.T) {
	const invalid = "invalid length of startup packet"
	for name, tt := range map[string]struct {
		length uint32
		code   claimpool.Code
		text   string
	}{
		"0":              {0, "08P01", invalid},
		"1":              {1, "08P01", invalid},
		"3":              {3, "08P01", invalid},
		"4":              {4, "08P01", invalid},
		"7":              {7, "08P01", invalid},
		"one too many":   {10_005, "08P01", invalid},
		"64 kB":          {1 << 16, "08P01", invalid},
		"16 MB less one": {1<<24 - 1, "08P01", invalid},
		"16 MB":          {1 << 24, "", "not the PostgreSQL protocol"},
		"0x7fffffff":     {0x7fffffff, "", "not the PostgreSQL protocol"},
		"0x80000000":     {0x80000000, "", "not the PostgreSQL protocol"},
		"0xffffffff":     {0xffffffff, "", "not the PostgreSQL protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, binary.BigEndian.AppendUint32(nil, tt.length))
			g.refused(t, tt.code, tt.text)
		})
	}
	t.Run("the longest that is allowed", func(t *testing.T) {
		b := hello30(ann, [2]string{"options", ""})
		b = hello30(ann, [2]string{"options", strings.Repeat("o", 10_004-len(b))})
		g := greet(t, &startup.Options{}, patience)
		g.send(t, b)
		if h, err := g.result(t); err != nil || len(b) != 10_004 {
			t.Errorf("%d bytes: %+v, %v", len(b), h, err)
		}
	})
}

// TestAttackBadCancel: the attacker sends cancel requests with keys of wrong lengths.
//
// Must: They end without an answer, like every cancel request: an answer would tell him whether he guessed well.
func TestAttackBadCancel(t *testing.T) {
	for name, body := range map[string]string{
		"no process id": "\x04\xd2\x16\x2e",
		"no key":        "\x04\xd2\x16\x2e\x00\x00\x00\x01",
		"short key":     "\x04\xd2\x16\x2e\x00\x00\x00\x01abc",
		"long key":      "\x04\xd2\x16\x2e\x00\x00\x00\x01" + strings.Repeat("k", 257),
		"9 kB key":      "\x04\xd2\x16\x2e\x00\x00\x00\x01" + strings.Repeat("k", 9000),
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...))
			g.refused(t, "", "cancel request")
			if g.hello.Cancel != nil {
				t.Error("there is a cancel request all the same")
			}
		})
	}
}

// TestAttackMalformedStartup: the attacker sends start-up packets whose parameters do not fit the packet.
//
// Must: Each is refused with 08P01, an unknown version with 0A000.
func TestAttackMalformedStartup(t *testing.T) {
	for name, body := range map[string]string{
		"version only":         "\x00\x03\x00\x00",
		"no terminator":        "\x00\x03\x00\x00user\x00ann\x00",
		"name only":            "\x00\x03\x00\x00user\x00",
		"name without an end":  "\x00\x03\x00\x00user",
		"bytes behind the end": "\x00\x03\x00\x00user\x00ann\x00\x00database\x00postgres\x00\x00",
		"3,000 parameters":     "\x00\x03\x00\x00" + strings.Repeat("a\x00\x00", 3000) + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...))
			g.refused(t, claimpool.CodeProtocolViolation, "startup packet")
		})
	}
	for name, version := range map[string]uint32{"0.0": 0, "1.0": 1 << 16, "2.0": 2 << 16, "4.0": 4 << 16, "65535.65535": 1<<32 - 1} {
		t.Run("version "+name, func(t *testing.T) {
			g := greet(t, &startup.Options{}, patience)
			g.send(t, wire.AppendStartup(nil, version, [][2]string{ann}))
			g.refused(t, claimpool.CodeFeatureNotSupported, "unsupported frontend protocol "+name+": server supports 3.0 to 3.2")
		})
	}
}

// TestAttackAnnounceAndStall: the attacker opens many connections, announces the longest packet on each, and sends a few bytes
// of it.
//
// Must: Each may hold little memory (slowloris).
func TestAttackAnnounceAndStall(t *testing.T) {
	sent := append(binary.BigEndian.AppendUint32(nil, 10_004), 0, 3)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 1000 {
		if _, err := startup.Read(&fakeConn{in: bytes.NewReader(sent)}, &startup.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 1000; each > 2048 {
		t.Errorf("%d bytes for each connection", each)
	}
}
