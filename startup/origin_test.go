package startup

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// stream is a connection that gives what was written before, a few bytes at a time.
type stream struct {
	net.Conn
	r io.Reader
}

func (s stream) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 3)]) }

func v2(command, family byte, body string) string {
	return originV2 + string([]byte{command, family, byte(len(body) >> 8), byte(len(body))}) + body
}

func TestReadOrigin(t *testing.T) {
	const (
		four = "\xc0\x00\x02\x01" + "\xc6\x33\x64\x01" + "\xdc\x04" + "\x01\xbb"
		six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xdc\x04" + "\x01\xbb"
	)
	for name, test := range map[string]struct{ header, want string }{
		"1, IPv4":             {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324"},
		"1, IPv6":             {"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "[2001:db8::1]:56324"},
		"1, the longest":      {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "invalid AddrPort"},
		"1, unknown":          {"PROXY UNKNOWN\r\n", "invalid AddrPort"},
		"2, IPv4":             {v2(0x21, 0x11, four), "192.0.2.1:56324"},
		"2, IPv6":             {v2(0x21, 0x21, six), "[2001:db8::1]:56324"},
		"2, more about it":    {v2(0x21, 0x11, four+"\x03\x00\x04abcd"), "192.0.2.1:56324"},
		"2, a health check":   {v2(0x20, 0x00, ""), "invalid AddrPort"},
		"2, local with noise": {v2(0x20, 0x11, four), "invalid AddrPort"},
		"2, unspecified":      {v2(0x21, 0x00, ""), "invalid AddrPort"},

		"a start-up packet":     {"\x00\x00\x00\x08\x04\xd2\x16\x2f....", ""},
		"1, too long":           {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		"1, name":               {"PROXY TCP4 localhost 198.51.100.1 56324 443\r\n", ""},
		"1, wrong family":       {"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n", ""},
		"1, mixed families":     {"PROXY TCP6 2001:db8::1 198.51.100.1 56324 443\r\n", ""},
		"1, zone":               {"PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 443\r\n", ""},
		"1, port":               {"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", ""},
		"1, words":              {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 x\r\n", ""},
		"1, no carriage return": {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n" + strings.Repeat(" ", 100), ""},
		"1, cut":                {"PROXY TCP4 192.0.2.1", ""},
		"2, version 1":          {v2(0x11, 0x11, four), ""},
		"2, command":            {v2(0x22, 0x11, four), ""},
		"2, UDP":                {v2(0x21, 0x12, four), ""},
		"2, unix socket":        {v2(0x21, 0x31, strings.Repeat("x", 216)), ""},
		"2, short":              {v2(0x21, 0x11, four[:11]), ""},
		"2, huge":               {v2(0x21, 0x11, strings.Repeat("x", maxOriginBody+1)), ""},
		"2, cut":                {v2(0x21, 0x11, four)[:20], ""},
		"nothing":               {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rest := strings.NewReader(test.header + "behind")
			if test.want == "" {
				rest = strings.NewReader(test.header)
			}
			got, itself, err := ReadOrigin(stream{r: rest})
			if (err == nil) != (test.want != "") || err == nil && got.String() != test.want {
				t.Fatalf("%v, %v; want %s", got, err, test.want)
			}
			if want := strings.Contains(name, "health check") || strings.Contains(name, "local"); itself != want {
				t.Errorf("it speaks for itself: %v", itself)
			}
			if left, _ := io.ReadAll(rest); err == nil && string(left) != "behind" {
				t.Errorf("%q was left", left)
			}
		})
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"))
	f.Add([]byte(v2(0x21, 0x21, strings.Repeat("x", 36))))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, itself, err := ReadOrigin(stream{r: bytes.NewReader(b)})
		if (err != nil || itself) && got != (netip.AddrPort{}) {
			t.Errorf("%v with %v", got, err)
		}
	})
}
