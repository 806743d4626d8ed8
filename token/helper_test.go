package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// The tests' world: one issuer, one moment.
const (
	issuer   = "https://issuer.example"
	audience = "claimpool"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) // 1795262400

func clock() time.Time { return now }

const goodClaims = `{"iss":"https://issuer.example","sub":"alice","aud":"claimpool","exp":1795262460,"iat":1795262390,"tenant_id":12345678901234567890}`

// Private keys are made once: RSA takes its time.
var (
	edKey   = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	p256Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	secret  = claimpool.Secret(strings.Repeat("0123456789abcdef", 4))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rules are what the tests' verifier asks for.
func rules() token.Rules {
	return token.Rules{Issuer: issuer, Audience: []string{audience}}
}

func verifier(keys ...token.Key) *token.Verifier {
	return &token.Verifier{Rules: rules(), Keys: token.Keys(keys), Clock: clock}
}

// edVerifier knows the public half of edKey.
func edVerifier() *token.Verifier {
	return verifier(token.Key{ID: "ed", Algorithms: []string{token.AlgEdDSA}, Public: edKey().Public()})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// join makes a token of a header and a payload that are taken as they stand.
func join(header, payload string, sign func(input []byte) []byte) []byte {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return []byte(input + "." + b64(sign([]byte(input))))
}

// edToken is signed with edKey whatever its header says.
func edToken(header, payload string) []byte {
	return join(header, payload, func(in []byte) []byte { return ed25519.Sign(edKey(), in) })
}

// claims signs a payload with a good header.
func claims(payload string) []byte { return edToken(`{"alg":"EdDSA","kid":"ed"}`, payload) }

func signHMAC(hash crypto.Hash, key []byte) func([]byte) []byte {
	return func(in []byte) []byte {
		h := hmac.New(hash.New, key)
		h.Write(in)
		return h.Sum(nil)
	}
}

// signECDSA writes r and s side by side (RFC 7518, section 3.4).
func signECDSA(hash crypto.Hash, key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(in []byte) []byte {
		h := hash.New()
		h.Write(in)
		r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
		if err != nil {
			panic(err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
}

func signRSA(key *rsa.PrivateKey) func([]byte) []byte {
	return func(in []byte) []byte {
		h := crypto.SHA256.New()
		h.Write(in)
		return must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, h.Sum(nil)))
	}
}

// wantReason fails the test unless err is a refusal for the reason, whose text holds no value of a claim.
func wantReason(t *testing.T, err error, want token.Reason) {
	t.Helper()
	var r *token.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal for %s", err, want)
	}
	if r.Reason != want {
		t.Fatalf("refused for %s (%s %s), want %s", r.Reason, r.Text, r.Detail, want)
	}
	if r.Text == "" || r.Reason.Advice() == "" {
		t.Errorf("reason %s has no text or no advice", r.Reason)
	}
	for _, value := range []string{"alice", "12345678901234567890"} {
		if strings.Contains(r.Error(), value) {
			t.Errorf("the text for the log shows a claim: %s", r.Error())
		}
	}
}
