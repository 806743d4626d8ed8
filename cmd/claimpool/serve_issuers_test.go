package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/pgtest"
)

// encrypt puts a signed token into an envelope for a key.
func encrypt(t *testing.T, inner string, key *ecdsa.PrivateKey) string {
	t.Helper()
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: key.Public()}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := e.Encrypt([]byte(inner))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s *stage) privateKey(name string) *ecdsa.PrivateKey {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return key
}

// Encrypted tokens, and an issuer that is asked about each token, beside an issuer with keys.
func TestServeJudgesTokens(t *testing.T) {
	s, p := newStage(t), pgtest.StartPlainProvider(t)
	first, second := s.privateKey("first.key"), s.privateKey("second.key")
	s.put("secret", []byte("pr0xy:&\n"))
	s.settings["more"] = "decryption_keys: [first.key, second.key]"
	s.settings["issuers"] = fmt.Sprintf("  asked: {issuer: %q, audience: claimpool, role: {from: fixed, value: %s}, introspection: {url: %q, client_id: proxy, client_secret: {file: secret}}}\n",
		p.URL, s.role, p.URL+pgtest.IntrospectPath)
	proc := s.serve()
	tries := func(token string) (string, error) {
		c, err := s.dial(proc, s.role, token, "server.test")
		if err != nil {
			return "", err
		}
		defer c.Close(t.Context())
		return s.one(c, whoAmI), nil
	}
	signed := s.issuer.Mint("someone", map[string]any{"tenant_id": "t1"})
	for name, key := range map[string]*ecdsa.PrivateKey{"the first key": first, "the second key": second} {
		if got, err := tries(encrypt(t, signed, key)); err != nil || got != "t1" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	p.Activate("opaque-token", `"sub":"u1","aud":"claimpool","tenant_id":"t2","exp":99999999999`)
	if got, err := tries("opaque-token"); err != nil || got != "t2" {
		t.Errorf("an opaque token: %q %v", got, err)
	}
	p.Activate("opaque-token", "")
	if _, err := tries("opaque-token"); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("taken back: %v", err)
	}
	if line := proc.await("connection refused", 1); !strings.Contains(fmt.Sprint(line["reason"]), "inactive") {
		t.Errorf("logged: %v", line)
	}
	next := s.privateKey("first.key")
	soon(t, "the new key", func() bool { _, err := tries(encrypt(t, signed, next)); return err == nil })
	if _, err := tries(encrypt(t, signed, first)); err == nil {
		t.Error("the old key still opens")
	}
	for _, line := range proc.all() {
		if strings.Contains(line, "opaque-token") || strings.Contains(line, "pr0xy") {
			t.Errorf("a secret is in the log: %s", line)
		}
	}
	proc.signal(syscall.SIGTERM)
	proc.exits()
}
