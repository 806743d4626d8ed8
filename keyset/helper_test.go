package keyset_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	edKey = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	ecKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

// write makes a file in a folder of the test's own and returns its name.
func write(t *testing.T, content []byte, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return name
}

// replace puts another content in a file's place in one step, as careful people do.
func replace(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func pkixPEM(public any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
}

func pkcs8PEM(private any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))})
}

func jwk(key any, kid, alg, use string) string {
	return string(must(json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: use})))
}

// certificate is self-signed with edKey.
func certificate(ca bool, usage x509.KeyUsage) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: ca, BasicConstraintsValid: true, KeyUsage: usage,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, edKey().Public(), edKey()))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// verifies reports whether the keys accept a token of the signer.
func verifies(t *testing.T, keys token.KeySource, s *token.Signer) bool {
	t.Helper()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	v := &token.Verifier{Keys: keys, Clock: func() time.Time { return now }}
	raw, err := s.Sign([]byte(`{"sub":"alice","exp":1795262460}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(raw)
	return err == nil
}

func signer(alg, kid string, private any) *token.Signer {
	return must(token.NewSigner(alg, kid, private))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func load(specs ...keyset.Spec) (*keyset.Files, error) { return keyset.Load(specs) }
