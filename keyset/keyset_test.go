package keyset_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

// loadCase is a file, how it is meant, and what becomes of it.
type loadCase struct {
	name    string
	content []byte
	spec    keyset.Spec
	want    string // every key as "kid: algorithms", every skipped one as "- reason"; or "error: …"
}

func runLoad(t *testing.T, cases []loadCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.File = write(t, tc.content, 0o600)
			got := describe(load(tc.spec))
			if want, ok := strings.CutPrefix(tc.want, "error: "); ok {
				if !strings.HasPrefix(got, "error: ") || !strings.Contains(got, want) {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
			} else if !similar(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestLoadPEM(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	ed, ec := edKey().Public(), &ecKey().PublicKey
	runLoad(t, []loadCase{
		{"Ed25519 PEM", pkixPEM(ed), keyset.Spec{}, ": EdDSA Ed25519"},
		{"Ed25519 PEM with kid", pkixPEM(ed), keyset.Spec{KID: "k"}, "k: EdDSA Ed25519"},
		{"EC PEM", pkixPEM(ec), keyset.Spec{}, ": ES256"},
		{"RSA PEM", pkixPEM(&rsaKey.PublicKey), keyset.Spec{}, ": RS256 RS384 RS512 PS256 PS384 PS512"},
		{"RSA PEM, narrowed", pkixPEM(&rsaKey.PublicKey), keyset.Spec{Algorithms: []string{"RS256"}}, ": RS256"},
		{"RSA PKCS #1", pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)}), keyset.Spec{}, ": RS256 RS384 RS512 PS256 PS384 PS512"},
		{"text around PEM", join([]byte("Key of the issuer\n"), pkixPEM(ed), []byte("\n\n")), keyset.Spec{}, ": EdDSA Ed25519"},
		{"two PEM keys", join(pkixPEM(ed), pkixPEM(ec)), keyset.Spec{}, ": EdDSA Ed25519|: ES256"},
		{"two PEM keys and a kid", join(pkixPEM(ed), pkixPEM(ec)), keyset.Spec{KID: "k"}, "error: several keys"},
		{"two PEM keys, one of them usable", join(pkixPEM(&p224.PublicKey), pkixPEM(ec)), keyset.Spec{}, ": ES256|- type or curve is not supported"},
		{"P-224", pkixPEM(&p224.PublicKey), keyset.Spec{}, "error: type or curve is not supported"},
		{"X25519", pkixPEM(x25519.PublicKey()), keyset.Spec{}, "error: type or curve is not supported"},
		{"algorithm of another key", pkixPEM(ec), keyset.Spec{Algorithms: []string{"ES384", "EdDSA"}}, "error: cannot be used with ES384, EdDSA"},
		{"the older name", pkixPEM(ed), keyset.Spec{Algorithms: []string{"EdDSA"}}, ": EdDSA Ed25519"},
		{"unknown algorithm", pkixPEM(ec), keyset.Spec{Algorithms: []string{"es256"}}, `error: "es256" is not supported`},
		{"none", pkixPEM(ec), keyset.Spec{Algorithms: []string{"none"}}, `error: "none" is not supported`},
		{"both kinds of algorithm", pkixPEM(ec), keyset.Spec{Algorithms: []string{"ES256", "HS256"}}, "error: mix"},
		{"certificate", certificate(false, x509.KeyUsageDigitalSignature), keyset.Spec{}, ": EdDSA Ed25519 until 2027"},
		{"certificate that says nothing of its use", certificate(false, 0), keyset.Spec{}, ": EdDSA Ed25519 until 2027"},
		{"certificate for encryption", certificate(false, x509.KeyUsageKeyEncipherment), keyset.Spec{}, "error: not meant for signatures"},
		{"self-signed authority", certificate(true, x509.KeyUsageDigitalSignature), keyset.Spec{}, ": EdDSA Ed25519 until 2027"},
		{"chain", join(certificate(false, 0), certificate(true, 0)), keyset.Spec{KID: "k"}, "k: EdDSA Ed25519 until 2027|- that of an authority"},
		{"broken certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), keyset.Spec{}, "error: no key that can be used"},
		{"request", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}), keyset.Spec{}, `error: "CERTIFICATE REQUEST" is not a public key`},
		{"cut PEM", pkixPEM(ec)[:80], keyset.Spec{}, "error: broken PEM"},
		{"cut second PEM", join(pkixPEM(ed), pkixPEM(ec)[:80]), keyset.Spec{}, "error: broken PEM"},
		{"private PEM", pkcs8PEM(edKey()), keyset.Spec{}, "error: private key"},
		{"private PEM behind a public one", join(pkixPEM(ed), pkcs8PEM(edKey())), keyset.Spec{}, "error: private key"},
		{"private EC PEM", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(ecKey()))}), keyset.Spec{}, "error: private key"},
	})
}

func TestLoadJWK(t *testing.T) {
	ed, ec := edKey().Public(), &ecKey().PublicKey
	ecJWK := func(more string) []byte {
		return []byte(strings.TrimSuffix(jwk(ec, "", "", ""), "}") + more + "}")
	}
	runLoad(t, []loadCase{
		{"JWK", []byte(jwk(ec, "k", "ES256", "sig")), keyset.Spec{}, "k: ES256"},
		{"JWK without alg", ecJWK(""), keyset.Spec{}, ": ES256"},
		{"JWK, kid given", ecJWK(""), keyset.Spec{KID: "k"}, "k: ES256"},
		{"JWK, another kid given", []byte(jwk(ec, "a", "", "")), keyset.Spec{KID: "b"}, `error: the kid "b" is given`},
		{"JWK Ed25519 by its newer name", []byte(jwk(ed, "k", "Ed25519", "")), keyset.Spec{}, "k: Ed25519"},
		{"JWK with use enc", []byte(jwk(ec, "k", "", "enc")), keyset.Spec{}, `error: not for signatures (use "enc")`},
		{"JWK with key_ops verify", ecJWK(`,"key_ops":["verify"]`), keyset.Spec{}, ": ES256"},
		{"JWK with key_ops sign", ecJWK(`,"key_ops":["sign"]`), keyset.Spec{}, "error: key_ops"},
		{"JWK with no key_ops at all", ecJWK(`,"key_ops":[]`), keyset.Spec{}, "error: key_ops"},
		{"JWK with odd key_ops", ecJWK(`,"key_ops":"verify"`), keyset.Spec{}, `error: "key_ops" has the wrong type`},
		{"JWK with alg of another curve", ecJWK(`,"alg":"ES384"`), keyset.Spec{}, "error: does not fit"},
		{"JWK with alg HS256", ecJWK(`,"alg":"HS256"`), keyset.Spec{}, "error: does not fit"},
		{"JWK with alg none", ecJWK(`,"alg":"none"`), keyset.Spec{}, `error: "none" is not supported`},
		{"JWK with alg of JWE", ecJWK(`,"alg":"ECDH-ES"`), keyset.Spec{}, `error: "ECDH-ES" is not supported`},
		{"JWK with a name twice", ecJWK(`,"kty":"RSA"`), keyset.Spec{}, "error: "},
		{"JWK of an unknown type", []byte(`{"kty":"XYZ","kid":"k"}`), keyset.Spec{}, "error: cannot be read"},
		{"JWK private", []byte(jwk(ecKey(), "k", "ES256", "sig")), keyset.Spec{}, "error: private key"},
		{"JWK private with use enc", []byte(jwk(ecKey(), "k", "", "enc")), keyset.Spec{}, "error: private key"},
		{"JWKS", []byte(`{"keys":[` + jwk(ec, "a", "", "") + `,` + jwk(ed, "b", "", "") + `]}`), keyset.Spec{}, "a: ES256|b: EdDSA Ed25519"},
		{"JWKS narrowed", []byte(`{"keys":[` + jwk(ec, "a", "", "") + `,` + jwk(ed, "b", "", "") + `]}`), keyset.Spec{Algorithms: []string{"ES256"}}, "a: ES256|- b cannot be used with ES256"},
		{"JWKS with a strange key", []byte(`{"keys":[{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AA"},` + jwk(ec, "a", "", "") + `]}`), keyset.Spec{}, `a: ES256|- pq "ML-DSA-44" is not supported`},
		{"JWKS with nonsense", []byte(`{"keys":[null,1,[],{},` + jwk(ec, "a", "", "") + `]}`), keyset.Spec{}, "a: ES256|- not a JSON object|- not a JSON object|- not a JSON object|- cannot be read"},
		{"JWKS with a kid twice", []byte(`{"keys":[` + jwk(ec, "a", "", "") + `,` + jwk(ec, "a", "", "") + `]}`), keyset.Spec{}, `error: two keys with the kid "a"`},
		{"JWKS with a kid twice for two algorithms", []byte(`{"keys":[` + jwk(ec, "a", "", "") + `,` + jwk(ed, "a", "", "") + `]}`), keyset.Spec{}, "a: ES256|a: EdDSA Ed25519"},
		{"JWKS without keys", []byte(`{"keys":[]}`), keyset.Spec{}, "error: no key that can be used"},
		{"JWKS, keys is an object", []byte(`{"keys":{}}`), keyset.Spec{}, "error: read JWK Set"},
		{"JWKS with 101 keys", []byte(`{"keys":[` + strings.Repeat("{},", 100) + `{}]}`), keyset.Spec{}, "error: more than 100 keys"},
		{"JWKS with a private key", []byte(`{"keys":[` + jwk(ec, "a", "", "") + `,` + jwk(edKey(), "b", "", "") + `]}`), keyset.Spec{}, "error: private key"},
		{"something else in JSON", []byte(`{"issuer":"x"}`), keyset.Spec{}, `error: neither a JWK`},
		{"broken JSON", []byte(`{"keys":`), keyset.Spec{}, "error: read JWK Set"},
	})
}

func TestLoadSecret(t *testing.T) {
	ec := &ecKey().PublicKey
	const oct = `{"kty":"oct","alg":"HS256","kid":"s","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`
	runLoad(t, []loadCase{
		{"secret", []byte("0123456789abcdef0123456789abcdef\n"), keyset.Spec{Algorithms: []string{"HS256"}, KID: "k"}, "k: HS256"},
		{"secret for two algorithms", []byte(strings.Repeat("x", 48)), keyset.Spec{Algorithms: []string{"HS256", "HS384"}}, ": HS256 HS384"},
		{"short secret", []byte("0123456789abcdef0123456789abcde\n"), keyset.Spec{Algorithms: []string{"HS256"}}, "error: 31 bytes; HS256 needs 32"},
		{"secret JWK", []byte(oct), keyset.Spec{Algorithms: []string{"HS256"}}, "s: HS256"},
		{"secret JWK, not asked for", []byte(oct), keyset.Spec{}, "error: is a secret"},
		{"secret JWK for another algorithm", []byte(oct), keyset.Spec{Algorithms: []string{"HS512"}}, "error: cannot be used with HS512"},
		{"public JWK as a secret", []byte(jwk(ec, "k", "", "")), keyset.Spec{Algorithms: []string{"HS256"}}, "error: is not a secret"},
		{"public PEM as a secret", pkixPEM(ec), keyset.Spec{Algorithms: []string{"HS256"}}, "error: another kind"},
		{"public PEM behind a space as a secret", join([]byte(" "), pkixPEM(ec)), keyset.Spec{Algorithms: []string{"HS256"}}, "error: another kind"},
		{"public DER as a secret", must(x509.MarshalPKIXPublicKey(ec)), keyset.Spec{Algorithms: []string{"HS256"}}, "error: another kind"},
		{"SSH key as a secret", []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample"), keyset.Spec{Algorithms: []string{"HS256"}}, "error: another kind"},
		{"text, no algorithm", []byte("0123456789abcdef0123456789abcdef"), keyset.Spec{}, "error: neither PEM nor a JWK"},
		{"empty", nil, keyset.Spec{}, "error: empty"},
		{"white space", []byte(" \n\n"), keyset.Spec{Algorithms: []string{"HS256"}}, "error: empty"},
		{"too large", make([]byte, 1<<20+1), keyset.Spec{}, "error: larger than"},
	})
}

func describe(f *keyset.Files, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var list []string
	for _, k := range f.All() {
		s := k.ID + ": " + strings.Join(k.Algorithms, " ")
		if !k.NotAfter.IsZero() {
			s += fmt.Sprint(" until ", k.NotAfter.Year())
		}
		list = append(list, s)
	}
	for _, s := range f.Skipped() {
		list = append(list, "- "+s.KID+" "+s.Reason)
	}
	return strings.Join(list, "|")
}

// similar compares part by part; of a skipped key all words of the want must be there.
func similar(got, want string) bool {
	g, w := strings.Split(got, "|"), strings.Split(want, "|")
	return slices.EqualFunc(g, w, func(g, w string) bool {
		if !strings.HasPrefix(w, "- ") {
			return g == w
		}
		for _, word := range strings.Fields(w) {
			if !strings.Contains(g, word) {
				return false
			}
		}
		return strings.HasPrefix(g, "- ")
	})
}

// RFC 7517, appendix A and B.
func TestRFC7517(t *testing.T) {
	for file, want := range map[string]string{
		"a1": "2011-04-29: RS256|- 1 use enc",
		"a2": "error: private key",
		"a3": "HMAC key used in JWS spec Appendix A.1 example: HS256|- A128KW",
		"b":  "1b94c: RS256 RS384 RS512 PS256 PS384 PS512",
	} {
		t.Run(file, func(t *testing.T) {
			spec := keyset.Spec{}
			if file == "a3" {
				spec.Algorithms = []string{"HS256"}
			}
			spec.File = write(t, must(os.ReadFile("testdata/rfc7517-"+file+".json")), 0o600)
			got := describe(load(spec))
			if !similar(got, want) && !(strings.HasPrefix(want, "error: ") && strings.Contains(got, want[7:])) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestAttackOpenSecret: the attacker has an account on the machine, and the secret's file is open to him: he could sign.
//
// Must: Such a file is not taken at all, so that somebody notices.
func TestAttackOpenSecret(t *testing.T) {
	content := []byte("0123456789abcdef0123456789abcdef\n")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o604: false, 0o602: false, 0o660: false, 0o777: false} {
		spec := keyset.Spec{File: write(t, content, mode), Algorithms: []string{"HS256"}}
		if _, err := load(spec); (err == nil) != ok {
			t.Errorf("mode %o: %v", mode, err)
		}
		private := write(t, pkcs8PEM(edKey()), mode)
		if _, err := keyset.LoadSigner(private, "", ""); (err == nil) != ok {
			t.Errorf("private key, mode %o: %v", mode, err)
		}
	}
	if _, err := load(keyset.Spec{File: write(t, pkixPEM(edKey().Public()), 0o644)}); err != nil {
		t.Errorf("a public key may be public: %v", err)
	}
}

func TestLoadNothing(t *testing.T) {
	if _, err := load(); err == nil {
		t.Error("no files are a key set")
	}
	if _, err := load(keyset.Spec{File: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := load(keyset.Spec{File: t.TempDir() + "/none"}); err == nil {
		t.Error("a file that is not there is taken")
	}
	good := keyset.Spec{File: write(t, pkixPEM(edKey().Public()), 0o600)}
	if _, err := load(good, keyset.Spec{File: write(t, nil, 0o600)}); err == nil {
		t.Error("one bad file of two is taken")
	}
}

// No error shows what is in a secret's file.
func TestSecretStaysSecret(t *testing.T) {
	const secret = "hunter2hunter2hunter2"
	_, err := load(keyset.Spec{File: write(t, []byte(secret), 0o600), Algorithms: []string{"HS256"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	f, err := load(keyset.Spec{File: write(t, []byte(secret+secret), 0o600), Algorithms: []string{"HS256"}})
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", f.All(), f.All(), f.All()); strings.Contains(shown, "hunter2") || !strings.Contains(shown, "redacted") {
		t.Errorf("a key prints as %s", shown)
	}
}

func TestGenerate(t *testing.T) {
	for _, alg := range token.Algorithms() {
		if strings.HasSuffix(alg, "S384") && alg != token.AlgES384 && alg != token.AlgHS384 || alg == token.AlgRS512 || alg == token.AlgPS512 {
			continue // the same keys as RS256 and PS256, which take their time
		}
		t.Run(alg, func(t *testing.T) {
			p, err := keyset.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			private := write(t, p.Private, 0o600)
			s, err := keyset.LoadSigner(private, alg, "")
			if err != nil {
				t.Fatal(err)
			}
			var specs []keyset.Spec
			if _, ok := p.Signer.Key().Public.(claimpool.Secret); ok {
				specs = []keyset.Spec{{File: private, Algorithms: []string{alg}, KID: p.KID}}
			} else {
				if s.Key().ID != p.KID {
					t.Errorf("the file's kid is %s, the pair's %s", s.Key().ID, p.KID)
				}
				set := must(keyset.PublicJWKS([]token.Key{p.Signer.Key()}))
				specs = []keyset.Spec{{File: write(t, p.Public, 0o644)}, {File: write(t, p.JWK, 0o644)}, {File: write(t, set, 0o644)}}
				if _, err := load(keyset.Spec{File: private}); err == nil {
					t.Error("the private key is taken for a public one")
				}
			}
			for i, spec := range specs {
				f, err := load(spec)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range []*token.Signer{p.Signer, s} {
					if s.Key().ID != "" && !verifies(t, f, s) {
						t.Errorf("form %d does not verify", i)
					}
				}
			}
		})
	}
	for _, alg := range []string{"", "none", "HS1", "ES256K", "RSA"} {
		if _, err := keyset.Generate(alg); err == nil {
			t.Errorf("%q: a key is made", alg)
		}
	}
}

func TestPublicJWKS(t *testing.T) {
	if _, err := keyset.PublicJWKS([]token.Key{{Algorithms: []string{"HS256"}, Public: claimpool.Secret("x")}}); err == nil {
		t.Error("a secret is published")
	}
	if got := string(must(keyset.PublicJWKS(nil))); !strings.Contains(got, `"keys": []`) {
		t.Errorf("no keys give %s", got)
	}
}

// TestPublicJWKSNamesKeys: the key of RFC 7638, section 3.1, without a name.
func TestPublicJWKSNamesKeys(t *testing.T) {
	const jwk = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs` +
		`tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI` +
		`SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256"}`
	keys, _, err := keyset.ParseJWKS([]byte(jwk), nil)
	if err != nil || len(keys) != 1 || keys[0].ID != "" {
		t.Fatal(keys, err)
	}
	if got := string(must(keyset.PublicJWKS(keys))); !strings.Contains(got, `"kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"`) {
		t.Error(got)
	}
}

func TestLoadSigner(t *testing.T) {
	f := token.Keys{{ID: "k", Algorithms: []string{"ES256"}, Public: &ecKey().PublicKey}}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(ecKey()))})
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	for name, tc := range map[string]struct {
		content  []byte
		alg, kid string
	}{
		"PKCS #8":               {pkcs8PEM(ecKey()), "", "k"},
		"SEC 1":                 {sec1, "ES256", "k"},
		"SEC 1 with parameters": {join(params, sec1), "", "k"},
		"JWK":                   {[]byte(jwk(ecKey(), "k", "ES256", "sig")), "", ""},
		"JWK without alg":       {[]byte(jwk(ecKey(), "k", "", "")), "", ""},
	} {
		s, err := keyset.LoadSigner(write(t, tc.content, 0o600), tc.alg, tc.kid)
		if err != nil || !verifies(t, f, s) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	for name, tc := range map[string]struct {
		content []byte
		alg     string
	}{
		"public PEM":          {pkixPEM(&ecKey().PublicKey), ""},
		"public JWK":          {[]byte(jwk(&ecKey().PublicKey, "k", "", "")), ""},
		"wrong algorithm":     {pkcs8PEM(ecKey()), "ES384"},
		"JWK for another":     {[]byte(jwk(ecKey(), "k", "ES256", "")), "ES384"},
		"PEM as a secret":     {pkcs8PEM(ecKey()), "HS256"},
		"short secret":        {[]byte("short"), "HS256"},
		"text":                {[]byte("0123456789abcdef0123456789abcdef"), ""},
		"empty":               {nil, "HS256"},
		"key agreement":       {pkcs8PEM(x25519), ""},
		"encrypted":           {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), ""},
		"broken":              {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), ""},
		"broken JWK":          {[]byte(`{"kty":"EC"`), ""},
		"secret JWK, no alg":  {[]byte(`{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`), ""},
		"short RSA in PKCS 1": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(must(rsa.GenerateKey(rand.Reader, 1024)))}), ""},
	} {
		if _, err := keyset.LoadSigner(write(t, tc.content, 0o600), tc.alg, ""); err == nil {
			t.Errorf("%s: a signer is made", name)
		}
	}
}

// A certificate's dates travel with its key.
func TestCertificateDates(t *testing.T) {
	f, err := load(keyset.Spec{File: write(t, certificate(false, 0), 0o644)})
	if err != nil {
		t.Fatal(err)
	}
	raw := must(signer("EdDSA", "", edKey()).Sign([]byte(`{"sub":"alice","exp":1900000000}`)))
	for year, ok := range map[int]bool{2025: false, 2026: true, 2027: false} {
		v := &token.Verifier{Keys: f, Clock: func() time.Time { return time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }}
		if _, err := v.Verify(raw); (err == nil) != ok {
			t.Errorf("in %d: %v", year, err)
		}
	}
}

// FuzzParseJWKS: no document makes the reader panic, and every key that it takes is fit for its algorithms.
func FuzzParseJWKS(f *testing.F) {
	for _, name := range []string{"a1", "a2", "a3", "b"} {
		f.Add(must(os.ReadFile("testdata/rfc7517-"+name+".json")), true)
	}
	f.Add([]byte(jwk(&ecKey().PublicKey, "k", "ES256", "sig")), false)
	f.Fuzz(func(t *testing.T, data []byte, secret bool) {
		algs := []string(nil)
		if secret {
			algs = []string{"HS256"}
		}
		keys, _, _ := keyset.ParseJWKS(data, algs)
		for _, k := range keys {
			if err := k.Check(); err != nil {
				t.Error(err)
			}
			if _, ok := k.Public.(claimpool.Secret); ok != secret {
				t.Errorf("a key for %v", k.Algorithms)
			}
		}
	})
}

// FuzzParse: no file makes a reader panic, and every key that it takes is fit for its algorithms.
func FuzzParse(f *testing.F) {
	f.Add(pkixPEM(edKey().Public()))
	f.Add(certificate(true, 0))
	f.Add(pkcs8PEM(edKey()))
	f.Add([]byte("0123456789abcdef0123456789abcdef"))
	name := f.TempDir() + "/key"
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		f.Fatal(err)
	}
	info := must(os.Stat(name))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, algs := range [][]string{nil, {"HS256"}, {"EdDSA"}} {
			keys, err := keyset.Parse(keyset.Spec{Algorithms: algs}, data, info)
			for _, k := range keys {
				if err == nil && k.Check() != nil {
					t.Error(k.Check())
				}
			}
		}
		_, _ = keyset.ParseSigner(data, info, "", "")
		_, _ = keyset.ParseSigner(data, info, "HS256", "k")
	})
}
