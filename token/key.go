package token

import "time"

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

// Key is one key that may verify tokens, bound to its own algorithms.
type Key struct {
	ID         string   // "kid"; empty when the key has none
	Algorithms []string // what it may verify; never taken from a token

	// Public is an ed25519.PublicKey, *ecdsa.PublicKey, *rsa.PublicKey, or a claimpool.Secret for HS256, HS384, HS512.
	Public any

	NotBefore, NotAfter time.Time // from a certificate; zero when there is no limit
}

// KeySource finds the keys that may have signed a token.
type KeySource interface {
	// Keys returns the candidates for a "kid", or for a token without one when kid is empty. No candidate is an empty
	// list; an error means that the source is down.
	Keys(kid string) ([]Key, error)
}

// Check reports whether the key is fit for its algorithms: the type, the curve, the size.
func (k Key) Check() error { return nil }

// AlgorithmsFor returns the algorithms that a public key may verify when nobody said which.
// There are none for a secret: it must be told.
func AlgorithmsFor(public any) []string { return nil }

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
