//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/load"
)

// Names and secrets that both proxies are told and the clients use. They protect nothing.
const (
	scramPassword = "bench-password"
	tokenIssuer   = "https://bench.invalid"
	tokenAudience = "bench"
)

// maxTokens is how many identities there are in a trial with many.
const maxTokens = 64

// tokenCounts are the numbers of identities for which there is a file of tokens.
var tokenCounts = []int{1, 10, maxTokens, 200}

// writeCredentials fills dir with all that logins need: a certificate for the proxies, a users file, the key of an issuer,
// files with its tokens, and the key that seals contexts, which the fake server does not look at.
func writeCredentials(dir string) error {
	if err := writeCertificate(dir); err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if _, err := put(dir, "context.key", []byte("k1:"+strings.Repeat("5eed", 16)+"\n"), 0o600); err != nil {
		return err
	}
	verifier, err := load.Verifier(scramPassword)
	if err != nil {
		return err
	}
	users := fmt.Sprintf("%q %q\n%q %q\n", "bench", "unused", "scram", verifier)
	if _, err := put(dir, "userlist.txt", []byte(users), 0o600); err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	if _, err := put(dir, "issuer.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		return err
	}
	for _, n := range tokenCounts {
		var lines strings.Builder
		for i := range n {
			fmt.Fprintln(&lines, mint(private, i, tokenIssuer, 24*time.Hour))
		}
		if err := os.WriteFile(tokenFile(dir, n), []byte(lines.String()), 0o600); err != nil {
			return err
		}
	}
	return writeBadTokens(dir, private)
}

// writeBadTokens writes tokens that must be refused, one kind after the other: of somebody else's key, ended, of an issuer that nobody
// knows, and none at all.
func writeBadTokens(dir string, key ed25519.PrivateKey) error {
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for i := range maxTokens / 4 {
		fmt.Fprintln(&lines, mint(other, i, tokenIssuer, time.Hour))
		fmt.Fprintln(&lines, mint(key, i, tokenIssuer, -time.Hour))
		fmt.Fprintln(&lines, mint(key, i, "https://unknown.invalid", time.Hour))
		fmt.Fprintln(&lines, rand.Text())
	}
	return os.WriteFile(badTokens(dir), []byte(lines.String()), 0o600)
}

func badTokens(dir string) string { return filepath.Join(dir, "tokens-bad") }

func tokenFile(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("tokens-%d", n)) }

// mint signs a token for user i (RFC 7515, section 3.1: compact serialisation; RFC 8037, section 3.1: EdDSA).
func mint(key ed25519.PrivateKey, i int, issuer string, life time.Duration) string {
	b64 := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	signed := b64([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + b64(fmt.Appendf(nil,
		`{"iss":%q,"aud":%q,"sub":"user-%d","tenant_id":%d,"roles":["reader","writer"],"iat":%d,"exp":%d}`,
		issuer, tokenAudience, i, 1000+i, now, now+int64(life/time.Second)))
	return signed + "." + b64(ed25519.Sign(key, []byte(signed)))
}

func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if _, err := put(dir, "tls.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	_, err = put(dir, "tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	return err
}
