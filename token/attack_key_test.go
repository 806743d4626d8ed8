package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// Attacks on the choice of the key and of the algorithm.

// publicKeys are verifiers that know one public key each.
func publicKeys() map[string]any {
	return map[string]any{"RSA": &rsaKey().PublicKey, "P-256": &p256Key().PublicKey, "P-384": &p384Key().PublicKey,
		"P-521": &p521Key().PublicKey, "Ed25519": edKey().Public()}
}

// encodings lists the ways to write a public key down as bytes.
func encodings(public any) map[string][]byte {
	pkix := must(x509.MarshalPKIXPublicKey(public))
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	all := map[string][]byte{
		"PKIX DER":            pkix,
		"PEM":                 text,
		"PEM, no line break":  text[:len(text)-1],
		"PEM, leading space":  append([]byte(" "), text...),
		"PEM, CRLF":           []byte(strings.ReplaceAll(string(text), "\n", "\r\n")),
		"base64 of the DER":   []byte(b64(pkix)),
		"JWK":                 must(json.Marshal(jose.JSONWebKey{Key: public})),
		"JWK with kid, alg":   must(json.Marshal(jose.JSONWebKey{Key: public, KeyID: "k", Algorithm: "HS256", Use: "sig"})),
		"nothing":             {},
		"zeros":               make([]byte, 64),
		"the key's own kid":   []byte("k"),
		"the name of its alg": []byte("HS256"),
	}
	switch key := public.(type) {
	case *rsa.PublicKey:
		pkcs1 := x509.MarshalPKCS1PublicKey(key)
		all["PKCS #1 DER"] = pkcs1
		all["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})
		all["modulus"] = key.N.Bytes()
		all["modulus in decimal"] = []byte(key.N.String())
		all["modulus in base64url"] = []byte(b64(key.N.Bytes()))
	case *ecdsa.PublicKey:
		point := must(key.ECDH()).Bytes()
		all["point"] = point
		all["x and y"] = point[1:]
		all["x"] = point[1 : len(point)/2+1]
	case ed25519.PublicKey:
		all["raw"] = key
		all["raw in base64url"] = []byte(b64(key))
	}
	return all
}

// TestAttackPublicKeyAsSecret: the attacker has the public key, as everybody does. He writes alg HS256 into the header and
// signs with the public key's bytes, in every form in which a verifier might hold them (CVE-2015-9235, CVE-2016-10555,
// CVE-2022-29217, CVE-2024-54150).
//
// Must: It is refused for its algorithm, before anything is computed with the key.
func TestAttackPublicKeyAsSecret(t *testing.T) {
	hashes := map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512}
	for kind, public := range publicKeys() {
		v := verifier(token.Key{ID: "k", Algorithms: token.AlgorithmsFor(public), Public: public})
		for form, bytes := range encodings(public) {
			for alg, hash := range hashes {
				t.Run(kind+"/"+form+"/"+alg, func(t *testing.T) {
					raw := join(`{"alg":"`+alg+`","kid":"k"}`, goodClaims, signHMAC(hash, bytes))
					_, err := v.Verify(raw)
					wantReason(t, err, token.WrongAlgorithm)
				})
			}
		}
	}
}

// TestAttackNone: the attacker has nothing. He says that the token is not signed, in every spelling, with no signature or with
// that of another token (CVE-2015-9235, CVE-2022-23540).
//
// Must: An unsigned token is refused in every spelling.
func TestAttackNone(t *testing.T) {
	good := claims(goodClaims)
	signature := good[strings.LastIndexByte(string(good), '.')+1:]
	for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
		for _, sig := range []string{"", string(signature), "AA"} {
			raw := b64([]byte(`{"alg":"`+alg+`","kid":"ed"}`)) + "." + b64([]byte(goodClaims)) + "." + sig
			t.Run(alg+"/"+fmt.Sprint(len(sig)), func(t *testing.T) {
				_, err := edVerifier().Verify([]byte(raw))
				wantReason(t, err, token.Unsecured)
			})
		}
	}
}

// TestAttackAlgorithmName: the attacker spells an algorithm so that one reader takes it for nothing and another for something.
//
// Must: Only the registered spelling is an algorithm.
func TestAttackAlgorithmName(t *testing.T) {
	for header, want := range map[string]token.Reason{
		`{"kid":"ed"}`:                       token.Malformed,
		`{"alg":"","kid":"ed"}`:              token.Malformed,
		`{"alg":null,"kid":"ed"}`:            token.Malformed,
		`{"alg":["EdDSA"],"kid":"ed"}`:       token.Malformed,
		`{"alg":0,"kid":"ed"}`:               token.Malformed,
		`{"alg":"eddsa","kid":"ed"}`:         token.UnknownAlgorithm,
		`{"alg":"EdDSA ","kid":"ed"}`:        token.UnknownAlgorithm,
		`{"alg":"EdDSA\u0009","kid":"ed"}`:   token.UnknownAlgorithm,
		`{"alg":"Ed448","kid":"ed"}`:         token.UnknownAlgorithm,
		`{"alg":"ES256K","kid":"ed"}`:        token.UnknownAlgorithm,
		`{"alg":"RSA-OAEP","kid":"ed"}`:      token.UnknownAlgorithm,
		`{"alg":"dir","kid":"ed"}`:           token.UnknownAlgorithm,
		`{"alg":"ES256","kid":"ed"}`:         token.WrongAlgorithm,
		`{"alg":"RS256","kid":"ed"}`:         token.WrongAlgorithm,
		`{"Alg":"EdDSA","kid":"ed"}`:         token.Malformed,
		`{"alg":"EdDSA","ALG":"none"}`:       token.Malformed,
		`["alg","EdDSA"]`:                    token.Malformed,
		`"EdDSA"`:                            token.Malformed,
		``:                                   token.Malformed,
		`{"alg":"EdDSA","kid":"ed"}{}`:       token.Malformed,
		"\ufeff" + `{"alg":"EdDSA"}`:         token.Malformed,
		`{"alg":"EdDSA","kid":{"a":"ed"}}`:   token.Malformed,
		`{"alg":"EdDSA","kid":"ed","typ":1}`: token.Malformed,
	} {
		t.Run(header, func(t *testing.T) {
			_, err := edVerifier().Verify(edToken(header, goodClaims))
			wantReason(t, err, want)
		})
	}
}

// TestAttackKeyInHeader: the attacker has a key of his own. He signs with it and hands it over in the header: as a JWK
// (CVE-2018-0114), as a certificate, as an address.
//
// Must: No such member is ever believed, and no address is ever asked: the package cannot open a connection.
func TestAttackKeyInHeader(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := string(must(json.Marshal(jose.JSONWebKey{Key: public, KeyID: "ed", Algorithm: "EdDSA", Use: "sig"})))
	full := string(must(json.Marshal(jose.JSONWebKey{Key: private, KeyID: "ed"})))
	for name, member := range map[string]string{
		"jwk":              `"jwk":` + jwk,
		"jwk, private":     `"jwk":` + full,
		"jwk, broken":      `"jwk":{"kty":"RSA","n":"AQ","e":"AQ"}`,
		"jwk, symmetric":   `"jwk":{"kty":"oct","k":"AAAA"}`,
		"jwk set":          `"jwks":{"keys":[` + jwk + `]}`,
		"jku":              `"jku":"http://127.0.0.1:9/jwks.json"`,
		"x5u":              `"x5u":"file:///etc/passwd"`,
		"x5c":              `"x5c":["AAAA"]`,
		"kid and jwk":      `"kid":"ed","jwk":` + jwk,
		"empty kid, jwk":   `"kid":"","jwk":` + jwk,
		"key, certificate": `"key":"x","x5t":"AAAA","x5t#S256":"AAAA"`,
	} {
		t.Run(name, func(t *testing.T) {
			raw := join(`{"alg":"EdDSA",`+member+`}`, goodClaims, func(in []byte) []byte { return ed25519.Sign(private, in) })
			_, err := edVerifier().Verify(raw)
			wantReason(t, err, token.BadSignature)
		})
	}
}

// TestAttackECDSANumbers: the attacker has nothing. He sends numbers for which careless arithmetic says yes (CVE-2022-21449: r
// = s = 0), or the right signature in another form.
//
// Must: No such signature verifies.
func TestAttackECDSANumbers(t *testing.T) {
	key := &p256Key().PublicKey
	v := verifier(token.Key{ID: "k", Algorithms: []string{token.AlgES256}, Public: key})
	n := key.Params().N
	numbers := map[string]*big.Int{"0": big.NewInt(0), "1": big.NewInt(1), "n-1": new(big.Int).Sub(n, big.NewInt(1)), "n": n,
		"n+1": new(big.Int).Add(n, big.NewInt(1)), "p": key.Params().P, "max": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))}
	for rName, r := range numbers {
		for sName, s := range numbers {
			t.Run("r="+rName+",s="+sName, func(t *testing.T) {
				raw := join(`{"alg":"ES256","kid":"k"}`, goodClaims, func([]byte) []byte {
					return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
				})
				_, err := v.Verify(raw)
				wantReason(t, err, token.BadSignature)
			})
		}
	}
	forms := map[string]func(sig []byte) []byte{
		"DER": func(sig []byte) []byte {
			r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
			return must(asn1.Marshal(struct{ R, S *big.Int }{r, s}))
		},
		"a zero in front": func(sig []byte) []byte { return append([]byte{0}, sig...) },
		"a zero behind":   func(sig []byte) []byte { return append(sig, 0) },
		"r only":          func(sig []byte) []byte { return sig[:32] },
		"s and r":         func(sig []byte) []byte { return append(append([]byte{}, sig[32:]...), sig[:32]...) },
		"one byte short":  func(sig []byte) []byte { return sig[:63] },
		"as wide as P-384": func(sig []byte) []byte {
			return append(append(make([]byte, 16), sig[:32]...), append(make([]byte, 16), sig[32:]...)...)
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			raw := join(`{"alg":"ES256","kid":"k"}`, goodClaims, func(in []byte) []byte { return form(signECDSA(crypto.SHA256, p256Key())(in)) })
			_, err := v.Verify(raw)
			wantReason(t, err, token.BadSignature)
		})
	}
}

// TestAttackWrongCurve: the attacker holds a key that is right for one algorithm, and names another: ES256 with a P-384 key,
// which some libraries take.
//
// Must: A key verifies the algorithm of its own curve only, whatever the configuration says.
func TestAttackWrongCurve(t *testing.T) {
	for _, tc := range []struct {
		alg  string
		hash crypto.Hash
		key  *ecdsa.PrivateKey
	}{
		{"ES256", crypto.SHA256, p384Key()}, {"ES256", crypto.SHA256, p521Key()},
		{"ES384", crypto.SHA384, p256Key()}, {"ES384", crypto.SHA384, p521Key()},
		{"ES512", crypto.SHA512, p256Key()}, {"ES512", crypto.SHA512, p384Key()},
	} {
		t.Run(tc.alg+" with "+tc.key.Params().Name, func(t *testing.T) {
			raw := join(`{"alg":"`+tc.alg+`","kid":"k"}`, goodClaims, signECDSA(tc.hash, tc.key))
			_, err := verifier(token.Key{ID: "k", Algorithms: token.AlgorithmsFor(&tc.key.PublicKey), Public: &tc.key.PublicKey}).Verify(raw)
			wantReason(t, err, token.WrongAlgorithm)
			_, err = verifier(token.Key{ID: "k", Algorithms: []string{tc.alg}, Public: &tc.key.PublicKey}).Verify(raw)
			wantReason(t, err, token.WrongAlgorithm)
		})
	}
}

// TestAttackSiblingAlgorithm: the attacker has a token that the issuer signed with the right key, but with an algorithm that
// this key is not for (RFC 8725, section 3.1).
//
// Must: It is refused: a key is for its own algorithm.
func TestAttackSiblingAlgorithm(t *testing.T) {
	raw := join(`{"alg":"RS256","kid":"k"}`, goodClaims, signRSA(rsaKey()))
	if _, err := verifier(token.Key{ID: "k", Algorithms: []string{token.AlgRS256}, Public: &rsaKey().PublicKey}).Verify(raw); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{token.AlgRS384, token.AlgPS256, token.AlgHS256, token.AlgEdDSA, "RS256 ", ""} {
		_, err := verifier(token.Key{ID: "k", Algorithms: []string{alg}, Public: &rsaKey().PublicKey}).Verify(raw)
		wantReason(t, err, token.WrongAlgorithm)
	}
	_, err := verifier(token.Key{ID: "k", Public: &rsaKey().PublicKey}).Verify(raw)
	wantReason(t, err, token.WrongAlgorithm)
}

// TestAttackWeakKey: the attacker finds a key in the configuration that anybody can sign with.
//
// Must: It does not verify anything, not even what was signed with it.
func TestAttackWeakKey(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	one := &rsa.PublicKey{N: rsaKey().N, E: 1}
	for name, key := range map[string]token.Key{
		"RSA with 1024 bits":    {Algorithms: []string{"RS256"}, Public: &small.PublicKey},
		"RSA with e = 1":        {Algorithms: []string{"RS256"}, Public: one},
		"RSA with e = 2":        {Algorithms: []string{"RS256"}, Public: &rsa.PublicKey{N: rsaKey().N, E: 2}},
		"RSA with even n":       {Algorithms: []string{"RS256"}, Public: &rsa.PublicKey{N: new(big.Int).Add(rsaKey().N, big.NewInt(1)), E: 65537}},
		"RSA with 16384 bits":   {Algorithms: []string{"RS256"}, Public: &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 16383), big.NewInt(1)), E: 65537}},
		"RSA without n":         {Algorithms: []string{"RS256"}, Public: &rsa.PublicKey{E: 65537}},
		"short secret, HS256":   {Algorithms: []string{"HS256"}, Public: claimpool.Secret(strings.Repeat("x", 31))},
		"short secret, HS384":   {Algorithms: []string{"HS384"}, Public: claimpool.Secret(strings.Repeat("x", 47))},
		"short secret, HS512":   {Algorithms: []string{"HS512"}, Public: claimpool.Secret(strings.Repeat("x", 63))},
		"empty secret":          {Algorithms: []string{"HS256"}, Public: claimpool.Secret("")},
		"secret for RS256":      {Algorithms: []string{"RS256"}, Public: secret},
		"bytes, not a Secret":   {Algorithms: []string{"HS256"}, Public: []byte(secret)},
		"short Ed25519 key":     {Algorithms: []string{"EdDSA"}, Public: ed25519.PublicKey(edKey().Public().(ed25519.PublicKey)[:31])},
		"point off the curve":   {Algorithms: []string{"ES256"}, Public: &ecdsa.PublicKey{Curve: p256Key().Curve, X: big.NewInt(1), Y: big.NewInt(1)}},
		"no algorithm":          {Public: &rsaKey().PublicKey},
		"private key":           {Algorithms: []string{"ES256"}, Public: p256Key()},
		"nothing":               {Algorithms: []string{"ES256"}},
		"one fits, one doesn't": {Algorithms: []string{"RS256", "ES256"}, Public: &rsaKey().PublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			if key.Check() == nil {
				t.Fatal("the key passes its check")
			}
			for _, raw := range [][]byte{
				join(`{"alg":"RS256"}`, goodClaims, signRSA(rsaKey())),
				join(`{"alg":"HS256"}`, goodClaims, signHMAC(crypto.SHA256, []byte(strings.Repeat("x", 31)))),
				join(`{"alg":"HS256"}`, goodClaims, signHMAC(crypto.SHA256, nil)),
				join(`{"alg":"ES256"}`, goodClaims, signECDSA(crypto.SHA256, p256Key())),
			} {
				_, err := verifier(key).Verify(raw)
				wantReason(t, err, token.WrongAlgorithm)
			}
		})
	}
}

// TestAttackKeyID: the attacker writes into "kid" what might be pasted into a path, a query or a log.
//
// Must: It is compared with the known ids, and goes nowhere else.
func TestAttackKeyID(t *testing.T) {
	for _, tc := range []struct {
		name, kid string
		want      token.Reason
	}{
		{"path", "../../dev/null", token.UnknownKey},
		{"SQL", "' OR 1=1--", token.UnknownKey},
		{"null byte", `ed\u0000`, token.Malformed},
		{"another's", "other", token.UnknownKey},
		{"other case", "ED", token.UnknownKey},
		{"space", "ed ", token.UnknownKey},
		{"terminal escape", `\u001b[2J`, token.UnknownKey},
		{"long", strings.Repeat("k", 257), token.TooLarge},
		{"very long", strings.Repeat("k", 20000), token.TooLarge},
		{"a megabyte", strings.Repeat("k", 1<<20), token.TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := edVerifier().Verify(edToken(`{"alg":"EdDSA","kid":"`+tc.kid+`"}`, goodClaims))
			wantReason(t, err, tc.want)
			if strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Error("control characters reach the log")
			}
		})
	}
}

// TestAttackManyKeys: the attacker sends tokens without a "kid" to make us check every key of a large set.
//
// Must: No more than eight are tried.
func TestAttackManyKeys(t *testing.T) {
	var keys []token.Key
	for i := range 20 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, token.Key{ID: fmt.Sprint(i), Algorithms: []string{"EdDSA"}, Public: public})
	}
	own := token.Key{ID: "ed", Algorithms: []string{"EdDSA"}, Public: edKey().Public()}
	raw := edToken(`{"alg":"EdDSA"}`, goodClaims)
	if _, err := verifier(append(keys[:7:7], own)...).Verify(raw); err != nil {
		t.Errorf("as the eighth key: %v", err)
	}
	_, err := verifier(append(keys[:8:8], own)...).Verify(raw)
	wantReason(t, err, token.BadSignature)
	if _, err := verifier(append(keys, own)...).Verify(claims(goodClaims)); err != nil {
		t.Errorf("with its kid: %v", err)
	}
}

type downSource struct{}

func (downSource) Keys(string) ([]token.Key, error) { return nil, errors.New("connection refused") }

// TestAttackKeySourceDown: the attacker waits until the keys cannot be had.
//
// Must: Nothing is accepted then, and the reason is not the client's fault.
func TestAttackKeySourceDown(t *testing.T) {
	v := &token.Verifier{Rules: rules(), Keys: downSource{}, Clock: clock}
	_, err := v.Verify(claims(goodClaims))
	wantReason(t, err, token.KeysUnavailable)
	if !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestAttackOldCertificate: the attacker has the private key of a certificate that is no longer valid, or not yet.
//
// Must: What it has signed is refused.
func TestAttackOldCertificate(t *testing.T) {
	key := token.Key{ID: "ed", Algorithms: []string{"EdDSA"}, Public: edKey().Public()}
	key.NotBefore, key.NotAfter = now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)
	if _, err := verifier(key).Verify(claims(goodClaims)); err != nil {
		t.Fatal(err)
	}
	key.NotAfter = now.Add(-1)
	_, err := verifier(key).Verify(claims(goodClaims))
	wantReason(t, err, token.UnknownKey)
	key.NotBefore, key.NotAfter = now.Add(1), now.AddDate(0, 1, 0)
	_, err = verifier(key).Verify(claims(goodClaims))
	wantReason(t, err, token.UnknownKey)
}
