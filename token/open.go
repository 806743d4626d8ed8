package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Opener is a private key of ours that issuers encrypt tokens for.
type Opener struct {
	ID      string // "kid"; a key without one is tried for every token
	Private any    // *rsa.PrivateKey for RSA-OAEP-256, *ecdsa.PrivateKey for ECDH-ES
}

// OpenerSource gives the keys that open encrypted tokens; several while they are rotated.
type OpenerSource interface {
	Openers() []Opener
}

// Openers is an OpenerSource of keys that never change.
type Openers []Opener

// Openers gives the keys.
func (o Openers) Openers() []Opener { return o }

// Check reports whether a key is fit to open tokens.
func (o Opener) Check() error {
	switch key := o.Private.(type) {
	case *rsa.PrivateKey:
		return checkRSA(&key.PublicKey)
	case *ecdsa.PrivateKey:
		if curveAlgorithm(key.Curve) == "" {
			return errors.New("the curve of the key is not supported")
		}
		return nil
	}
	return errors.New("the key is neither RSA nor of a NIST curve")
}

// algorithm is the one that the key is for: a key serves one purpose.
func (o Opener) algorithm() jose.KeyAlgorithm {
	switch o.Private.(type) {
	case *rsa.PrivateKey:
		return jose.RSA_OAEP_256
	case *ecdsa.PrivateKey:
		return jose.ECDH_ES
	}
	return ""
}

// isEncrypted reports whether raw has the five parts of a JWE in compact form (RFC 7516, section 7.1).
func isEncrypted(raw []byte) bool { return bytes.Count(raw, []byte(".")) == 4 }

// envelope is the header of a JWE, not believed.
type envelope struct{ alg, enc, kid string }

// open takes a signed token out of an encrypted one (RFC 7519, section 5.2: nested). That it could be opened says nothing of who made
// it: our public key is everybody's.
func open(raw []byte, source OpenerSource) ([]byte, *Refusal) {
	if len(raw) > maxToken {
		return nil, &Refusal{Reason: TooLarge, Text: fmt.Sprintf("the token is longer than %d bytes", maxToken)}
	}
	var keys []Opener
	if source != nil {
		keys = source.Openers()
	}
	if len(keys) == 0 {
		return nil, &Refusal{Reason: Encrypted, Text: "the token is encrypted (five parts, JWE), and there is no key to open it"}
	}
	e, r := readEnvelope(raw)
	if r != nil {
		return nil, r
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(o Opener) bool {
		return string(o.algorithm()) != e.alg || o.ID != "" && e.kid != "" && o.ID != e.kid
	})
	jwe, err := jose.ParseEncryptedCompact(string(raw), []jose.KeyAlgorithm{jose.KeyAlgorithm(e.alg)}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, &Refusal{Reason: Malformed, Text: "the encrypted token is broken"}
	}
	for _, o := range keys[:min(len(keys), maxCandidates)] {
		if inner, err := jwe.Decrypt(o.Private); err == nil {
			return inner, nil
		}
	}
	return nil, &Refusal{Reason: Encrypted, Text: "the token is encrypted, and none of our keys opens it", Detail: "Its kid is " + quoted(e.kid) + "."}
}

// The lengths of AES-GCM's parts (RFC 7518, section 5.3).
const (
	gcmNonce = 12
	gcmTag   = 16
)

// readEnvelope reads the header and judges the form, before anything is decrypted: BASE64URL(header) "." BASE64URL(encrypted key) "."
// BASE64URL(nonce) "." BASE64URL(ciphertext) "." BASE64URL(tag).
func readEnvelope(raw []byte) (e envelope, refused *Refusal) {
	parts := bytes.Split(raw, []byte("."))
	var sizes [5]int
	var header []byte
	for i, name := range []string{"header", "encrypted key", "nonce", "ciphertext", "tag"} {
		part, r := decodePart(name, parts[i])
		if r != nil {
			return e, r
		}
		if sizes[i] = len(part); i == 0 {
			header = part
		}
	}
	if len(header) > maxHeader {
		return e, &Refusal{Reason: TooLarge, Text: fmt.Sprintf("the header is longer than %d bytes", maxHeader)}
	}
	compact, r := scanObject("header", header)
	if r == nil {
		r = ambiguous("header", compact, "alg", "enc", "kid", "cty", "zip", "crit", "epk")
	}
	if r != nil {
		return e, r
	}
	for _, name := range []string{"crit", "b64"} { // RFC 7516, section 4.1.13
		if _, ok := get(compact, name); ok {
			return e, &Refusal{Reason: CriticalHeader, Text: fmt.Sprintf("the header has %q: it asks for an extension that is not supported", name)}
		}
	}
	if _, ok := get(compact, "zip"); ok { // a small token could unpack to a large one, and lengths could tell secrets (RFC 8725, section 3.6)
		return e, &Refusal{Reason: Encrypted, Text: "the token is compressed inside of its encryption, which is not taken"}
	}
	var cty string
	for name, to := range map[string]*string{"alg": &e.alg, "enc": &e.enc, "kid": &e.kid, "cty": &cty} {
		value, ok := get(compact, name)
		if !ok {
			continue
		}
		if *to, ok = text(value); !ok || len(*to) > maxKeyID {
			return e, &Refusal{Reason: Malformed, Text: fmt.Sprintf("the header's %q is not a short string", name)}
		}
	}
	switch {
	case e.alg != string(jose.RSA_OAEP_256) && e.alg != string(jose.ECDH_ES) || e.enc != string(jose.A256GCM):
		return e, &Refusal{Reason: UnknownAlgorithm, Text: "the encryption of the token is not supported: RSA-OAEP-256 or ECDH-ES, with A256GCM",
			Detail: "It has alg " + quoted(e.alg) + " and enc " + quoted(e.enc) + "."}
	case !strings.EqualFold(cty, "JWT"): // RFC 7519, section 5.2
		return e, &Refusal{Reason: WrongType, Text: `the encrypted token does not say that it holds a signed one ("cty": "JWT")`}
	case sizes[2] != gcmNonce || sizes[4] != gcmTag || sizes[3] == 0 || (e.alg == string(jose.ECDH_ES)) != (sizes[1] == 0):
		return e, &Refusal{Reason: Malformed, Text: "the encrypted token has a part of a wrong length"}
	}
	return e, nil
}
