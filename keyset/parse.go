package keyset

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// maxKeys bounds one file: every key without a kid is a signature to check for every token.
const maxKeys = 100

var errPrivate = errors.New("it holds a private key, which nobody but the issuer should have: put the public key here")

// parse finds out what a file is, and reads it.
func parse(spec Spec, data []byte, info os.FileInfo) (keys []token.Key, skipped []Skip, err error) {
	secret, err := wantsSecret(spec.Algorithms)
	if err != nil {
		return nil, nil, err
	}
	if secret {
		if err := checkMode(info); err != nil {
			return nil, nil, err
		}
	}
	switch text := bytes.TrimSpace(data); {
	case len(text) == 0:
		return nil, nil, errors.New("it is empty")
	case text[0] == '{':
		keys, skipped, err = ParseJWKS(text, spec.Algorithms)
	case secret:
		keys, err = parseSecret(data, spec.Algorithms)
	case bytes.Contains(text, []byte("-----BEGIN ")):
		keys, skipped, err = parsePEM(text, spec.Algorithms)
	default:
		err = errors.New("it is neither PEM nor a JWK nor a JWK Set (a secret needs its algorithm: HS256, HS384 or HS512)")
	}
	if err != nil || spec.KID == "" {
		return keys, skipped, err
	}
	for i, k := range keys {
		if len(keys) > 1 {
			return nil, nil, errors.New("a kid is given, but it has several keys")
		}
		if k.ID != "" && k.ID != spec.KID {
			return nil, nil, fmt.Errorf("the kid %q is given, but the key says %q", spec.KID, k.ID)
		}
		keys[i].ID = spec.KID
	}
	return keys, skipped, nil
}

// wantsSecret reports whether the algorithms are those of a secret. Both kinds for one file are refused: it is the first
// step of every confusion between a public key and a secret.
func wantsSecret(algs []string) (bool, error) {
	secrets := 0
	for _, alg := range algs {
		if !slices.Contains(token.Algorithms(), alg) {
			return false, fmt.Errorf("algorithm %q is not supported: one of %s is expected", alg, strings.Join(token.Algorithms(), ", "))
		}
		if isSecret(alg) {
			secrets++
		}
	}
	if secrets > 0 && secrets < len(algs) {
		return false, errors.New("its algorithms mix those of a secret (HS) with those of a public key")
	}
	return secrets > 0, nil
}

func isSecret(alg string) bool { return strings.HasPrefix(alg, "HS") }

// checkMode refuses a secret that others can read, or that the group can change: whoever reads it can sign.
func checkMode(info os.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("its mode is %#o: a secret must not be open to others (chmod 600, or 640 for a group)", mode)
	}
	return nil
}

// parseSecret takes a file's bytes as they are, without one line break at the end. Whatever looks like a key of another
// kind is refused: a public key as a secret is known to everybody (CVE-2026-34950: a space before the PEM was enough).
func parseSecret(data []byte, algs []string) ([]token.Key, error) {
	if bytes.Contains(data, []byte("-----BEGIN")) || bytes.HasPrefix(bytes.TrimSpace(data), []byte("ssh-")) || isDER(data) {
		return nil, errors.New("it is a key of another kind, not a secret")
	}
	secret := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	key := token.Key{Algorithms: slices.Clone(algs), Public: claimpool.Secret(slices.Clone(secret))}
	return []token.Key{key}, key.Check()
}

func isDER(data []byte) bool {
	_, pkix := x509.ParsePKIXPublicKey(data)
	_, pkcs1 := x509.ParsePKCS1PublicKey(data)
	_, cert := x509.ParseCertificate(data)
	return pkix == nil || pkcs1 == nil || cert == nil
}

// parsePEM reads public keys (PKIX, PKCS #1) and certificates. Of several certificates those of authorities are left
// out, except the first: they belong to the chain of the first and sign no tokens.
func parsePEM(data []byte, algs []string) (keys []token.Key, skipped []Skip, err error) {
	for first := true; len(bytes.TrimSpace(data)) > 0; first = false {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, nil, errors.New("it has a broken PEM block")
		}
		data = rest
		key, err := parseBlock(block, first)
		switch {
		case errors.Is(err, errPrivate):
			return nil, nil, err
		case err == nil:
			key, err = narrow(key, algs)
		}
		if err != nil {
			skipped = append(skipped, Skip{Reason: err.Error()})
			continue
		}
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, nil, fmt.Errorf("it has more than %d keys", maxKeys)
		}
	}
	return keys, skipped, nil
}

func parseBlock(block *pem.Block, first bool) (token.Key, error) {
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return token.Key{}, errPrivate
	}
	switch block.Type {
	case "PUBLIC KEY":
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		return token.Key{Public: public}, err
	case "RSA PUBLIC KEY":
		public, err := x509.ParsePKCS1PublicKey(block.Bytes)
		return token.Key{Public: public}, err
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return token.Key{}, err
		case cert.IsCA && !first:
			return token.Key{}, errors.New("the certificate is that of an authority")
		case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
			return token.Key{}, errors.New("the certificate is not meant for signatures")
		}
		return token.Key{Public: cert.PublicKey, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}, nil
	}
	return token.Key{}, fmt.Errorf("the PEM block %q is not a public key", block.Type)
}

// narrow gives a key its algorithms: its own, and of these only the given ones when there are any.
func narrow(key token.Key, algs []string) (token.Key, error) {
	if key.Algorithms == nil {
		key.Algorithms = token.AlgorithmsFor(key.Public)
	}
	if len(algs) > 0 && len(key.Algorithms) > 0 {
		key.Algorithms = slices.DeleteFunc(slices.Clone(key.Algorithms), func(own string) bool {
			return !slices.ContainsFunc(algs, func(alg string) bool { return sameAlgorithm(own, alg) })
		})
		if len(key.Algorithms) == 0 {
			return key, fmt.Errorf("the key cannot be used with %s", strings.Join(algs, ", "))
		}
	}
	if key.Algorithms == nil {
		return key, errors.New("the key's type or curve is not supported")
	}
	return key, key.Check()
}

// sameAlgorithm knows that Ed25519 has two names (RFC 9864).
func sameAlgorithm(a, b string) bool { return a == b || isEd25519(a) && isEd25519(b) }

func isEd25519(alg string) bool { return alg == token.AlgEdDSA || alg == token.AlgEd25519 }
