package pgtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"
)

// Issuer signs tokens with EdDSA, with the standard library alone, so that the tests do not check package token with itself.
type Issuer struct {
	Name     string // iss
	Audience string // aud
	KeyID    string // kid
	KeyFile  string // the public key as PEM

	Clock func() time.Time // what its tokens' times are counted from; nil is time.Now

	key ed25519.PrivateKey
}

// NewIssuer makes an issuer with a fresh key.
func NewIssuer(t testing.TB, name string) *Issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{
		Name: name, Audience: "claimpool", KeyID: "k1", key: private,
		KeyFile: WriteFile(t, t.TempDir(), "issuer.pem", pemBlock("PUBLIC KEY", der)),
	}
}

// Now is the time by the issuer's clock.
func (i *Issuer) Now() time.Time {
	if i.Clock == nil {
		return time.Now()
	}
	return i.Clock()
}

// Mint signs a token for a subject that is valid for five minutes. extra adds claims or replaces them; nil removes one.
func (i *Issuer) Mint(subject string, extra map[string]any) string {
	now := i.Now().Unix()
	claims := map[string]any{"iss": i.Name, "aud": i.Audience, "sub": subject, "iat": now, "exp": now + 300}
	maps.Copy(claims, extra)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return i.Sign(map[string]any{"alg": "EdDSA", "kid": i.KeyID, "typ": "JWT"}, claims)
}

// Sign signs any header over any claims: for tokens that must be refused, too.
func (i *Issuer) Sign(header, claims map[string]any) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(input)))
}

func encode(v map[string]any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: the tests' own maps
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
