package keyset_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

func TestLoadOpeners(t *testing.T) {
	pem := pkcs8PEM(ecKey())
	o, err := keyset.LoadOpeners([]keyset.Spec{
		{File: write(t, pem, 0o600), KID: "old"}, {File: write(t, []byte(jwk(ecKey(), "new", "", "enc")), 0o640)}, {File: write(t, pem, 0o600)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, key := range o.Openers() {
		kids = append(kids, key.ID)
	}
	if got := strings.Join(kids, ","); got != "old,new," {
		t.Errorf("kids %q", got)
	}
	for name, bad := range map[string]struct {
		content []byte
		mode    os.FileMode
		kid     string
	}{
		"open to others":    {pem, 0o644, ""},
		"a public key":      {pkixPEM(ecKey().Public()), 0o600, ""},
		"a public JWK":      {[]byte(jwk(&ecKey().PublicKey, "a", "", "enc")), 0o600, ""},
		"Ed25519":           {pkcs8PEM(edKey()), 0o600, ""},
		"for signatures":    {[]byte(jwk(ecKey(), "a", "", "sig")), 0o600, ""},
		"of another name":   {[]byte(jwk(ecKey(), "a", "", "enc")), 0o600, "b"},
		"nothing":           {nil, 0o600, ""},
		"no key":            {[]byte("key"), 0o600, ""},
		"half a JWK":        {[]byte(`{"kty":"EC"`), 0o600, ""},
		"a secret as a JWK": {[]byte(`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`), 0o600, ""},
	} {
		if _, err := keyset.LoadOpeners([]keyset.Spec{{File: write(t, bad.content, bad.mode), KID: bad.kid}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Keys rotate while tokens of both come: a new file's content counts, and a broken one does not.
func TestOpenersRotate(t *testing.T) {
	next := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	file := write(t, pkcs8PEM(ecKey()), 0o600)
	o, err := keyset.LoadOpeners([]keyset.Spec{{File: file}})
	if err != nil {
		t.Fatal(err)
	}
	v := &token.Verifier{Keys: token.Keys{signer("EdDSA", "b", edKey()).Key()}, Clock: func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }}
	set, err := token.NewSet(v)
	if err != nil {
		t.Fatal(err)
	}
	set.Openers = o
	opens := func(key *ecdsa.PrivateKey) bool {
		inner := must(signer("EdDSA", "b", edKey()).Sign([]byte(`{"sub":"alice","exp":1795262460}`)))
		e := must(jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: key.Public()}, (&jose.EncrypterOptions{}).WithContentType("JWT")))
		_, err := set.Verify([]byte(must(must(e.Encrypt(inner)).CompactSerialize())))
		return err == nil
	}
	if !opens(ecKey()) || opens(next) {
		t.Error("before: the wrong key opens")
	}
	replace(t, file, []byte("broken"))
	if changed, err := o.Refresh(); changed || err == nil || !opens(ecKey()) {
		t.Errorf("a broken file: %v %v", changed, err)
	}
	replace(t, file, pkcs8PEM(next))
	if changed, err := o.Refresh(); !changed || err != nil || opens(ecKey()) || !opens(next) {
		t.Errorf("a new file: %v %v", changed, err)
	}
	if changed, err := o.Refresh(); changed || err != nil {
		t.Errorf("nothing new: %v %v", changed, err)
	}
}
