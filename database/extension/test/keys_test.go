package extension_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/cluster"
)

// TestTooManyKeys: a set of more than 16 keys is not cut short but refused: by SET, or at a token when it stands in a file, and the server's
// log says why.
func TestTooManyKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys := func(n int, use string) []byte {
			list := []map[string]any{{"kty": "of somebody else"}} // does not count
			for i := range n {
				key := jwk(t, own, fmt.Sprintf("%s%d", use, i), nil)
				if use == "sig" {
					delete(key, "d")
				}
				list = append(list, key)
			}
			return keySet(t, list...)
		}
		signed := func(kid int) string {
			return mint(t, own, fmt.Sprintf(`{"alg":"ES256","kid":"sig%d"}`, kid), claims(""))
		}
		der, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})

		if r := admin.exec("set jwt.keys = '" + string(keys(17, "sig")) + "'"); r.code() != "22023" {
			t.Errorf("17 keys in jwt.keys: %s", describe(r))
		}
		s.privateFile(t, "jwt.keys_file", "keys.json", keys(16, "sig"))
		defer s.set(t, admin, "jwt.keys_file", "")
		if !admin.accepts(signed(0)) || !admin.accepts(signed(15)) || admin.accepts(signed(16)) {
			t.Error("16 keys in a file")
		}
		s.privateFile(t, "jwt.keys_file", "keys.json", keys(17, "sig"))
		if admin.accepts(signed(0)) {
			t.Error("17 keys in a file, and one of them counts")
		}
		s.logHas(t, "token was refused: jwt.keys_file has more than 16 keys")
		admin.mustExec("set jwt.keys = '" + string(keySet(t, jwk(t, own.Public(), "other", nil))) + "'")
		s.privateFile(t, "jwt.keys_file", "keys.json", keys(16, "sig"))
		if !admin.accepts(signed(15)) {
			t.Error("a key in jwt.keys takes the place of one in the file")
		}

		sealed := seal(t, signed(0), jose.ECDH_ES, "enc0", own.Public(), nil)
		for name, test := range map[string]struct {
			file []byte
			want bool
		}{
			"16 keys":        {keys(16, "enc"), true},
			"17 keys":        {keys(17, "enc"), false},
			"16 keys in PEM": {bytes.Repeat(block, 16), true},
			"17 keys in PEM": {bytes.Repeat(block, 17), false},
		} {
			s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", test.file)
			if got := admin.accepts(sealed); got != test.want {
				t.Errorf("%s for encrypted tokens: %v", name, got)
			}
		}
		s.set(t, admin, "jwt.decryption_keys_file", "")
		s.logHas(t, "token was refused: jwt.decryption_keys_file has more than 16 keys")
	})
}

// logHas wants a text in the server's log.
func (s *server) logHas(t *testing.T, want string) {
	t.Helper()
	log, err := os.ReadFile(s.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), want) {
		t.Errorf("the server's log does not say %q", want)
	}
}

// TestAttackLongKey: the attacker calls jwt_verify() and jwt_sign() with a key that comes behind a hundred thousand PEM blocks of other kinds.
// While OpenSSL reads them nobody can cancel the statement, nor stop the server.
//
// Must: A text that is longer than keys are is not read.
// Dialects: native
// Not sql: it has no such functions
func TestAttackLongKey(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := start(t, inst).login(t, "plain")
		blocks := func(n int) string { return fmt.Sprintf(`repeat(E'-----BEGIN X-----\nAAAA\n-----END X-----\n', %d)`, n) }
		const sign = `with k as materialized (select private_pem, public_pem from jwt_generate_keys('ES256')),
			s as materialized (select public_pem, jwt_sign('ES256', %[1]s || private_pem, '{"alg":"ES256"}', '{}') token from k)
			select jwt_verify(%[2]s || public_pem, token) from s`
		first := `E'-----BEGIN X-----\nAAAA\n-----END X-----\n' || `
		if got := c.one(fmt.Sprintf(sign, first+blocks(10), first+blocks(10))); got != "t" {
			t.Errorf("behind a few blocks: %s", got)
		}
		for _, row := range [][]any{{first + blocks(2000), "''"}, {"''", first + blocks(2000)}} {
			if r := c.exec(fmt.Sprintf(sign, row...)); r.code() != "22023" {
				t.Errorf("%v: %s", row, describe(r))
			}
		}
	})
}

// TestAttackHugeNumbers: the attacker signs with an RSA key of his own, whose modulus has 2,048 bits and whose exponents have 100,000. OpenSSL would
// compute for seconds, with greater ones for minutes, and nobody could cancel the statement, nor stop the server. So it would with a DSA key.
//
// Must: Such a key is not read.
// Dialects: native
// Not sql: it has no such functions
func TestAttackHugeNumbers(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := start(t, inst).login(t, "plain")
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key.Precompute()
		sign := func(number int, value *big.Int) reply {
			numbers := []*big.Int{key.N, big.NewInt(int64(key.E)), key.D, key.Primes[0], key.Primes[1], key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv}
			if value != nil {
				numbers[number] = value
			}
			der, err := asn1.Marshal(struct {
				Version int
				Numbers []*big.Int
			}{0, numbers})
			if err != nil {
				t.Fatal(err)
			}
			var flat struct {
				Version int
				Numbers asn1.RawValue
			}
			if _, err := asn1.Unmarshal(der, &flat); err != nil {
				t.Fatal(err)
			}
			der, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append([]byte{2, 1, 0}, flat.Numbers.Bytes...)})
			if err != nil {
				t.Fatal(err)
			}
			return c.exec(`select jwt_sign('RS256', '` + b64(der) + `', '{"alg":"RS256"}', '{}')`)
		}
		if r := sign(0, nil); r.code() != "" {
			t.Errorf("the key itself: %s", describe(r))
		}
		// A key of another type: OpenSSL would compute the public half of a DSA key, even before anybody can look at it.
		type dsa struct {
			Algorithm asn1.ObjectIdentifier
			Numbers   struct{ P, Q, G *big.Int }
		}
		other := dsa{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}}
		other.Numbers.P, other.Numbers.Q, other.Numbers.G = key.N, key.Primes[0], big.NewInt(2)
		x, err := asn1.Marshal(key.D)
		if err != nil {
			t.Fatal(err)
		}
		der, err := asn1.Marshal(struct {
			Version int
			Key     dsa
			X       []byte
		}{0, other, x})
		if err != nil {
			t.Fatal(err)
		}
		if r := c.exec(`select jwt_sign('RS256', '` + b64(der) + `', '{"alg":"RS256"}', '{}')`); !strings.Contains(describe(r), "failed to decode key") {
			t.Errorf("a DSA key: %s", describe(r))
		}
		huge := new(big.Int).Lsh(big.NewInt(3), 100_000)
		huge.SetBit(huge, 0, 1)
		for number := 2; number < 8; number++ {
			if r := sign(number, huge); r.code() != "22023" {
				t.Errorf("number %d: %s", number, describe(r))
			}
		}
	})
}
