package proxy_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackServerSpeaksNonsense: the attacker is the server, or sits in front of it, and answers a query with what no server
// may say.
//
// Must: Its client gets an error where one can still be told, no other client notices, and as soon as the server is itself
// again everything works.
// Dialects: none
func TestAttackServerSpeaksNonsense(t *testing.T) {
	const lost = "E(08006 fatal) EOF"
	ready := wire.AppendReadyForQuery(nil, 'I')
	row := frame('D', 4+2, "\x00\x00")
	tests := map[string]struct {
		said []byte
		want string
		hang bool // the connection stays open behind it
	}{
		"nothing, and closes":                 {nil, lost, false},
		"HTTP":                                {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), lost, true},
		"zeros":                               {make([]byte, 100), lost, true},
		"a length of 0":                       {frame('D', 0, "abc"), lost, true},
		"a length of 3":                       {frame('D', 3, "abc"), lost, true},
		"a length of -1":                      {frame('D', 0xffffffff, "abc"), lost, true},
		"a length of 2^31-1":                  {frame('D', 0x7fffffff, "abc"), lost, true},
		"a row, then a length of -1":          {append(bytes.Clone(row), frame('D', 0xffffffff, "")...), "D() " + lost, true},
		"half a row, and closes":              {frame('D', 100, "abc"), "EOF", false},
		"half a header, and closes":           {[]byte{'D', 0, 0}, lost, false},
		"half an error, and closes":           {report("ERROR", "XX000")[:20], lost, false},
		"a row, and closes":                   {row, "D() " + lost, false},
		"an error, and closes":                {report("ERROR", "XX000"), "E(XX000) " + lost, false},
		"its end":                             {report("FATAL", "57P01"), "E(57P01 fatal) EOF", false},
		"its end without a code, and closes":  {frame('E', 4+11, "VFATAL\x00Mx\x00\x00"), "E( fatal) EOF", false},
		"AuthenticationOk":                    {wire.AppendAuthOK(nil), lost, true},
		"a request for the password":          {wire.AppendAuthCleartext(nil), lost, true},
		"another cancel key":                  {wire.AppendBackendKeyData(nil, 1, []byte("abcd")), lost, true},
		"NegotiateProtocolVersion":            {wire.AppendNegotiateProtocolVersion(nil, wire.Version30, nil), lost, true},
		"a client's message":                  {wire.AppendQuery(nil, "DROP TABLE x"), lost, true},
		"a status that is none":               {wire.AppendReadyForQuery(nil, 'X'), lost, true},
		"a status of 100 bytes":               {frame('Z', 104, strings.Repeat("I", 100)), lost, true},
		"a status without a byte":             {frame('Z', 4, ""), lost, true},
		"it is ready twice":                   {append(bytes.Clone(ready), ready...), "", true},
		"a parameter of 60 kB":                {wire.AppendParameterStatus(nil, "TimeZone", strings.Repeat("x", 60_000)), lost, true},
		"a parameter of 1 GB":                 {frame('S', 1<<30, "TimeZone"), lost, true},
		"a parameter without an end":          {frame('S', 4+4, "abcd"), lost, true},
		"an error of 1 GB":                    {frame('E', 1<<30, "SERROR\x00"), "EOF", false},
		"an error whose fields do not end":    {append(frame('E', 4+5, "SERRO"), ready...), "", true},
		"100,000 notifications":               {append(bytes.Repeat(frame('A', 4+4+4, "\x00\x00\x00\x01c\x00p\x00"), 100_000), append(complete("X"), ready...)...), "C(X) Z(I)", true},
		"COPY in both directions, and closes": {frame('W', 4+3, "\x00\x00\x00"), "", false},
	}
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	f.login(t).leave()
	soon(t, "rest", func() bool { return f.Clients() == 0 })
	before := runtime.NumGoroutine()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := f.login(t)
			fake.misbehave(nil, func(c net.Conn, sql string) bool {
				c.Write(tt.said)
				if !tt.hang {
					c.Close()
				}
				return true
			})
			got := p.ask("attack")
			for tt.want != "" && !strings.HasSuffix(got, "EOF") && strings.HasSuffix(tt.want, "EOF") && !strings.HasSuffix(got, "TIMEOUT") {
				got += " " + p.answer()
			}
			if tt.want != "" && got != tt.want {
				t.Errorf("the client got %s, want %s", got, tt.want)
			}
			fake.misbehave(nil, nil)
			p.Close()
			next := f.login(t)
			next.expect("heal", "C(heal) Z(I)")
			next.leave()
		})
	}
	fake.drop()
	soon(t, "clients at rest", func() bool { return f.Clients() == 0 })
	soon(t, "goroutines at rest", func() bool { return runtime.NumGoroutine() <= before+1 })
}

// TestAttackServerSpeaksUnasked: the attacker is the server and says something while nobody has asked.
//
// Must: No client is harmed by it.
// Dialects: none
func TestAttackServerSpeaksUnasked(t *testing.T) {
	tests := map[string][]byte{
		"it is ready":            wire.AppendReadyForQuery(nil, 'I'),
		"a row":                  frame('D', 4+2, "\x00\x00"),
		"a notice of 1 GB":       frame('N', 1<<30, "abc"),
		"100,000 notices":        bytes.Repeat(frame('N', 4+1, "\x00"), 100_000),
		"100,000 parameters":     bytes.Repeat(wire.AppendParameterStatus(nil, "TimeZone", "x"), 100_000),
		"100,000 notifications":  bytes.Repeat(frame('A', 4+4+4, "\x00\x00\x00\x01c\x00p\x00"), 100_000),
		"a length of -1":         frame('N', 0xffffffff, ""),
		"its end":                report("FATAL", "57P01"),
		"an error":               report("ERROR", "XX000"),
		"a request for password": wire.AppendAuthCleartext(nil),
	}
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	p := f.login(t)
	for name, said := range tests {
		t.Run(name, func(t *testing.T) {
			p.expect("before", "C(before) Z(I)")
			fake.say(said)
			for range 3 {
				// Notices may come through: they are true, and nobody's secret.
				if got := p.ask("behind"); !strings.HasSuffix("N "+got, "N C(behind) Z(I)") {
					t.Errorf("answered %.100s", got)
				}
			}
		})
	}
}

// TestAttackHandoverIsAnsweredWrong: the attacker is the server, or a neighbour who makes it fail, and the hand-over to
// another identity does not get the answers that it must have.
//
// Must: The client's own query must never go out on such a connection; it gets another one, or an error.
// Dialects: none
func TestAttackHandoverIsAnsweredWrong(t *testing.T) {
	tests := map[string][]byte{
		"an error":            wire.AppendReadyForQuery(report("ERROR", "57014"), 'I'),
		"its end":             report("FATAL", "57P01"),
		"another tag":         wire.AppendReadyForQuery(complete("SET"), 'I'),
		"no tag":              wire.AppendReadyForQuery(nil, 'I'),
		"one tag":             wire.AppendReadyForQuery(complete("RESET"), 'I'),
		"in a transaction":    wire.AppendReadyForQuery(append(complete("RESET"), complete("RESET")...), 'T'),
		"three tags":          wire.AppendReadyForQuery(bytes.Repeat(complete("RESET"), 3), 'I'),
		"a row":               frame('D', 4+2, "\x00\x00"),
		"a length of 0":       frame('C', 0, ""),
		"a length of 1 GB":    frame('C', 1<<30, ""),
		"a tag of 65,000":     complete(strings.Repeat("x", 65_000)),
		"a request to log in": wire.AppendAuthCleartext(nil),
	}
	fake := startFake(t)
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) { o.Role = "app" })
	a, b := f.dial(t).start(wire.Version30, "ann").ready(), f.dial(t).start(wire.Version30, "bob").ready()
	for name, said := range tests {
		t.Run(name, func(t *testing.T) {
			a.expect("a", "C(a) Z(I)")
			ran := false
			fake.misbehave(nil, func(c net.Conn, sql string) bool {
				if sql != "RESET ALL; RESET ROLE" {
					ran = ran || sql == "b"
					return false
				}
				fake.mu.Lock() // only the first of them fails
				fake.query = nil
				fake.mu.Unlock()
				c.Write(said)
				return true
			})
			opened := fake.opened.Load()
			b.expect("b", "C(b) Z(I)")
			if ran || fake.opened.Load() == opened {
				t.Error("the query went out on the connection whose hand-over had failed")
			}
			fake.misbehave(nil, nil)
		})
	}
	t.Run("always", func(t *testing.T) {
		a.expect("a", "C(a) Z(I)")
		fake.misbehave(nil, func(c net.Conn, sql string) bool {
			if strings.HasPrefix(sql, "b") {
				t.Error("the query went out")
			}
			c.Write(wire.AppendReadyForQuery(report("ERROR", "57014"), 'I'))
			return true
		})
		// A fresh connection needs no reset, so that one serves.
		fake.misbehave(nil, nil)
		b.expect("b", "C(b) Z(I)")
	})
}

// TestAttackHandoverWithoutAnAnswer: the attacker is the server, or a neighbour who can make it hang: there is no answer in
// the middle of a hand-over.
//
// Must: After the time for a hand-over the client is served by another connection.
// Dialects: none
func TestAttackHandoverWithoutAnAnswer(t *testing.T) {
	t.Parallel() // it waits for the hand-over's time
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	a, b := f.dial(t).start(wire.Version30, "ann").ready(), f.dial(t).start(wire.Version30, "bob").ready()
	a.expect("a", "C(a) Z(I)")
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		if sql == "RESET ALL; RESET ROLE" {
			io.Copy(io.Discard, c)
		}
		return false
	})
	begin := time.Now()
	b.expect("b", "C(b) Z(I)")
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("another server after %v", took)
	}
	if n := strings.Count(f.Log.String(), "handover_failed"); n != 1 {
		t.Errorf("%d hand-overs have failed", n)
	}
}

// TestServerRefusesLogins: the server's own words reach those who wait, and the pool heals by itself.
func TestServerRefusesLogins(t *testing.T) {
	t.Parallel() // it waits
	refuse := func(b []byte) func(net.Conn) bool {
		return func(c net.Conn) bool { c.Write(b); return true }
	}
	tests := map[string]struct {
		login func(net.Conn) bool
		code  string
		long  bool // it takes as long as it may
	}{
		"too many connections":     {refuse(report("FATAL", "53300")), "53300", false},
		"starting up":              {refuse(report("FATAL", "57P03")), "57P03", false},
		"wrong password":           {refuse(report("FATAL", "28P01")), "28P01", false},
		"no such database":         {refuse(report("FATAL", "3D000")), "3D000", false},
		"an error without a code":  {refuse(frame('E', 4+7, "VFATAL\x00")), "08006", false},
		"closes":                   {refuse(nil), "08006", false},
		"garbage":                  {refuse([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "08006", false},
		"a length of -1":           {refuse(frame('R', 0xffffffff, "")), "08006", false},
		"hangs":                    {hang, "08006", true},
		"ready in a transaction":   {refuse(append(wire.AppendAuthOK(nil), wire.AppendReadyForQuery(nil, 'T')...)), "08006", false},
		"parameters without end":   {refuse(append(wire.AppendAuthOK(nil), bytes.Repeat(wire.AppendParameterStatus(nil, "a", "b"), 100_000)...)), "08006", true},
		"half an AuthenticationOk": {refuse(wire.AppendAuthOK(nil)[:7]), "08006", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fake := startFake(t)
			f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
				o.Pool.Size = 3
				if tt.long {
					o.Server.ConnectTimeout = 500 * time.Millisecond
				}
			})
			fake.misbehave(tt.login, nil)
			for range 2 {
				if got := f.dial(t).start(wire.Version30, "app").answer(); got != "E("+tt.code+" fatal) EOF" {
					t.Errorf("the login was answered with %s", got)
				}
			}
			fake.misbehave(nil, nil)
			var peers []*peer
			soon(t, "a login", func() bool {
				p := f.dial(t).start(wire.Version30, "app")
				if p.answer() != "R Z(I)" {
					return false
				}
				peers = append(peers, p, f.login(t))
				return true
			})
			fake.misbehave(tt.login, nil)
			fake.drop()
			for _, p := range peers {
				if got := p.ask("x"); got != "E("+tt.code+") Z(I)" && got != "C(x) Z(I)" {
					t.Errorf("the query was answered with %s", got)
				}
			}
			fake.misbehave(nil, nil)
			begin := time.Now()
			for _, p := range peers {
				soon(t, "the pool is healthy", func() bool { return p.ask("x") == "C(x) Z(I)" })
			}
			if took := time.Since(begin); took > prompt {
				t.Errorf("the pool was healthy after %v", took)
			}
		})
	}
}

// TestServerIsNotAskedInAStorm: while a server refuses, clients who try again and again do not become a storm of logins.
func TestServerIsNotAskedInAStorm(t *testing.T) {
	t.Parallel() // it waits
	fake := startFake(t)
	f := startBefore(t, fake, func(o *pgtest.ProxyOptions) { o.Pool.Size = 20 })
	var peers []*peer
	for range 20 {
		peers = append(peers, f.login(t))
	}
	tries := make(chan struct{}, 10_000)
	fake.misbehave(func(c net.Conn) bool {
		tries <- struct{}{}
		c.Write(report("FATAL", "57P03"))
		return true
	}, nil)
	fake.drop()
	end := time.Now().Add(2 * time.Second)
	for time.Now().Before(end) {
		for _, p := range peers {
			p.query("x")
		}
		for _, p := range peers {
			if got := p.answer(); got != "E(57P03) Z(I)" && got != "E(08006 fatal) EOF" {
				t.Fatalf("answered %s", got)
			}
		}
	}
	if n := len(tries); n > 200 {
		t.Errorf("%d logins within two seconds", n)
	}
}
