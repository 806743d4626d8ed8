//go:build linux

package load

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// proof is the client side of SCRAM-SHA-256 (RFC 5802, section 3) without channel binding.
type proof struct {
	password string
	nonce    string
	user     string // empty: PostgreSQL takes it from the StartupMessage
}

func newProof(password string) *proof { return &proof{password: password, nonce: rand.Text()} }

func (p *proof) bare() string { return "n=" + p.user + ",r=" + p.nonce }

func (p *proof) first() []byte { return []byte("n,," + p.bare()) }

func (p *proof) final(serverFirst string) ([]byte, error) {
	parts := strings.Split(serverFirst, ",")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "r="+p.nonce) ||
		!strings.HasPrefix(parts[1], "s=") || !strings.HasPrefix(parts[2], "i=") {
		return nil, errors.New("malformed server-first-message")
	}
	salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
	if err != nil {
		return nil, fmt.Errorf("decode salt: %w", err)
	}
	iterations, err := strconv.Atoi(parts[2][2:])
	if err != nil {
		return nil, fmt.Errorf("read iterations: %w", err)
	}
	key, err := clientKey(p.password, salt, iterations)
	if err != nil {
		return nil, err
	}
	stored := sha256.Sum256(key)
	final := "c=biws," + parts[0]
	signature := mac(stored[:], p.bare()+","+serverFirst+","+final)
	subtle.XORBytes(signature, signature, key)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(signature)), nil
}

// clientKeys remembers the slow part (RFC 5802, section 3: ClientKey), as drivers may: a storm is to cost the proxy, not us.
var clientKeys sync.Map

func clientKey(password string, salt []byte, iterations int) ([]byte, error) {
	id := fmt.Sprintf("%s %x %d", password, salt, iterations)
	if key, ok := clientKeys.Load(id); ok {
		return key.([]byte), nil
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	key := mac(salted, "Client Key")
	clientKeys.Store(id, key)
	return key, nil
}

// Verifier returns what a users file holds for a password, in PostgreSQL's form.
func Verifier(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	const iterations = 4096
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive key: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
