//go:build linux

package fakepg

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// conversation is a bit of everything that a client may say.
func conversation() []byte {
	b := pgmsg.AppendSSLRequest(nil)
	b = pgmsg.AppendStartup(b, "user", "bench")
	b = pgmsg.AppendQuery(b, "begin; select 1; commit")
	b = pgmsg.AppendParse(b, "s", "select 1")
	b = pgmsg.AppendBind(b, "s")
	b = pgmsg.AppendDescribe(b)
	b = pgmsg.AppendExecute(b)
	b = pgmsg.AppendSync(b)
	b = pgmsg.AppendBind(b, "nobody")
	b = pgmsg.AppendExecute(b)
	b = pgmsg.AppendSync(b)
	b = pgmsg.AppendQuery(b, "copy t from stdin")
	b = pgmsg.Append(b, 'd', []byte("a row\n"))
	b = pgmsg.Append(b, 'c')
	call := bytes.Join([][]byte{pgmsg.Int32(2078), pgmsg.Int16(0), pgmsg.Int16(2),
		pgmsg.Int32(4), []byte("name"), pgmsg.Int32(5), []byte("value"), pgmsg.Int16(0)}, nil)
	return pgmsg.Append(b, 'F', call)
}

func TestRepliesDoNotDependOnHowBytesArrive(t *testing.T) {
	all := conversation()
	want, ok := (&session{status: 'I'}).take(all, nil, answers{})
	if !ok {
		t.Fatal("the connection was ended")
	}
	if !bytes.HasSuffix(want, pgmsg.AppendReady(pgmsg.Append(nil, 'V', pgmsg.Int32(5), []byte("value")), 'I')) {
		t.Errorf("the function call was answered with %q", want[max(0, len(want)-30):])
	}
	for _, size := range []int{1, 2, 3, 7, 50} {
		t.Run(fmt.Sprintf("pieces of %d bytes", size), func(t *testing.T) {
			c := &session{status: 'I'}
			var got []byte
			for rest := all; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				if got, ok = c.take(rest[:min(size, len(rest))], got, answers{}); !ok {
					t.Fatal("the connection was ended")
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
		})
	}
}

func FuzzSession(f *testing.F) {
	f.Add(conversation())
	f.Add([]byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2e})
	start := pgmsg.AppendStartup(nil)
	f.Add(append(start, 'F', 0, 0, 0, 10, 0, 0, 0, 0, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("generate_series")) {
			return // results of chosen size are meant to be large
		}
		c := &session{status: 'I'}
		for len(b) > 0 {
			n := min(64, len(b))
			if _, ok := c.take(b[:n], nil, answers{}); !ok {
				return
			}
			b = b[n:]
		}
	})
}
