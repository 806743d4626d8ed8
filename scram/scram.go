// Package scram is SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) as two pure state machines: the asking side,
// which checks a client's proof, and the proving side, which logs in to a server. It does not know sockets, users, or
// where a random nonce comes from.
//
// PostgreSQL's habits are kept where the RFC leaves room: the user name inside of the exchange is ignored (the start-up
// packet has it), authorization identities are refused, and a password that SASLprep cannot prepare is used as it is.
package scram

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The mechanisms' names (RFC 7677, section 3).
const (
	Mechanism     = "SCRAM-SHA-256"
	MechanismPlus = "SCRAM-SHA-256-PLUS"
)

// DefaultIterations is PostgreSQL's default, and the least that RFC 7677, section 4 calls acceptable.
const DefaultIterations = 4096

// keyLen is the length of every key, proof and signature.
const keyLen = sha256.Size

// Our own limits on what a peer sends. CVE-2026-6665: a server's long nonce overflowed a buffer of its client.
const (
	maxMessage    = 8 << 10   // one message of the exchange; a usual one has 100 bytes
	maxNonce      = 1 << 10   // both halves together; a usual one has 48 bytes
	maxSalt       = 1 << 10   // PostgreSQL's has 16 bytes
	maxIterations = 1_000_000 // about half a second; more is a server that wants to keep us busy
)

// What can go wrong. A caller tells them apart with errors.Is; the client must not be able to.
var (
	ErrMalformed = errors.New("malformed SCRAM message")
	ErrBinding   = errors.New("channel binding does not match")
	ErrProof     = errors.New("proof does not match")
	ErrSignature = errors.New("signature of the server does not match")
	ErrOrder     = errors.New("SCRAM step out of order")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// saltedPassword is Hi(Normalize(password), salt, i) of RFC 5802, section 2.2.
func saltedPassword(password, salt []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(sha256.New, prepare(password), salt, iterations, keyLen)
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func clientKey(salted []byte) []byte { return mac(salted, "Client Key") }
func serverKey(salted []byte) []byte { return mac(salted, "Server Key") }

func storedKey(clientKey []byte) []byte {
	h := sha256.Sum256(clientKey)
	return h[:]
}

func xor(a, b []byte) []byte {
	out := make([]byte, keyLen)
	subtle.XORBytes(out, a, b)
	return out
}

// attributes walks over the comma-separated "x=value" list of which every message is made.
//
//	attr-val = ALPHA "=" value         (RFC 5802, section 7)
type attributes struct{ rest string }

// next takes one attribute; ok is false at the end of the message or at something else.
func (a *attributes) next() (name byte, value string, ok bool) {
	text, rest, _ := strings.Cut(a.rest, ",")
	if len(text) < 2 || text[1] != '=' || !isAlpha(text[0]) {
		return 0, "", false
	}
	a.rest = rest
	return text[0], text[2:], true
}

// want takes one attribute that must have the given name.
func (a *attributes) want(name byte) (string, error) {
	got, value, ok := a.next()
	if !ok || got != name {
		return "", malformed("attribute %q expected", string(name))
	}
	return value, nil
}

// skip passes over optional extensions up to the end.
func (a *attributes) skip() error {
	for a.rest != "" {
		if _, _, ok := a.next(); !ok {
			return malformed("extension without a name")
		}
	}
	return nil
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// checkNonce refuses what is not a nonce: one or more printable characters without the comma (RFC 5802, section 7).
func checkNonce(nonce string) error {
	if nonce == "" || len(nonce) > maxNonce {
		return malformed("nonce of %d bytes", len(nonce))
	}
	for i := 0; i < len(nonce); i++ {
		if c := nonce[i]; c < '!' || c > '~' || c == ',' {
			return malformed("nonce with a byte that is not printable")
		}
	}
	return nil
}

// checkMessage refuses what is no text of a sane length. A NUL byte would end the message for a peer written in C.
func checkMessage(message []byte) error {
	if len(message) > maxMessage {
		return malformed("%d bytes", len(message))
	}
	if bytes.IndexByte(message, 0) >= 0 {
		return malformed("NUL byte")
	}
	return nil
}

// decode64 decodes canonical base64 of at most limit bytes. The library's decoder alone would pass over line ends.
func decode64(s string, limit int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, malformed("base64 with a line end")
	}
	if base64.StdEncoding.DecodedLen(len(s)) > limit+2 {
		return nil, malformed("base64 too long")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) > limit {
		return nil, malformed("base64")
	}
	return b, nil
}

// decodeKey decodes a key, proof or signature.
func decodeKey(s string) ([]byte, error) {
	b, err := decode64(s, keyLen)
	if err == nil && len(b) != keyLen {
		err = malformed("key of %d bytes", len(b))
	}
	return b, err
}

// parseIterations reads posit-number of RFC 5802, section 7: no sign, no leading zero.
func parseIterations(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < 1 || n > maxIterations {
		return 0, malformed("iteration count")
	}
	return n, nil
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
