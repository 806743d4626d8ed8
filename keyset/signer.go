package keyset

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// LoadSigner reads a private key (PEM: PKCS #8, PKCS #1, SEC 1; a private JWK; or a secret when alg is HS256, HS384 or
// HS512) from a file that nobody else may read. An empty alg takes the JWK's, else the first that fits the key; an empty
// kid takes the JWK's, else the key's thumbprint (none for a secret).
func LoadSigner(file, alg, kid string) (*token.Signer, error) {
	data, info, err := read(file)
	if err != nil {
		return nil, err
	}
	s, err := parseSigner(data, info, alg, kid)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", file, err)
	}
	return s, nil
}

func parseSigner(data []byte, info os.FileInfo, alg, kid string) (*token.Signer, error) {
	if err := checkMode(info); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, errors.New("it is empty")
	case text[0] == '{':
		return signerFromJWK(text, alg, kid)
	case isSecret(alg):
		keys, err := parseSecret(data, []string{alg})
		if err != nil {
			return nil, err
		}
		return token.NewSigner(alg, kid, keys[0].Public)
	}
	private, err := privateFromPEM(text)
	if err != nil {
		return nil, err
	}
	if kid == "" {
		if kid, err = thumbprint(private.Public()); err != nil {
			return nil, err
		}
	}
	return token.NewSigner(alg, kid, private)
}

func signerFromJWK(text []byte, alg, kid string) (*token.Signer, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("read JWK: %w", err)
	}
	if alg == "" {
		alg = jwk.Algorithm
	} else if jwk.Algorithm != "" && !sameAlgorithm(alg, jwk.Algorithm) {
		return nil, fmt.Errorf("the key is for %q, not for %q", jwk.Algorithm, alg)
	}
	if kid == "" {
		kid = jwk.KeyID
	}
	private := jwk.Key
	if secret, ok := private.([]byte); ok {
		private = claimpool.Secret(secret)
	} else if jwk.IsPublic() {
		return nil, errors.New("it holds a public key: a private key is needed to sign")
	} else if kid == "" {
		public := jwk.Public()
		var err error
		if kid, err = thumbprint(public.Key); err != nil {
			return nil, err
		}
	}
	return token.NewSigner(alg, kid, private)
}

func privateFromPEM(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("it holds no private key (PEM, or a JWK; a secret needs its algorithm: HS256, HS384 or HS512)")
		}
		text = rest
		var key any
		var err error
		switch block.Type {
		case "EC PARAMETERS": // openssl ecparam writes it in front
			continue
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted, which is not supported")
		default:
			return nil, fmt.Errorf("the PEM block %q is not a private key", block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("read private key: %w", err)
		}
		private, ok := key.(crypto.Signer)
		if !ok { // X25519
			return nil, errors.New("the key's type cannot sign")
		}
		return private, nil
	}
}
