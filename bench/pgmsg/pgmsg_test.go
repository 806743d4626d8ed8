package pgmsg

import (
	"fmt"
	"strings"
	"testing"
)

func TestFramerDoesNotCareHowBytesArrive(t *testing.T) {
	var stream []byte
	stream = Append(stream, 'C', String("SELECT 1"))
	stream = Append(stream, 'S')
	stream = AppendError(stream, "42P01", "no such table")
	stream = AppendReady(stream, 'I')
	for size := 1; size <= len(stream); size++ {
		t.Run(fmt.Sprintf("pieces of %d bytes", size), func(t *testing.T) {
			var f Framer
			var got strings.Builder
			for rest := stream; len(rest) > 0; {
				piece := rest[:min(size, len(rest))]
				rest = rest[len(piece):]
				for len(piece) > 0 {
					typ, _, more := f.Next(piece)
					if typ != 0 {
						got.WriteByte(typ)
					}
					piece = more
				}
			}
			if got.String() != "CSEZ" {
				t.Errorf("message types %q, want CSEZ", got.String())
			}
		})
	}
}

func FuzzFramer(f *testing.F) {
	f.Add(AppendReady(AppendQuery(nil, "select 1"), 'I'))
	f.Add([]byte{'Z', 0, 0, 0, 0})
	f.Add([]byte{'Z', 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr Framer
		for len(b) > 0 {
			_, body, rest := fr.Next(b)
			if len(body)+len(rest) > len(b) {
				t.Fatal("more came out than went in")
			}
			b = rest
		}
		ErrorText(b)
	})
}

func TestErrorText(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"whole":     {AppendError(nil, "42P01", "no such table")[HeaderLen:], "42P01 no such table"},
		"cut short": {[]byte("C42P01\x00Mno su"), "42P01 no su"},
		"empty":     {nil, " "},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ErrorText(c.body); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
