package token_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/token"
)

// seal encrypts for a public key; change may change the header that go-jose is asked for.
func seal(t testing.TB, inner []byte, alg jose.KeyAlgorithm, enc jose.ContentEncryption, public any, change func(*jose.EncrypterOptions)) []byte {
	t.Helper()
	opts := (&jose.EncrypterOptions{}).WithContentType("JWT")
	if change != nil {
		change(opts)
	}
	e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: public, KeyID: "enc1"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := e.Encrypt(inner)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return []byte(raw)
}

// opening is edVerifier's issuer with keys that open tokens.
func opening(t testing.TB, keys ...token.Opener) *token.Set {
	t.Helper()
	set, err := token.NewSet(edVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if keys != nil {
		set.Openers = token.Openers(keys)
	}
	return set
}

func TestOpen(t *testing.T) {
	ours := []token.Opener{{ID: "old", Private: p256Key()}, {ID: "enc1", Private: rsaKey()}, {ID: "enc1", Private: p384Key()}, {Private: p521Key()}}
	for _, o := range ours {
		if err := o.Check(); err != nil {
			t.Error(err)
		}
	}
	set := opening(t, ours...)
	for name, raw := range map[string][]byte{
		"RSA-OAEP-256":                    seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A256GCM, rsaKey().Public(), nil),
		"ECDH-ES on P-384":                seal(t, claims(goodClaims), jose.ECDH_ES, jose.A256GCM, p384Key().Public(), nil),
		"ECDH-ES for a key without a kid": seal(t, claims(goodClaims), jose.ECDH_ES, jose.A256GCM, p521Key().Public(), nil),
		"not encrypted":                   claims(goodClaims),
	} {
		tok, err := set.Verify(raw)
		if err != nil || tok.Subject != "alice" || tok.KeyID != "ed" {
			t.Errorf("%s: %+v %v", name, tok, err)
		}
		rep := token.Inspect(raw, token.Inspection{Set: set, Clock: clock})
		if len(rep.Findings) > 0 || !rep.Verified {
			t.Errorf("%s: inspected: %v", name, rep.Findings)
		}
	}
	other := seal(t, claims(goodClaims), jose.ECDH_ES, jose.A256GCM, p256Key().Public(), nil) // the kid is another key's
	_, err := set.Verify(other)
	wantReason(t, err, token.Encrypted)
	for name, bad := range map[string]token.Opener{"Ed25519": {Private: edKey()}, "nothing": {}, "public": {Private: rsaKey().Public()}} {
		if bad.Check() == nil {
			t.Errorf("%s: fit", name)
		}
	}
}

// TestAttackEnvelope: the attacker has the public key, which everybody has, and encrypts what he likes: tokens that he has made
// himself, packed ones, weak and unknown algorithms, envelopes in envelopes; or he changes another one's.
//
// Must: What is inside must be signed by an issuer; every other envelope is refused before anything is unpacked.
func TestAttackEnvelope(t *testing.T) {
	set := opening(t, token.Opener{ID: "enc1", Private: rsaKey()}, token.Opener{ID: "enc1", Private: p256Key()})
	public := rsaKey().Public()
	good := seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A256GCM, public, nil)
	ec := seal(t, claims(goodClaims), jose.ECDH_ES, jose.A256GCM, p256Key().Public(), nil)
	for _, raw := range [][]byte{good, ec} {
		if _, err := set.Verify(raw); err != nil {
			t.Fatal(err)
		}
	}
	zip := func(o *jose.EncrypterOptions) { o.Compression = jose.DEFLATE }
	for name, test := range map[string]struct {
		raw  []byte
		want token.Reason
	}{
		"claims without a signature": {seal(t, []byte(goodClaims), jose.RSA_OAEP_256, jose.A256GCM, public, nil), token.Malformed},
		"alg none inside":            {seal(t, join(`{"alg":"none"}`, goodClaims, func([]byte) []byte { return nil }), jose.RSA_OAEP_256, jose.A256GCM, public, nil), token.Unsecured},
		"signed with his own key":    {seal(t, join(`{"alg":"EdDSA","kid":"ed"}`, goodClaims, func([]byte) []byte { return make([]byte, 64) }), jose.RSA_OAEP_256, jose.A256GCM, public, nil), token.BadSignature},
		"an envelope in an envelope": {seal(t, good, jose.RSA_OAEP_256, jose.A256GCM, public, nil), token.Encrypted},
		"packed":                     {seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A256GCM, public, zip), token.Encrypted},
		"RSA-OAEP with SHA-1":        {seal(t, claims(goodClaims), jose.RSA_OAEP, jose.A256GCM, public, nil), token.UnknownAlgorithm},
		"RSA1_5":                     {seal(t, claims(goodClaims), jose.RSA1_5, jose.A256GCM, public, nil), token.UnknownAlgorithm},
		"A128GCM":                    {seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A128GCM, public, nil), token.UnknownAlgorithm},
		"CBC":                        {seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A256CBC_HS512, public, nil), token.UnknownAlgorithm},
		"a password (PBES2)":         {seal(t, claims(goodClaims), jose.PBES2_HS256_A128KW, jose.A256GCM, []byte("password"), nil), token.UnknownAlgorithm},
		"not said to be a token":     {seal(t, claims(goodClaims), jose.RSA_OAEP_256, jose.A256GCM, public, func(o *jose.EncrypterOptions) { o.WithContentType("JSON") }), token.WrongType},
		"another ciphertext":         {part(good, 3, func(s string) string { return "AAAA" + s[4:] }), token.Encrypted},
		"another tag":                {part(good, 4, func(s string) string { return "AAAA" + s[4:] }), token.Encrypted},
		"another key":                {part(good, 1, func(s string) string { return "AAAA" + s[4:] }), token.Encrypted},
		"no key":                     {part(good, 1, func(string) string { return "" }), token.Malformed},
		"a key where there is none":  {part(ec, 1, func(string) string { return "AAAA" }), token.Malformed},
		"a short tag":                {part(good, 4, func(s string) string { return s[:16] }), token.Malformed},
		"no ciphertext":              {part(good, 3, func(string) string { return "" }), token.Malformed},
		"a line break":               {part(good, 3, func(s string) string { return s + "\n" }), token.Malformed},
		"an extension":               {header(t, good, "crit", []string{"exp"}), token.CriticalHeader},
		"no epk":                     {header(t, ec, "epk", nil), token.Encrypted},
		"a point off the curve":      {header(t, ec, "epk", map[string]any{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}), token.Encrypted},
		"another curve":              {seal(t, claims(goodClaims), jose.ECDH_ES, jose.A256GCM, p521Key().Public(), nil), token.Encrypted},
		"alg as a number":            {header(t, good, "alg", 7), token.Malformed},
		"five parts of nothing":      {[]byte("...."), token.Malformed},
		"a megabyte":                 {[]byte(strings.Repeat("A", 1<<20) + "...."), token.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := set.Verify(test.raw)
			var r *token.Refusal
			if name == "a point off the curve" || name == "no epk" {
				if !errors.As(err, &r) {
					t.Fatalf("%v", err)
				}
				return // go-jose may find it broken, or fail to open it
			}
			wantReason(t, err, test.want)
		})
	}
	_, err := opening(t).Verify(good)
	wantReason(t, err, token.Encrypted)
}

// part changes one part of an envelope.
func part(raw []byte, i int, change func(string) string) []byte {
	parts := strings.Split(string(raw), ".")
	parts[i] = change(parts[i])
	return []byte(strings.Join(parts, "."))
}

// header changes a member of an envelope's header; nil removes it.
func header(t testing.TB, raw []byte, name string, value any) []byte {
	t.Helper()
	return part(raw, 0, func(s string) string {
		var h map[string]any
		if err := json.Unmarshal(must(b64Decode(s)), &h); err != nil {
			t.Fatal(err)
		}
		h[name] = value
		if value == nil {
			delete(h, name)
		}
		return b64(must(json.Marshal(h)))
	})
}

func b64Decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
