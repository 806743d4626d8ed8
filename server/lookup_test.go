package server_test

import (
	"bytes"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackLookupWithoutEnd: the attacker is, or sits in front of, the server that is asked for stored passwords, and answers with
// rows without end.
//
// Must: The look-up fails at the first row that was not asked for; nothing is collected.
// Dialects: none
func TestAttackLookupWithoutEnd(t *testing.T) {
	row := raw('D', 4+2+4+1, "\x00\x01\x00\x00\x00\x01x")
	address := fake(t, func(conn net.Conn) {
		readStartup(conn)
		_, _ = conn.Write(wire.AppendReadyForQuery(wire.AppendAuthOK(nil), 'I'))
		for range 8 { // the reader ends before, or has 8 MiB of them
			if _, err := conn.Write(bytes.Repeat(row, 1<<20/len(row))); err != nil {
				return
			}
		}
		_, _ = conn.Write(wire.AppendReadyForQuery(nil, 'I'))
		discard(conn)
	})
	l := server.NewLookup(fakeConfig(address), "SELECT 'x'")
	defer l.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	secret, err := l.Password(t.Context(), "anna")
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more rows than were asked for") || secret != nil {
		t.Errorf("got %v, %v", secret, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}
