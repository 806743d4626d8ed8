package extension_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// says is the one value of a query, or the text of its error: what people's scripts compare with.
func (c *client) says(sql string) string {
	c.t.Helper()
	r := c.exec(sql)
	if len(r.errors) > 0 {
		return r.errors[0].Message
	}
	if len(r.rows) == 1 && len(r.rows[0]) == 1 {
		return r.rows[0][0]
	}
	return "no row"
}

// TestWhatScriptsOfJWTContextExpect: under jwt.compatibility, what the regression scripts of jwt_context do is answered with its texts. Their
// tokens expired in 1973, and their keys stand in the catalog.
func TestWhatScriptsOfJWTContextExpect(t *testing.T) {
	const header, body = "failed to parse JWT token header (separator not found)", `{"id": 123456, "exp": 123456789}`
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		s.set(t, admin, "jwt.compatibility", "on")
		defer s.set(t, admin, "jwt.compatibility", "off")
		defer admin.mustExec("alter database postgres reset all")
		keys := admin.mustExec("select private_raw, public_raw from jwt_generate_keys('ES256')").rows[0]
		private, public := keys[0], keys[1]
		secret, other := admin.one("select jwt_generate_secret('HS256')"), admin.one("select jwt_generate_secret('HS256')")
		sign := func(algorithm, key, says string) string {
			return admin.one("select jwt_sign('" + algorithm + "', '" + key + `', '{"alg": "` + says + `"}', '` + body + "')")
		}
		for _, r := range []struct{ name, key, token, want string }{
			{"the header says ES256, the key is a secret", secret, sign("HS256", secret, "ES256"), "failed to read key"},
			{"another secret", other, sign("HS256", secret, "HS256"), "f"},
			{"the secret", secret, sign("HS256", secret, "HS256"), "t"},
			{"the header says HS256, the key is public", public, sign("ES256", private, "HS256"), "f"},
			{"the private key", private, sign("ES256", private, "ES256"), "failed to read key"},
			{"the public key", public, sign("ES256", private, "ES256"), "t"},
		} {
			if got := admin.says("select jwt_verify('" + r.key + "', '" + r.token + "')"); got != r.want {
				t.Errorf("%s: %s, want %s", r.name, got, r.want)
			}
		}
		for _, r := range []struct{ setting, value, token string }{
			{"jwt.secret", secret, sign("HS256", secret, "HS256")},
			{"jwt.pubkey", public, sign("ES256", private, "ES256")},
		} {
			admin.mustExec("alter database postgres reset all")
			if got := s.login(t, "plain").says("set jwt.context = '" + r.token + "'"); got != "no key defined" {
				t.Errorf("without a key: %s", got)
			}
			admin.mustExec("alter database postgres set " + r.setting + " = '" + r.value + "'")
			c := s.login(t, "plain")
			for _, q := range []struct{ sql, want string }{
				{"select jwt_verify(null, '" + r.token + "')", "t"},
				{"set jwt.context = 'blahblah'", header}, {"set jwt.context = 'foo:bar'", header}, {"set jwt.context = 'foo:bar:baz'", header},
				{"show jwt.context", "(not set)"}, {"set jwt.context = '" + r.token + "'", "no row"}, {"show jwt.context", body},
				{"select jwt()", body}, {"select jwt('id')", "123456"}, {"select jwt('xid')", "NULL"},
			} {
				if got := c.says(q.sql); got != q.want {
					t.Errorf("%s: %s: %s, want %s", r.setting, q.sql, got, q.want)
				}
			}
		}
	})
}

// TestSignaturesInDER: jwt_context signed ES256 with DER, where JOSE has R and S; its tokens are read still.
func TestSignaturesInDER(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		input := b64([]byte(`{"alg":"ES256"}`)) + "." + b64([]byte(claims("")))
		digest := sha256.Sum256([]byte(input))
		der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		c := start(t, inst).login(t, "plain")
		verify := func(input string) string {
			return c.says("select jwt_verify('" + spki(t, key) + "', '" + input + "." + b64(der) + "')")
		}
		if got := verify(input); got != "t" {
			t.Errorf("DER: %s", got)
		}
		if got := verify(strings.Replace(input, ".", "."+b64([]byte(`{"tenant":"t2","x":`)), 1)); got == "t" {
			t.Error("the signature of another token is taken")
		}
	})
}
