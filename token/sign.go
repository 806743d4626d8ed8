package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
)

// Signer makes tokens: for the command line, the demo and tests.
type Signer struct {
	Type string // the header's "typ"; "" leaves it out

	alg, kid string
	private  any
	public   any
}

// NewSigner makes a signer of tokens with "typ" JWT. private is an ed25519.PrivateKey, *ecdsa.PrivateKey,
// *rsa.PrivateKey, or a claimpool.Secret for HS256, HS384 and HS512. An empty alg takes the first one that fits the key
// (never for a secret); an empty kid leaves it out of the header.
func NewSigner(alg, kid string, private any) (*Signer, error) {
	s := &Signer{Type: "JWT", alg: alg, kid: kid, private: private}
	switch key := private.(type) {
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return nil, errors.New("the Ed25519 key does not have 64 bytes")
		}
		s.public = key.Public()
	case *ecdsa.PrivateKey:
		s.public = &key.PublicKey
	case *rsa.PrivateKey:
		s.public = &key.PublicKey
	case claimpool.Secret:
		s.public = key
	default:
		return nil, fmt.Errorf("keys of type %T cannot sign", private)
	}
	if s.alg == "" {
		own := AlgorithmsFor(s.public)
		if len(own) == 0 {
			return nil, errors.New("an algorithm must be given for this key")
		}
		s.alg = own[0]
	}
	if err := s.Key().Check(); err != nil {
		return nil, err
	}
	return s, nil
}

// Key returns what verifies this signer's tokens. For a secret it is the secret itself.
func (s *Signer) Key() Key { return Key{ID: s.kid, Algorithms: []string{s.alg}, Public: s.public} }

// Sign returns a token in compact form. claims is the payload's JSON; it is signed as it stands, right or wrong: see
// CheckClaims.
func (s *Signer) Sign(claims []byte) ([]byte, error) {
	if s.alg == AlgEd25519 {
		return s.signEd25519(claims)
	}
	opts := &jose.SignerOptions{}
	if s.kid != "" {
		opts.WithHeader("kid", s.kid)
	}
	if s.Type != "" {
		opts.WithType(jose.ContentType(s.Type))
	}
	private := s.private
	if secret, ok := private.(claimpool.Secret); ok {
		private = []byte(secret)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(s.alg), Key: private}, opts)
	if err != nil {
		return nil, fmt.Errorf("make signer: %w", err)
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	compact, err := jws.CompactSerialize()
	return []byte(compact), err
}

// signEd25519 writes the newer name of RFC 9864, which go-jose does not know.
func (s *Signer) signEd25519(claims []byte) ([]byte, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid,omitempty"`
		Typ string `json:"typ,omitempty"`
	}{s.alg, s.kid, s.Type})
	if err != nil {
		return nil, fmt.Errorf("write header: %w", err)
	}
	out := base64.RawURLEncoding.AppendEncode(nil, header)
	out = append(out, '.')
	out = base64.RawURLEncoding.AppendEncode(out, claims)
	signature, err := s.private.(ed25519.PrivateKey).Sign(nil, out, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out = append(out, '.')
	return base64.RawURLEncoding.AppendEncode(out, signature), nil
}
