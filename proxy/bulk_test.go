package proxy_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// heap is the memory in use, after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// maxGrowth is what the proxy may hold for a transfer that has come to a halt: a few buffers of 64 kB, and something for the
// test itself.
const maxGrowth = 2 << 20

// TestLargeResults: results of 100 MB come through whole, and while a client does not read, the proxy does not either.
func TestLargeResults(t *testing.T) {
	f := startPlain(t, nil)
	const rows = 100_000 // of 1,000 bytes
	const text = "SELECT repeat(chr(65 + n %% 26), 1000) FROM generate_series(1, %d) n"
	tests := []struct {
		name  string
		login func(testing.TB, ...[2]string) *peer
		sql   string
	}{
		{"rows, plain", f.login, fmt.Sprintf(text, rows)},
		{"COPY, TLS", f.loginTLS, fmt.Sprintf("COPY ("+text+") TO STDOUT", rows)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.login(t)
			p.SetDeadline(time.Now().Add(4 * patience))
			before := heap()
			p.query(tt.sql)
			soon(t, "PostgreSQL waits for its client", func() bool { return f.count(t, "wait_event = 'ClientWrite'") == 1 })
			if grown := heap() - before; grown > maxGrowth {
				t.Errorf("the proxy holds %d bytes for a client that does not read", grown)
			}
			if got := readBulk(t, p); got != rows {
				t.Errorf("%d rows came", got)
			}
			p.leave()
		})
	}
}

// readBulk reads a long answer and counts its rows, whose contents it checks.
func readBulk(t *testing.T, p *peer) (rows int) {
	t.Helper()
	r := bufio.NewReaderSize(p, 1<<16)
	var head [5]byte
	body := make([]byte, 1<<16)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			t.Fatal(err)
		}
		b := body[:binary.BigEndian.Uint32(head[1:])-4]
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		switch head[0] {
		case wire.MsgDataRow, wire.MsgCopyData:
			rows++
			text := strings.TrimRight(string(b), "\n")
			if want := strings.Repeat(string(rune('A'+rows%26)), 1000); text[len(text)-1000:] != want {
				t.Fatalf("row %d is %.20q…", rows, text)
			}
		case wire.MsgErrorResponse:
			t.Fatalf("%q", b)
		case wire.MsgReadyForQuery:
			return rows
		}
	}
}

// TestLargeUploads: a COPY of 100 MB arrives whole, and while PostgreSQL does not read, the proxy does not either.
func TestLargeUploads(t *testing.T) {
	f := startPlain(t, nil)
	const rows = 100_000
	chunk := wire.AppendCopyData(nil, []byte(strings.Repeat(strings.Repeat("x", 999)+"\n", 50)))
	for transport, login := range map[string]func(testing.TB, ...[2]string) *peer{"plain": f.login, "TLS": f.loginTLS} {
		t.Run(transport, func(t *testing.T) {
			p := login(t)
			p.SetDeadline(time.Now().Add(4 * patience))
			p.expect("BEGIN; CREATE TEMP TABLE bulk (line text) ON COMMIT DROP", "C(BEGIN) C(CREATE TABLE) Z(T)")
			pid := pidOf(t, p)
			p.query("COPY bulk FROM STDIN")
			if word, _ := p.message(); word != "G" {
				t.Fatalf("COPY was answered with %s", word)
			}
			syscall.Kill(pid, syscall.SIGSTOP)
			sent := make(chan error, 1)
			progress := make(chan struct{}, rows)
			before := heap()
			go func() {
				for range rows / 50 {
					if _, err := p.Write(chunk); err != nil {
						sent <- err
						return
					}
					progress <- struct{}{}
				}
				sent <- nil
			}()
			last := -1
			soon(t, "the upload has come to a halt", func() bool {
				n := len(progress)
				still := n > 0 && n == last
				last = n
				runtime.GC()
				return still
			})
			if grown := heap() - before; grown > maxGrowth {
				t.Errorf("the proxy holds %d bytes for a server that does not read", grown)
			}
			syscall.Kill(pid, syscall.SIGCONT)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			p.send(wire.AppendCopyDone(nil))
			if got, want := p.answer(), fmt.Sprintf("C(COPY %d) Z(T)", rows); got != want {
				t.Errorf("the upload was answered with %s", got)
			}
			if got := p.one("SELECT count(*) || ' ' || sum(length(line)) FROM bulk"); got != fmt.Sprintf("%d %d", rows, rows*999) {
				t.Errorf("%s bytes have arrived", got)
			}
			p.expect("COMMIT", "C(COMMIT) Z(I)")
			p.leave()
		})
	}
}

// TestLargeMessages: a row and a query of 100 MB pass through a proxy that never holds them.
func TestLargeMessages(t *testing.T) {
	f := startPlain(t, nil)
	const size = 100 << 20
	p := f.login(t)
	p.SetDeadline(time.Now().Add(4 * patience))
	before := heap()
	p.query(fmt.Sprintf("SELECT repeat('x', %d)", size))
	soon(t, "PostgreSQL waits for its client", func() bool { return f.count(t, "wait_event = 'ClientWrite'") == 1 })
	if grown := heap() - before; grown > maxGrowth {
		t.Errorf("the proxy holds %d bytes of a long row", grown)
	}
	if word, _ := p.message(); word != "T" {
		t.Fatalf("the long row came as %s", word)
	}
	if n, err := io.CopyN(io.Discard, p, wire.HeaderLen+2+4+size); err != nil {
		t.Fatal(n, err)
	}
	if got := p.answer(); got != "C(SELECT 1) Z(I)" {
		t.Errorf("behind the long row came %s", got)
	}

	head := "SELECT length('"
	tail := "')\x00"
	p.send(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(head)+size+len(tail))), []byte(head))
	part := []byte(strings.Repeat("x", 1<<20))
	for range size / len(part) {
		p.send(part)
	}
	p.send([]byte(tail))
	if got := p.answer(); got != fmt.Sprintf("T D(%d) C(SELECT 1) Z(I)", size) {
		t.Errorf("a long query was answered with %s", got)
	}
}

// TestMostArguments: a statement may have 65,535 arguments, with a name, which follows its client, and without.
func TestMostArguments(t *testing.T) {
	const most = 1<<16 - 1
	types, values := make([]uint32, most), make([][]byte, most)
	for i := range most {
		types[i], values[i] = 25, []byte("text") // pg_catalog.text
	}
	f := startPlain(t, poolOf(1))
	p, other := f.login(t), f.login(t)
	for _, name := range []string{"", "many"} {
		p.tell(parsed, wire.AppendSync(wire.AppendParse(nil, name, fmt.Sprintf("select $%d", most), types...)))
		for range 2 {
			other.expect("DISCARD ALL", "C(DISCARD ALL) Z(I)")
			p.tell("2 D(text) C(SELECT 1) Z(I)", wire.AppendSync(wire.AppendExecute(wire.AppendBind(nil, "", name, values), "", 0)))
		}
	}
}
