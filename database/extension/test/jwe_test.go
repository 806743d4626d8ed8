package extension_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/cluster"
)

// closedText is all that a client learns of an encrypted token that is not opened.
const closedText = "token could not be decrypted"

// recipients are the private keys of a server, by kid.
type recipients map[string]crypto.Signer

func newRecipients(t testing.TB) recipients {
	t.Helper()
	r := recipients{}
	for kid, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r[kid] = key
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r["rsa"] = key
	return r
}

// seal encrypts a token as go-jose does it. options may add to the header or change what is wrong with it.
func seal(t testing.TB, token string, alg jose.KeyAlgorithm, kid string, key any, options func(*jose.EncrypterOptions)) string {
	t.Helper()
	return sealWith(t, token, alg, jose.A256GCM, kid, key, options)
}

func sealWith(t testing.TB, token string, alg jose.KeyAlgorithm, enc jose.ContentEncryption, kid string, key any, options func(*jose.EncrypterOptions)) string {
	t.Helper()
	o := (&jose.EncrypterOptions{}).WithContentType("JWT")
	if options != nil {
		options(o)
	}
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, KeyID: kid}, o)
	if err != nil {
		t.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(token))
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// jwk gives a key the members that a test asks for.
func jwk(t testing.TB, key any, kid string, more map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range more {
		members[name] = value
	}
	return members
}

// privateFile writes a file that only the server's user can read, and makes a setting name it.
func (s *server) privateFile(t *testing.T, setting, name string, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(s.DataDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	chownLike(t, path, info)
	admin := s.login(t, "postgres")
	if admin.one("show "+setting) != path {
		s.set(t, admin, setting, path)
		t.Cleanup(func() { s.set(t, s.login(t, "postgres"), setting, "") })
	}
	return path
}

func keySet(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// set returns the set of all keys.
func (r recipients) set(t testing.TB) []byte {
	var list []map[string]any
	for kid, key := range r {
		list = append(list, jwk(t, key, kid, nil))
	}
	return keySet(t, list...)
}

// TestEncryptedTokens: each algorithm and curve, made by go-jose, from key files of each form.
func TestEncryptedTokens(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		r := newRecipients(t)
		file := s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", r.set(t))
		c := s.login(t, "plain")
		token := mint(t, key, edHeader, claims(""))
		for kid, own := range r {
			alg := jose.ECDH_ES
			if kid == "rsa" {
				alg = jose.RSA_OAEP_256
			}
			sealed := seal(t, token, alg, kid, own.Public(), nil)
			c.mustExec("set jwt.context = '" + sealed + "'")
			if got := c.one("select string_agg(value::text, ',' order by value) from secrets"); got != "1,4,7" {
				t.Errorf("%s: %s", kid, got)
			}
			if got := c.one("show jwt.context"); !strings.HasPrefix(got, `{"tenant":"t1"`) {
				t.Errorf("%s: SHOW: %s", kid, got)
			}
			if got := s.login(t, "plain", "jwt.context", sealed).one("select jwt('tenant')"); got != "t1" {
				t.Errorf("%s, given at start: %s", kid, got)
			}
			der, err := x509.MarshalPKCS8PrivateKey(own)
			if err != nil {
				t.Fatal(err)
			}
			// In PEM there is no kid; another key stands before it.
			other, _ := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
			text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: other}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
			s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", text)
			if !c.accepts(sealed) {
				t.Errorf("%s: a key in PEM is not taken", kid)
			}
			s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", r.set(t))
		}
		sealed := seal(t, token, jose.ECDH_ES, "p256", r["p256"].Public(), nil)
		next := newRecipients(t) // overlap: two keys in the file, and then the new one alone
		later := seal(t, token, jose.ECDH_ES, "next", next["p256"].Public(), nil)
		if c.accepts(later) {
			t.Error("a key that nobody has written down")
		}
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, jwk(t, r["p256"], "p256", nil), jwk(t, next["p256"], "next", nil)))
		if !c.accepts(sealed) || !c.accepts(later) {
			t.Error("overlap")
		}
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, jwk(t, next["p256"], "next", nil)))
		if c.accepts(sealed) || !c.accepts(later) {
			t.Error("after rotation")
		}
		os.Chmod(file, 0o640)
		if c.accepts(later) {
			t.Error("a key file that the group can read was taken")
		}
		if r := c.exec("show jwt.decryption_keys_file"); r.code() != "42501" {
			t.Errorf("a user sees the file's name: %s", describe(r))
		}
	})
}

// TestEncryptedX25519: the curve that go-jose has not.
func TestEncryptedX25519(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		own, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, map[string]any{
			"kty": "OKP", "crv": "X25519", "kid": "x", "use": "enc", "alg": "ECDH-ES", "x": b64(own.PublicKey().Bytes()), "d": b64(own.Bytes())}))
		c := s.login(t, "plain")
		for _, parties := range []string{``, `,"apu":"QWxpY2U","apv":"Qm9i"`} {
			if !c.accepts(sealRaw(t, mint(t, key, edHeader, claims("")), own.PublicKey(), nil, parties)) {
				t.Errorf("%s", parties)
			}
		}
		zero := make([]byte, 32) // a point of small order: the secret would be zeros
		r := c.exec("set jwt.context = '" + sealRaw(t, mint(t, key, edHeader, claims("")), own.PublicKey(), zero, "") + "'")
		if r.code() != "28000" || r.errors[0].Message != closedText {
			t.Errorf("a point of small order: %s", describe(r))
		}
	})
}

// TestAttackEncryptedTokens: the attacker has the public keys, and any envelope that he can make with them; or the envelope of
// somebody else, which he changes.
//
// Must: He learns nothing from the answers: they are all the same.
// Dialects: native
// Not sql: tokens are read in the database by the extension alone
func TestAttackEncryptedTokens(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		r := newRecipients(t)
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", r.set(t))
		c := s.login(t, "plain")
		for _, row := range encryptedTokens(t, key, r) {
			got := c.exec("set jwt.context = '" + row.token + "'")
			if row.reason == "" && got.code() != "" || row.reason != "" && (got.code() != "28000" || got.errors[0].Message != row.reason) {
				t.Errorf("%s: %s, want %q", row.name, describe(got), row.reason)
			}
			if got.dead {
				t.Fatal("the backend is dead")
			}
			if row.reason != "" && (got.errors[0].Detail != "" || got.errors[0].Hint != "") {
				t.Errorf("%s: it says more: %q %q", row.name, got.errors[0].Detail, got.errors[0].Hint)
			}
			if got := c.one("select coalesce(jwt('tenant'), '-')"); got != "-" && row.reason != "" {
				t.Errorf("%s: a context is there: %s", row.name, got)
			}
			c.mustExec("reset jwt.context")
		}
		log, err := os.ReadFile(s.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range []string{"token was refused: enc is not A256GCM", "token was refused: no key opens it", "token was refused: token is compressed"} {
			if !strings.Contains(string(log), reason) {
				t.Errorf("the log does not say %q", reason)
			}
		}
	})
}

// TestAttackKeyOfAnotherUse: the attacker has a token made with a key of the same file that is for something else.
//
// Must: Keys that are not for what the file is for are left out.
// Dialects: native
// Not sql: tokens are read in the database by the extension alone
func TestAttackKeyOfAnotherUse(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		r := newRecipients(t)
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t)) // a session that is there already hears of it later
		c := s.login(t, "plain")
		token := mint(t, key, edHeader, claims(""))
		weak, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		sealed := map[string]string{
			"rsa":  seal(t, token, jose.RSA_OAEP_256, "k", r["rsa"].Public(), nil),
			"p256": seal(t, token, jose.ECDH_ES, "k", r["p256"].Public(), nil),
			"weak": seal(t, token, jose.RSA_OAEP_256, "k", weak.Public(), nil),
		}
		for _, row := range []struct {
			name, sealed string
			key          map[string]any
			want         bool
		}{
			{"RSA for encryption", "rsa", jwk(t, r["rsa"], "k", map[string]any{"use": "enc", "alg": "RSA-OAEP-256", "key_ops": []string{"decrypt"}}), true},
			{"EC for agreement", "p256", jwk(t, r["p256"], "k", map[string]any{"use": "enc", "alg": "ECDH-ES", "key_ops": []string{"deriveKey"}}), true},
			{"without a kid", "p256", jwk(t, r["p256"], "", nil), true},
			{"another kid", "p256", jwk(t, r["p256"], "other", nil), false},
			{"for signatures", "p256", jwk(t, r["p256"], "k", map[string]any{"use": "sig"}), false},
			{"to sign", "p256", jwk(t, r["p256"], "k", map[string]any{"key_ops": []string{"sign"}}), false},
			{"alg of signatures", "p256", jwk(t, r["p256"], "k", map[string]any{"alg": "ES256"}), false},
			{"alg with key wrapping", "p256", jwk(t, r["p256"], "k", map[string]any{"alg": "ECDH-ES+A256KW"}), false},
			{"RSA-OAEP with SHA-1", "rsa", jwk(t, r["rsa"], "k", map[string]any{"alg": "RSA-OAEP"}), false},
			{"RSA with PKCS 1", "rsa", jwk(t, r["rsa"], "k", map[string]any{"alg": "RSA1_5"}), false},
			{"RSA of 1,024 bits", "weak", jwk(t, weak, "k", nil), false},
			{"public key", "p256", jwk(t, r["p256"].Public(), "k", nil), false},
			{"secret", "p256", map[string]any{"kty": "oct", "k": b64(make([]byte, 32)), "kid": "k"}, false},
			{"point that is not on the curve", "p256", jwk(t, r["p256"], "k", map[string]any{"y": b64(make([]byte, 32))}), false},
		} {
			s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, row.key))
			if c.accepts(sealed[row.sealed]) != row.want {
				t.Errorf("%s: want %v", row.name, row.want)
			}
		}
		// Nor does a key that decrypts verify anything.
		admin := s.login(t, "postgres")
		if r := admin.exec("set jwt.keys = '" + string(keySet(t, jwk(t, r["p256"], "k", nil))) + "'"); r.code() != "22023" {
			t.Errorf("a private key in jwt.keys: %s", describe(r))
		}
	})
}
