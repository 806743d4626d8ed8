package judge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
)

// PAM is an authenticator behind a unix socket that judges passwords, by PAM or as it likes. The protocol is that of Odyssey's external
// authentication; all lengths are unsigned 64-bit numbers, the lowest byte first:
//
//	us:   length, user name, a zero byte      (the length counts the zero byte)
//	      length, password, a zero byte
//	it:   1, one byte: 1 for yes
//	      and after a yes: length, the name by which it knows the user, with or without a zero byte
//
// There is one question for each connection.
type PAM struct {
	Socket  string
	Timeout time.Duration // of the whole question; zero means maxPAM
}

const (
	// maxPAM is how long an authenticator has: PAM sleeps for two seconds after a wrong password.
	maxPAM = 10 * time.Second
	// maxName bounds the name that comes back.
	maxName = 4096
)

// Check asks the authenticator. denied says that an error is its own answer.
func (p *PAM) Check(ctx context.Context, user string, password claimpool.Secret) (name string, denied bool, err error) {
	if len(password) == 0 || user == "" || len(user) > maxUser || strings.ContainsRune(user+string(password), 0) {
		return "", true, errors.New("the user name or the password is empty, too long, or has a zero byte")
	}
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = maxPAM
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", p.Socket)
	if err != nil {
		return "", false, fmt.Errorf("reach the authenticator: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b := appendText(nil, []byte(user))
	b = appendText(b, password)
	defer clear(b)
	if _, err := c.Write(b); err != nil {
		return "", false, fmt.Errorf("ask the authenticator: %w", err)
	}
	name, yes, err := readVerdict(c)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("read the authenticator's answer: %w", err)
	case !yes:
		return "", true, errors.New("the authenticator says no")
	}
	return name, false, nil
}

func appendText(b, text []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(text))+1)
	return append(append(b, text...), 0)
}

// readVerdict reads the answer. Anything but a whole yes is none.
func readVerdict(r io.Reader) (name string, yes bool, err error) {
	word, err := readText(r, 1)
	if err != nil {
		return "", false, err
	}
	if len(word) != 1 {
		return "", false, errors.New("the answer is not one byte")
	}
	if word[0] != 1 {
		return "", false, nil
	}
	text, err := readText(r, maxName)
	if err != nil {
		return "", false, err
	}
	name = strings.TrimSuffix(string(text), "\x00")
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", false, errors.New("the name that came back is no text")
	}
	return name, true, nil
}

func readText(r io.Reader, limit uint64) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > limit {
		return nil, fmt.Errorf("a text of %d bytes, more than %d", n, limit)
	}
	text := make([]byte, n)
	_, err := io.ReadFull(r, text)
	return text, err
}
