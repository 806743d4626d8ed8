// Package keyset finds the keys that verify tokens: PEM and certificate files, JWK and JWKS files, secret files; it reads
// them again when they change. It does not know what a token claims.
package keyset

import (
	"context"
	"errors"
	"time"

	"github.com/claimpool/claimpool/token"
)

// Spec names one file of keys.
type Spec struct {
	File string

	// Algorithms narrows what the keys of this file may verify. Empty means each key's own: from its JWK "alg", else
	// from its type. HS256, HS384 and HS512 must be named here: a file is read as a secret only when they are.
	Algorithms []string

	// KID is for files that cannot say it themselves (PEM, certificates, secrets).
	KID string
}

// Skip is a key that was left out, and why.
type Skip struct {
	File, KID, Reason string
}

// Files is a token.KeySource over files. It is safe for concurrent use.
type Files struct{}

// Load reads all files. A file that cannot be used is an error; a key that cannot be used is left out, see Skipped.
func Load(specs []Spec) (*Files, error) {
	return nil, errors.New("not there yet")
}

// Keys returns the candidates for a kid (token.KeySource).
func (f *Files) Keys(kid string) ([]token.Key, error) { return nil, nil }

// All returns every key, in the order of the files.
func (f *Files) All() []token.Key { return nil }

// Skipped lists the keys that were left out when the files were last read, and why.
func (f *Files) Skipped() []Skip { return nil }

// Refresh reads the files again when one of them has changed. When something is wrong with the new ones, the old keys
// stay, and the error says what.
func (f *Files) Refresh() (changed bool, err error) { return false, nil }

// Watch calls Refresh at every interval until ctx ends; onChange is called after every change and every new error (nil
// when the new keys are in place).
func (f *Files) Watch(ctx context.Context, interval time.Duration, onChange func(error)) {}

// Pair is a new key: the private half as a file's content, the public half as a file's content, and the key itself.
type Pair struct {
	Private []byte // PKCS #8 in PEM, or the secret's text: for a file with mode 0600
	Public  []byte // PKIX in PEM; nil for a secret
	JWK     []byte // the public half as a JWK; nil for a secret
	KID     string // RFC 7638 thumbprint; for a secret 16 random bytes
	Signer  *token.Signer
}

// Generate makes a new key for an algorithm.
func Generate(alg string) (*Pair, error) { return nil, errors.New("not there yet") }

// LoadSigner reads a private key (PEM: PKCS #8, PKCS #1, SEC 1; a private JWK; or a secret when alg is HS256, HS384 or
// HS512). An empty alg takes the key's first own algorithm; an empty kid takes the JWK's.
func LoadSigner(file, alg, kid string) (*token.Signer, error) {
	return nil, errors.New("not there yet")
}

// PublicJWKS returns a JWK Set of public keys; secrets are refused.
func PublicJWKS(keys []token.Key) ([]byte, error) { return nil, errors.New("not there yet") }
