package judge_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/judge"
)

// authenticator is a false one: it answers each connection with fixed bytes, after it has read the question.
func authenticator(t *testing.T, answer func(user, password string) []byte) *judge.PAM {
	t.Helper()
	dir, err := os.MkdirTemp("", "claimpool-pam-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			user, password := word(c), word(c)
			if b := answer(user, password); b != nil {
				c.Write(b)
				c.Close()
			} else {
				wg.Go(func() { io.Copy(io.Discard, c); c.Close() }) // silence, until the other side goes
			}
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait(); os.RemoveAll(dir) })
	return &judge.PAM{Socket: l.Addr().String(), Timeout: 30 * time.Second}
}

func word(r io.Reader) string {
	var n uint64
	binary.Read(r, binary.LittleEndian, &n)
	text := make([]byte, min(n, 100_000))
	io.ReadFull(r, text)
	return string(text)
}

func text(s string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...)
}

func TestPAM(t *testing.T) {
	p := authenticator(t, func(user, password string) []byte {
		if user == "anna\x00" && password == "correct\x00" {
			return append(text("\x01"), text("anna@example.com\x00")...)
		}
		return text("\x00")
	})
	if name, denied, err := p.Check(t.Context(), "anna", claimpool.Secret("correct")); name != "anna@example.com" || denied || err != nil {
		t.Errorf("%q %v %v", name, denied, err)
	}
	for _, wrong := range [][2]string{{"anna", "wrong"}, {"evey", "correct"}} {
		if _, denied, err := p.Check(t.Context(), wrong[0], claimpool.Secret(wrong[1])); !denied || err == nil {
			t.Errorf("%s: %v %v", wrong, denied, err)
		}
	}
}

// TestAttackPAMAnswers: the authenticator dies in the middle, or somebody else sits behind its socket; and users write what would end a
// text early.
//
// Must: Nothing but a whole yes is one, nothing long is read, an outage is nobody's fault, and no error shows the password.
// Dialects: none
func TestAttackPAMAnswers(t *testing.T) {
	for name, answer := range map[string][]byte{
		"silence":           nil,
		"nothing":           {},
		"half a yes":        text("\x01")[:8],
		"a yes of no name":  text("\x01"),
		"a yes of 2 bytes":  append(text("\x01\x01"), text("anna")...),
		"no bytes":          append(text(""), text("anna")...),
		"half a name":       append(text("\x01"), text("anna")[:9]...),
		"a huge name":       append(text("\x01"), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"a name of control": append(text("\x01"), text("anna\nroot")...),
		"a name not UTF-8":  append(text("\x01"), text("\xff\xfe")...),
		"HTTP":              []byte("HTTP/1.1 200 OK\r\n\r\n"),
	} {
		p := authenticator(t, func(string, string) []byte { return answer })
		p.Timeout = 500 * time.Millisecond
		begin := time.Now()
		who, denied, err := p.Check(t.Context(), "anna", claimpool.Secret("tell-tale"))
		if err == nil || denied || who != "" || strings.Contains(err.Error(), "tell-tale") || time.Since(begin) > 20*time.Second {
			t.Errorf("%s: %q %v %v", name, who, denied, err)
		}
	}
	yes := authenticator(t, func(string, string) []byte { return append(text("\x01"), text("")...) })
	for _, try := range [][2]string{{"", "x"}, {"anna", ""}, {"anna\x00root", "x"}, {"anna", "x\x00y"}, {strings.Repeat("a", 300), "x"}} {
		if _, denied, err := yes.Check(t.Context(), try[0], claimpool.Secret(try[1])); err == nil || !denied {
			t.Errorf("%q was asked about: %v", try, err)
		}
	}
	if _, denied, err := (&judge.PAM{Socket: "/nowhere/socket"}).Check(t.Context(), "anna", claimpool.Secret("x")); err == nil || denied {
		t.Errorf("no authenticator: %v %v", denied, err)
	}
}
