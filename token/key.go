package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
)

// The algorithms that we speak (RFC 7518, section 3.1; RFC 8037; RFC 9864). AlgEd25519 is the newer name of what EdDSA
// with Ed25519 has always been: a key that has one of the two names accepts both.
const (
	AlgEdDSA   = "EdDSA"
	AlgEd25519 = "Ed25519"
	AlgES256   = "ES256"
	AlgES384   = "ES384"
	AlgES512   = "ES512"
	AlgRS256   = "RS256"
	AlgRS384   = "RS384"
	AlgRS512   = "RS512"
	AlgPS256   = "PS256"
	AlgPS384   = "PS384"
	AlgPS512   = "PS512"
	AlgHS256   = "HS256"
	AlgHS384   = "HS384"
	AlgHS512   = "HS512"
)

var algorithms = []string{AlgEdDSA, AlgEd25519, AlgES256, AlgES384, AlgES512, AlgRS256, AlgRS384, AlgRS512,
	AlgPS256, AlgPS384, AlgPS512, AlgHS256, AlgHS384, AlgHS512}

// Algorithms lists the algorithms that we speak.
func Algorithms() []string { return slices.Clone(algorithms) }

// Sizes of RSA keys: RFC 7518, section 3.3 asks for 2048 bits or more. More than maxRSABits makes every verification
// slow, and the key comes from a document that somebody else writes.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// secretBytes is the least length of an HMAC key: that of the hash (RFC 7518, section 3.2).
var secretBytes = map[string]int{AlgHS256: 32, AlgHS384: 48, AlgHS512: 64}

// Key is one key that may verify tokens, bound to its own algorithms.
type Key struct {
	ID         string   // "kid"; empty when the key has none
	Algorithms []string // what it may verify; never taken from a token

	// Public is an ed25519.PublicKey, *ecdsa.PublicKey, *rsa.PublicKey, or a claimpool.Secret for HS256, HS384, HS512.
	Public any

	NotBefore, NotAfter time.Time // from a certificate; zero when there is no limit
}

// KeySource finds the keys that may have signed a token.
//
// It may have a method Waits(kid string) bool, which reports whether Keys may wait for somebody else.
type KeySource interface {
	// Keys returns the candidates for a "kid", or for a token without one when kid is empty. No candidate is an empty
	// list; an error means that the source is down.
	Keys(kid string) ([]Key, error)
}

// Keys is a KeySource of keys that never change.
type Keys []Key

// Keys returns the keys with the given ID and those without an ID; all keys when kid is empty.
func (ks Keys) Keys(kid string) ([]Key, error) {
	var found []Key
	for _, k := range ks {
		if kid == "" || k.ID == "" || k.ID == kid {
			found = append(found, k)
		}
	}
	return found, nil
}

// AlgorithmsFor returns the algorithms that a public key may verify when nobody said which. There are none for a
// secret: what it is for must be said, so that no public key can be taken for one.
func AlgorithmsFor(public any) []string {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return []string{AlgEdDSA, AlgEd25519}
	case *ecdsa.PublicKey:
		if alg := curveAlgorithm(key.Curve); alg != "" {
			return []string{alg}
		}
	case *rsa.PublicKey:
		return []string{AlgRS256, AlgRS384, AlgRS512, AlgPS256, AlgPS384, AlgPS512}
	}
	return nil
}

func curveAlgorithm(curve elliptic.Curve) string {
	switch curve {
	case elliptic.P256():
		return AlgES256
	case elliptic.P384():
		return AlgES384
	case elliptic.P521():
		return AlgES512
	}
	return ""
}

// accepts reports whether the key may verify the algorithm; the two names of Ed25519 are one.
func (k Key) accepts(alg string) bool {
	if alg == AlgEd25519 || alg == AlgEdDSA {
		return slices.Contains(k.Algorithms, AlgEdDSA) || slices.Contains(k.Algorithms, AlgEd25519)
	}
	return slices.Contains(k.Algorithms, alg)
}

// Check reports whether the key is fit for its algorithms: the type, the curve, the size. A key that is not fit never
// verifies anything.
func (k Key) Check() error {
	if len(k.Algorithms) == 0 {
		return errors.New("the key has no algorithm")
	}
	if secret, ok := k.Public.(claimpool.Secret); ok {
		return checkSecret(secret, k.Algorithms)
	}
	own := AlgorithmsFor(k.Public)
	if own == nil {
		return errors.New("the key's type or curve is not supported")
	}
	for _, alg := range k.Algorithms {
		if !slices.Contains(own, alg) {
			return fmt.Errorf("algorithm %s does not fit the key (%s)", quoted(alg), describe(k.Public))
		}
	}
	switch public := k.Public.(type) {
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return errors.New("the Ed25519 key does not have 32 bytes")
		}
	case *ecdsa.PublicKey:
		if _, err := public.ECDH(); err != nil {
			return errors.New("the point is not on the curve")
		}
	case *rsa.PublicKey:
		return checkRSA(public)
	}
	return nil
}

func checkSecret(secret claimpool.Secret, algs []string) error {
	for _, alg := range algs {
		least, ok := secretBytes[alg]
		if !ok {
			return fmt.Errorf("algorithm %s does not fit a secret", quoted(alg))
		}
		if len(secret) < least {
			return fmt.Errorf("the secret has %d bytes; %s needs %d", len(secret), alg, least)
		}
	}
	return nil
}

func checkRSA(key *rsa.PublicKey) error {
	if key == nil || key.N == nil {
		return errors.New("the RSA key is empty")
	}
	switch bits := key.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("the RSA key has %d bits; %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("the RSA key has %d bits; %d are the most", bits, maxRSABits)
	case key.N.Bit(0) == 0:
		return errors.New("the RSA modulus is even")
	case key.E < 3 || key.E%2 == 0: // with e = 1 everybody can sign
		return errors.New("the RSA exponent is not an odd number of 3 or more")
	case isROCA(key.N):
		return errors.New("the RSA key was made by a weak generator (ROCA, CVE-2017-15361)")
	}
	return nil
}

// rocaPrimes are the small primes of which every modulus that Infineon's generator made is a power of 65537.
var rocaPrimes = []int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167}

// isROCA looks for the fingerprint of CVE-2017-15361: such a modulus can be factored.
func isROCA(n *big.Int) bool {
	var rest big.Int
	for _, p := range rocaPrimes {
		want := rest.Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		for power != want {
			power = power * 65537 % p
			if power == 1 {
				return false // went round without meeting it
			}
		}
	}
	return true
}

// describe names a key's type for people.
func describe(public any) string {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return "Ed25519"
	case *ecdsa.PublicKey:
		return "EC " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bits", key.N.BitLen())
	case claimpool.Secret:
		return "secret"
	}
	return "unknown"
}
