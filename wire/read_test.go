package wire_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

func TestHeader(t *testing.T) {
	tests := []struct {
		name string
		in   string
		typ  byte
		n    int
		ok   bool
		err  bool
	}{
		{"nothing", "", 0, 0, false, false},
		{"four bytes", "Q\x00\x00\x00", 0, 0, false, false},
		{"empty body", "S\x00\x00\x00\x04", 'S', 0, true, false},
		{"body not there yet", "Q\x00\x00\x00\x0d", 'Q', 9, true, false},
		{"length 0", "Q\x00\x00\x00\x00", 0, 0, false, true},
		{"length 3", "Q\x00\x00\x00\x03", 0, 0, false, true},
		{"the longest", "d\x40\x00\x00\x04", 'd', wire.MaxMessage, true, false},
		{"one more", "d\x40\x00\x00\x05", 0, 0, false, true},
		{"the highest signed number", "d\x7f\xff\xff\xff", 0, 0, false, true},
		{"negative", "d\xff\xff\xff\xff", 0, 0, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			typ, n, ok, err := wire.Header([]byte(tt.in))
			if typ != tt.typ || n != tt.n || ok != tt.ok || (err != nil) != tt.err {
				t.Errorf("got %q, %d, %v, %v", typ, n, ok, err)
			}
			if err != nil && claimpool.AsError(err).Code != claimpool.CodeProtocolViolation {
				t.Errorf("code of %v", err)
			}
		})
	}
}

func TestReadMessage(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 20_000)
	tests := []struct {
		name  string
		in    []byte
		limit int
		body  []byte
		err   error
	}{
		{"empty body", []byte("S\x00\x00\x00\x04"), 0, []byte{}, nil},
		{"as long as allowed", wire.AppendQuery(nil, "abc"), 4, []byte("abc\x00"), nil},
		{"longer than allowed", wire.AppendQuery(nil, "abc"), 3, nil, wire.ErrLength},
		{"many chunks", wire.AppendCopyData(nil, long), len(long), long, nil},
		{"end between messages", nil, 10, nil, io.EOF},
		{"end in the header", []byte("Q\x00\x00"), 10, nil, io.ErrUnexpectedEOF},
		{"end before the body", []byte("Q\x00\x00\x00\x08"), 10, nil, io.ErrUnexpectedEOF},
		{"end in the body", []byte("Q\x00\x00\x00\x08ab"), 10, nil, io.ErrUnexpectedEOF},
		{"length below 4", []byte("Q\x00\x00\x00\x03"), 10, nil, wire.ErrLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := bytes.NewReader(append(bytes.Clone(tt.in), "rest"...))
			if tt.err == io.EOF || tt.err == io.ErrUnexpectedEOF {
				whole = bytes.NewReader(tt.in)
			}
			_, body, err := wire.ReadMessage(iotest.OneByteReader(whole), tt.limit)
			if !errors.Is(err, tt.err) || !bytes.Equal(body, tt.body) {
				t.Fatalf("got %d bytes, %v; want %d bytes, %v", len(body), err, len(tt.body), tt.err)
			}
			if rest, _ := io.ReadAll(whole); err == nil && string(rest) != "rest" {
				t.Errorf("read too far: %q is left", rest)
			}
		})
	}
}

// TestAttackAnnouncedLength: the attacker announces a message of the greatest length that is allowed, and sends nothing.
//
// Must: It must cost us little memory.
func TestAttackAnnouncedLength(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := wire.ReadMessage(bytes.NewReader([]byte("d\x40\x00\x00\x04")), wire.MaxMessage)
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// FuzzReadMessage reads any bytes: header and reader must agree, and the message must be what was sent.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x08abc\x00"), 100)
	f.Add([]byte("Q\xff\xff\xff\xff"), 100)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit %= 1 << 16
		r := bytes.NewReader(in)
		typ, body, err := wire.ReadMessage(r, limit)
		htyp, n, ok, herr := wire.Header(in)
		if err == nil {
			if !ok || herr != nil || htyp != typ || n != len(body) || n > limit {
				t.Fatalf("header %q %d %v %v, message %q %d", htyp, n, ok, herr, typ, len(body))
			}
			if !bytes.Equal(body, in[5:5+n]) || r.Len() != len(in)-5-n {
				t.Fatal("wrong body")
			}
		} else if ok && n <= limit && len(in) >= 5+n {
			t.Fatalf("whole message refused: %v", err)
		}
	})
}
