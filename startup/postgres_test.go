package startup_test

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// first gives the first two messages that a server sends: type, and for an error its SQLSTATE and text.
func first(r io.Reader) []string {
	var got []string
	for len(got) < 2 {
		typ, body, err := wire.ReadMessage(r, 1<<16)
		if err != nil {
			return append(got, "end")
		}
		switch typ {
		case wire.MsgErrorResponse:
			f, err := wire.ParseError(body)
			if err != nil {
				return append(got, err.Error())
			}
			got = append(got, f.Severity+" "+f.Code+" "+f.Message)
		case wire.MsgNegotiateProtocolVersion:
			got = append(got, "v"+string(body))
			continue
		default:
			return append(got, "welcome")
		}
	}
	return got
}

// TestAgainstPostgreSQL sends the same bytes to the newest PostgreSQL and to us: the answers must be the same ones.
func TestAgainstPostgreSQL(t *testing.T) {
	newest := pgtest.Newest(t)
	if newest.Major < 18 {
		t.Fatalf("PostgreSQL 18 or newer is needed, which speaks protocol 3.2; found %d", newest.Major)
	}
	pg := pgtest.Shared(t, newest)
	raw := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
	}
	who := [][2]string{{"user", cluster.Superuser}, {"database", "postgres"}}
	more := func(p ...[2]string) [][2]string { return append(slices.Clone(who), p...) }
	tests := map[string][]byte{
		"3.0":                     wire.AppendStartup(nil, wire.Version30, who),
		"3.1":                     wire.AppendStartup(nil, 3<<16|1, who),
		"3.2":                     wire.AppendStartup(nil, wire.Version32, who),
		"3.3":                     wire.AppendStartup(nil, 3<<16|3, who),
		"3.9999":                  wire.AppendStartup(nil, 3<<16|9999, who),
		"3.0 with options":        wire.AppendStartup(nil, wire.Version30, more([2]string{"_pq_.x", "1"}, [2]string{"_pq_.y", "2"})),
		"3.9999 with options":     wire.AppendStartup(nil, 3<<16|9999, more([2]string{"_pq_.x", "1"})),
		"4.0":                     wire.AppendStartup(nil, 4<<16, who),
		"no user":                 wire.AppendStartup(nil, wire.Version30, nil),
		"empty user":              wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", ""}}),
		"no terminator":           raw("\x00\x03\x00\x00user\x00ann\x00"),
		"bytes behind the end":    raw("\x00\x03\x00\x00user\x00ann\x00\x00x"),
		"cancel of nobody":        wire.AppendCancelRequest(nil, 1, []byte("abcd")),
		"GSSENCRequest twice":     append(gssRequest(), gssRequest()...),
		"SSLRequest twice":        wire.AppendSSLRequest(wire.AppendSSLRequest(nil)),
		"GSSAPI, then TLS, start": append(append(gssRequest(), wire.AppendSSLRequest(nil)...), wire.AppendStartup(nil, wire.Version30, who)...),
	}
	for name, sent := range tests {
		t.Run(name, func(t *testing.T) {
			theirs := func() []string {
				conn, err := net.Dial("tcp", pg.Address())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				return ask(conn, sent)
			}()
			g := greet(t, &startup.Options{}, patience)
			ours := make(chan []string, 1)
			go func() { ours <- ask(g.client, sent) }()
			if h, err := g.result(t); err == nil {
				if h.Cancel == nil {
					_, _ = h.Conn.Write(wire.AppendAuthOK(h.AppendNegotiation(nil)))
				}
				h.Conn.Close()
			}
			if got := <-ours; !slices.Equal(got, theirs) {
				t.Errorf("we answer    %q\nPostgreSQL %q", got, theirs)
			}
		})
	}
}

// ask sends the packets one by one, as a client that waits for the answer to each request for encryption.
func ask(conn net.Conn, sent []byte) []string {
	var got []string
	for len(sent) > 0 {
		n := min(int(binary.BigEndian.Uint32(sent)), len(sent))
		packet := sent[:n]
		sent = sent[n:]
		if _, err := conn.Write(packet); err != nil {
			return append(got, "end")
		}
		if len(sent) > 0 {
			var b [1]byte
			if _, err := io.ReadFull(conn, b[:]); err != nil {
				return append(got, "end")
			}
			got = append(got, string(b[:]))
		}
	}
	return append(got, first(conn)...)
}
