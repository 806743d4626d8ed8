package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// rsaBits is the size of the RSA keys that we make: 128 bits of strength (NIST SP 800-57).
const rsaBits = 3072

// Pair is a new key: the private half as a file's content, the public half as a file's content, and its signer.
type Pair struct {
	Private []byte // PKCS #8 in PEM, or the secret's text: for a file with mode 0600
	Public  []byte // PKIX in PEM; nil for a secret
	JWK     []byte // the public half as a JWK; nil for a secret
	KID     string // RFC 7638 thumbprint; for a secret 16 random bytes
	Signer  *token.Signer
}

// Generate makes a new key for an algorithm.
func Generate(alg string) (*Pair, error) {
	if !slices.Contains(token.Algorithms(), alg) {
		return nil, unsupported(alg)
	}
	if isSecret(alg) {
		return generateSecret(alg)
	}
	private, err := generatePrivate(alg)
	if err != nil {
		return nil, err
	}
	p := &Pair{}
	if p.KID, err = thumbprint(private.Public()); err != nil {
		return nil, err
	}
	if p.Signer, err = token.NewSigner(alg, p.KID, private); err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("write private key: %w", err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("write public key: %w", err)
	}
	p.Private = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	p.Public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	p.JWK, err = json.MarshalIndent(publicJWK(p.Signer.Key()), "", "  ")
	return p, err
}

func generatePrivate(alg string) (crypto.Signer, error) {
	switch alg {
	case token.AlgEdDSA, token.AlgEd25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case token.AlgES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case token.AlgES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case token.AlgES512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case token.AlgRS256, token.AlgRS384, token.AlgRS512, token.AlgPS256, token.AlgPS384, token.AlgPS512:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, unsupported(alg)
}

func unsupported(alg string) error {
	return fmt.Errorf("algorithm %q is not supported: one of %s is expected", alg, strings.Join(token.Algorithms(), ", "))
}

// generateSecret makes a secret as text, so that it survives editors and environment variables; the text itself is the
// key, and holds as many random bytes as the hash has.
func generateSecret(alg string) (*Pair, error) {
	size := map[string]int{token.AlgHS256: 32, token.AlgHS384: 48, token.AlgHS512: 64}[alg]
	random := make([]byte, size+16)
	rand.Read(random) // never fails: crypto/rand
	text := []byte(base64.RawURLEncoding.EncodeToString(random[16:]))
	p := &Pair{Private: append(text, '\n'), KID: hex.EncodeToString(random[:16])}
	var err error
	p.Signer, err = token.NewSigner(alg, p.KID, claimpool.Secret(text))
	return p, err
}

// thumbprint is the key's name by RFC 7638, with SHA-256.
func thumbprint(public any) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name the key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
