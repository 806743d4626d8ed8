package extension_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// mint signs a token. key is an ed25519, RSA or P-256 private key, or an HMAC secret.
func mint(t testing.TB, key any, header, payload string) string {
	t.Helper()
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch k := key.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, k, digest[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(signature)
}

// spki is the form of jwt.pubkey.
func spki(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b64(der)
}

func claims(more string) string {
	return fmt.Sprintf(`{"tenant":"t1","sub":"me","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// direct is the server with a public key for the database, and connections of the role "plain".
func direct(t *testing.T, inst cluster.Installation) (*server, ed25519.PrivateKey) {
	t.Helper()
	s := start(t, inst)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	admin := s.login(t, "postgres")
	admin.mustExec("alter database postgres set jwt.pubkey = '" + spki(t, key) + "'")
	t.Cleanup(func() { s.login(t, "postgres").mustExec("alter database postgres reset all") })
	return s, key
}

const edHeader = `{"alg":"EdDSA"}`

func TestDirectContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		token := mint(t, key, edHeader, claims(""))
		c := s.login(t, "plain")
		for _, set := range []string{"set jwt.context = '" + token + "'", "select set_config('jwt.context', '" + token + "', false)"} {
			c.mustExec(set)
			if got := c.one("select string_agg(value::text, ',' order by value) from secrets"); got != "1,4,7" {
				t.Errorf("%.20s: %s", set, got)
			}
			c.mustExec("reset jwt.context")
			if got := c.one("select count(*) || coalesce(jwt('tenant'), '-') from secrets"); got != "0-" {
				t.Errorf("after RESET: %s", got)
			}
		}
		c.mustExec("begin; set local jwt.context = '" + token + "'")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Error(got)
		}
		c.mustExec("commit")
		if got := c.one("select jwt('tenant')"); got != "NULL" {
			t.Errorf("after SET LOCAL and COMMIT: %s", got)
		}
		c.mustExec("set jwt.context = '" + token + "'")
		c.mustExec("begin; reset jwt.context; rollback")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Errorf("after a RESET that was rolled back: %s", got)
		}
		if r := c.exec("set jwt.context = '" + token + "x'"); r.code() != "28000" {
			t.Error(describe(r))
		}
		if got := c.one("show jwt.context"); !strings.HasPrefix(got, `{"tenant":"t1"`) {
			t.Errorf("SHOW: %s", got)
		}
		c.mustExec("discard all")
		if got := c.one("show jwt.context") + c.one("select count(*) from secrets"); got != "(not set)0" {
			t.Errorf("after DISCARD ALL: %s", got)
		}
		for _, settings := range [][]string{{"options", "-c jwt.context=" + token}, {"jwt.context", token}} {
			c = s.login(t, "plain", settings...)
			if got := c.one("select count(*) from secrets"); got != "3" {
				t.Errorf("given at start: %s", got)
			}
			if got := c.one("select reset_val || ' ' || setting from pg_settings where name = 'jwt.context'"); strings.Contains(got, "eyJ") {
				t.Errorf("pg_settings: %s", got)
			}
			c = s.login(t, "plain", settings[0], settings[1]+"x")
			if r := c.exec("select count(*) from secrets"); r.code() != "28000" {
				t.Errorf("a bad token given at start: %s", describe(r))
			}
			if got := c.one("show jwt.context"); got != "(not verified)" {
				t.Error(got)
			}
		}
	})
}

// TestAttackDirectTokens: the attacker has the public key and any token he can make from it.
//
// Must: Every one of them is refused, and the backend is alive.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackDirectTokens(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("alter database postgres set jwt.issuer = 'https://idp'; alter database postgres set jwt.audience = 'db'; " +
			"alter database postgres set jwt.type = 'at+jwt'; alter database postgres set jwt.max_lifetime = '2h'; alter database postgres set jwt.leeway = 5")
		c := s.login(t, "plain")
		for _, row := range directTokens(t, key) {
			r := c.exec("set jwt.context = '" + row.token + "'")
			if row.reason == "" && r.code() != "" || row.reason != "" && (r.code() != "28000" || r.errors[0].Message != row.reason) {
				t.Errorf("%s: %s, want %q", row.name, describe(r), row.reason)
			}
			if r.dead {
				t.Fatal("the backend is dead")
			}
			c.mustExec("reset jwt.context")
		}

	})
}

// tokenHeader and goodClaims are what the rules of TestAttackDirectTokens accept.
const tokenHeader = `{"alg":"EdDSA","typ":"at+jwt"}`

func goodClaims(more string) string { return claims(`,"iss":"https://idp","aud":["x","db"]` + more) }

type directToken struct{ name, token, reason string }

func directTokens(t testing.TB, key ed25519.PrivateKey) []directToken {
	header, good, now := tokenHeader, goodClaims, time.Now().Unix()
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	valid := mint(t, key, header, good(""))
	return []directToken{
		{"good", valid, ""},
		{"name of RFC 9864", mint(t, key, `{"alg":"Ed25519","typ":"AT+JWT"}`, good("")), ""},
		{"type with application/", mint(t, key, `{"alg":"EdDSA","typ":"application/at+jwt"}`, good("")), ""},
		{"one audience", mint(t, key, header, claims(`,"iss":"https://idp","aud":"db"`)), ""},
		{"expired within the leeway", mint(t, key, header, fmt.Sprintf(`{"exp":%d,"iss":"https://idp","aud":"db"}`, now-1)), ""},
		{"another key", mint(t, other, header, good("")), "signature verification failed"},
		{"HMAC with the public key's bytes", mint(t, der, `{"alg":"HS256","typ":"at+jwt"}`, good("")), "no key defined"},
		{"HMAC with the raw public key", mint(t, []byte(key.Public().(ed25519.PublicKey)), `{"alg":"HS256","typ":"at+jwt"}`, good("")), "no key defined"},
		{"HMAC with the setting's text", mint(t, []byte(b64(der)), `{"alg":"HS256","typ":"at+jwt"}`, good("")), "no key defined"},
		{"alg none", mint(t, key, `{"alg":"none","typ":"at+jwt"}`, good("")), "unknown/unsupported algorithm"},
		{"alg nOnE without a signature", b64([]byte(`{"alg":"nOnE"}`)) + "." + b64([]byte(good(""))) + ".", "unknown/unsupported algorithm"},
		{"alg of another key type", mint(t, key, `{"alg":"ES256","typ":"at+jwt"}`, good("")), "no key defined"},
		{"alg is a number", mint(t, key, `{"alg":1}`, good("")), "unknown/unsupported algorithm"},
		{"no alg", mint(t, key, `{"typ":"at+jwt"}`, good("")), "unknown/unsupported algorithm"},
		{"empty header", "e30.e30.", "unknown/unsupported algorithm"},
		{"header is an array", mint(t, key, `[]`, good("")), "failed to decode header"},
		{"duplicate alg", mint(t, key, `{"alg":"EdDSA","alg":"EdDSA"}`, good("")), "failed to decode header"},
		{"duplicate alg, escaped", mint(t, key, `{"alg":"EdDSA","\u0061lg":"none"}`, good("")), "failed to decode header"},
		{"crit", mint(t, key, `{"alg":"EdDSA","crit":["exp"],"exp":1}`, good("")), "token has a critical header that is not supported"},
		{"empty crit", mint(t, key, `{"alg":"EdDSA","crit":[]}`, good("")), "token has a critical header that is not supported"},
		{"duplicate claim", mint(t, key, header, good(`,"sub":"you"`)), "failed to decode body"},
		{"duplicate claim inside", mint(t, key, header, good(`,"o":{"a":1,"a":2}`)), "failed to decode body"},
		{"NUL", mint(t, key, header, good(`,"x":"\u0000"`)), "failed to decode body"},
		{"lone surrogate", mint(t, key, header, good(`,"x":"\ud800"`)), "failed to decode body"},
		{"not UTF-8", mint(t, key, header, good(",\"x\":\"\xff\"")), "failed to decode body"},
		{"deep", mint(t, key, header, good(`,"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000))), "failed to decode body"},
		{"body is a string", mint(t, key, header, `"x"`), "failed to decode body"},
		{"padding", strings.Replace(valid, ".", "=.", 1), "failed to decode header"},
		{"newline", valid + "\n", "failed to decode signature"},
		{"standard alphabet", valid[:len(valid)-3] + "+/A", "failed to decode signature"},
		{"five parts", valid + ".x.y", closedText},
		{"six parts", valid + ".x.y.z", "failed to parse JWT token signature (extra separator)"},
		{"two parts", valid[:strings.LastIndex(valid, ".")], "failed to parse JWT token body (separator not found)"},
		{"too long", valid + strings.Repeat("A", 70000), "token is too long"},
		{"a million dots", strings.Repeat(".", 1000000), "token is too long"},
		{"no expiry", mint(t, key, header, `{"iss":"https://idp","aud":"db"}`), "token does not expire"},
		{"expiry is a string", mint(t, key, header, fmt.Sprintf(`{"iss":"https://idp","aud":"db","exp":"%d"}`, now+100)), "token has a bad expiry"},
		{"expiry is huge", mint(t, key, header, `{"iss":"https://idp","aud":"db","exp":1e400}`), "token has a bad expiry"},
		{"expiry is negative", mint(t, key, header, `{"iss":"https://idp","aud":"db","exp":-1}`), "token has a bad expiry"},
		{"expiry is null", mint(t, key, header, `{"iss":"https://idp","aud":"db","exp":null}`), "token has a bad expiry"},
		{"expired", mint(t, key, header, fmt.Sprintf(`{"iss":"https://idp","aud":"db","exp":%d}`, now-10)), "token has expired"},
		{"not yet", mint(t, key, header, good(fmt.Sprintf(`,"nbf":%d`, now+60))), "token is not valid yet"},
		{"issued in the future", mint(t, key, header, good(fmt.Sprintf(`,"iat":%d`, now+60))), "token was issued in the future"},
		{"lives too long", mint(t, key, header, fmt.Sprintf(`{"iss":"https://idp","aud":"db","exp":%d}`, now+10000)), "token lives too long"},
		{"issued long ago", mint(t, key, header, good(fmt.Sprintf(`,"iat":%d`, now-10000))), "token lives too long"},
		{"another issuer", mint(t, key, header, claims(`,"iss":"https://idp/","aud":"db"`)), "token is from another issuer"},
		{"issuer is an array", mint(t, key, header, claims(`,"iss":["https://idp"],"aud":"db"`)), "token is from another issuer"},
		{"another audience", mint(t, key, header, claims(`,"iss":"https://idp","aud":["DB","d"]`)), "token is for another audience"},
		{"no audience", mint(t, key, header, claims(`,"iss":"https://idp"`)), "token is for another audience"},
		{"another type", mint(t, key, edHeader, good("")), "token is of another type"},
	}
}

// TestAttackDirectSettings: the attacker has a token of his own and wants it, or his own key, to count for others.
//
// Must: Only the session's own token counts, verified with the keys of the superuser.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackDirectSettings(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		_, other, _ := ed25519.GenerateKey(rand.Reader)
		good, header, valid := goodClaims, tokenHeader, mint(t, key, tokenHeader, goodClaims(""))
		c, admin := s.login(t, "plain"), s.login(t, "postgres")
		for name, sql := range map[string]string{
			"role":             "alter role plain set jwt.context = '%s'",
			"current user":     "alter role current_user set jwt.context = '%s'",
			"function":         "create function f() returns int language sql set jwt.context = '%s' as 'select 1'",
			"key":              "set jwt.pubkey = '" + spki(t, other) + "'",
			"keys":             "select set_config('jwt.keys', '', false)",
			"secret":           "set jwt.secret = '" + b64(make([]byte, 32)) + "'",
			"issuer":           "set jwt.issuer = ''",
			"unseal":           "select jwt_unseal()",
			"compatibility":    "set jwt.compatibility = on",
			"key at start":     "alter role plain set jwt.pubkey = ''",
			"function's claim": "create function f() returns int language sql set jwt.issuer = '' as 'select 1'",
		} {
			if strings.Contains(sql, "%s") {
				sql = fmt.Sprintf(sql, valid)
			}
			if r := c.exec(sql); r.code() == "" {
				t.Errorf("%s: %s", name, describe(r))
			}
		}
		for _, settings := range [][]string{{"jwt.pubkey", spki(t, other)}, {"jwt.issuer", ""}, {"jwt.secret", b64(make([]byte, 32))}} {
			if c, err := s.tryLogin(t, "plain", settings...); err == nil {
				if r := c.exec("set jwt.context = '" + mint(t, other, header, good("")) + "'"); r.code() != "28000" {
					t.Errorf("login with %s: %s", settings[0], describe(r))
				}
			}
		}
		for _, sql := range []string{"alter database postgres set jwt.context = '" + valid + "'", "alter role all set jwt.context = '" + valid + "'",
			"alter database postgres set jwt.secret = '" + b64(make([]byte, 32)) + "'", "alter system set jwt.context = '" + valid + "'"} {
			if r := admin.exec(sql); r.code() == "" {
				t.Errorf("%.40s: %s", sql, describe(r))
			}
		}
	})
}

func TestDirectKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		_, ed, _ := ed25519.GenerateKey(rand.Reader)
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		point, err := ec.PublicKey.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		set, _ := json.Marshal(map[string]any{"keys": []map[string]string{
			{"kty": "unknown"}, {"kty": "EC", "crv": "P-256", "use": "enc", "x": b64(point.Bytes()[1:33]), "y": b64(point.Bytes()[33:])},
			{"kty": "OKP", "crv": "Ed25519", "x": b64(ed.Public().(ed25519.PublicKey)), "kid": "ed"},
			{"kty": "RSA", "n": b64(rsaKey.N.Bytes()), "e": "AQAB", "alg": "RS256", "kid": "rsa", "use": "sig"},
			{"kty": "EC", "crv": "P-256", "x": b64(point.Bytes()[1:33]), "y": b64(point.Bytes()[33:]), "kid": "ec"},
		}})
		admin.mustExec("set jwt.keys = '" + string(set) + "'")
		for _, row := range []struct {
			name, token string
			want        bool
		}{
			{"Ed25519", mint(t, ed, `{"alg":"EdDSA","kid":"ed"}`, claims("")), true},
			{"RSA", mint(t, rsaKey, `{"alg":"RS256","kid":"rsa"}`, claims("")), true},
			{"EC", mint(t, ec, `{"alg":"ES256","kid":"ec"}`, claims("")), true},
			{"kid of another key", mint(t, ed, `{"alg":"EdDSA","kid":"ec"}`, claims("")), false},
			{"no kid", mint(t, ed, `{"alg":"EdDSA"}`, claims("")), false},
			{"kid is a path", mint(t, ed, `{"alg":"EdDSA","kid":"../../ed"}`, claims("")), false},
			{"another algorithm than the key's", mint(t, rsaKey, `{"alg":"RS512","kid":"rsa"}`, claims("")), false},
		} {
			if admin.accepts(row.token) != row.want {
				t.Errorf("%s: want %v", row.name, row.want)
			}
		}
		admin.mustExec("reset jwt.keys")
		for _, bad := range []string{`{}`, `{"keys":[]}`, `[]`, `{"kty":"oct","k":"` + b64(make([]byte, 32)) + `"}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`, `x`} {
			if r := admin.exec("set jwt.keys = '" + bad + "'"); r.code() != "22023" {
				t.Errorf("jwt.keys = %s: %s", bad, describe(r))
			}
		}
		certificate := func(from, until time.Time) string {
			template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: from, NotAfter: until}
			der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
			if err != nil {
				t.Fatal(err)
			}
			return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		}
		admin.mustExec("set jwt.pubkey = '" + certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour)) + "'")
		if !admin.accepts(mint(t, ec, `{"alg":"ES256"}`, claims(""))) {
			t.Error("a certificate's key was not taken")
		}
		if r := admin.exec("set jwt.pubkey = '" + certificate(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)) + "'"); r.code() != "22023" {
			t.Errorf("an expired certificate: %s", describe(r))
		}
		weak, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		admin.mustExec("set jwt.pubkey = '" + spki(t, weak) + "'")
		if admin.accepts(mint(t, weak, `{"alg":"RS256"}`, claims(""))) {
			t.Error("a key of 1,024 bits was taken")
		}
		admin.mustExec("reset jwt.pubkey")
	})
}

func TestDirectKeysFile(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		secret := make([]byte, 32) // rotation without a reload: the file is read at each verification
		rand.Read(secret)
		path := filepath.Join(s.DataDir(), "keys.json")
		write := func(kid string) {
			os.WriteFile(path, []byte(`{"keys":[{"kty":"oct","kid":"`+kid+`","alg":"HS256","k":"`+b64(secret)+`"}]}`), 0o600)
			info, _ := os.Stat(s.DataDir())
			chownLike(t, path, info)
		}
		write("one")
		s.set(t, admin, "jwt.keys_file", path)
		defer s.set(t, admin, "jwt.keys_file", "")
		one, two := mint(t, secret, `{"alg":"HS256","kid":"one"}`, claims("")), mint(t, secret, `{"alg":"HS256","kid":"two"}`, claims(""))
		if !admin.accepts(one) || admin.accepts(two) {
			t.Error("keys_file with one key")
		}
		write("two")
		if admin.accepts(one) || !admin.accepts(two) {
			t.Error("keys_file after rotation")
		}
		os.Chmod(path, 0o644)
		if admin.accepts(two) {
			t.Error("a file that everybody can read was taken")
		}
	})
}

// accepts says whether a token is taken by SET.
func (c *client) accepts(token string) bool {
	r := c.exec("set jwt.context = '" + token + "'")
	c.mustExec("reset jwt.context")
	return r.code() == ""
}

func TestDirectExpiryAndSeal(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		c := s.login(t, "plain")
		soon := float64(time.Now().Add(3*time.Second).UnixMilli()) / 1000
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, `{"tenant":"t1","exp":`+strconv.FormatFloat(soon, 'f', 3, 64)+`}`) + "'")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Error(got)
		}
		if r := c.exec("do $$ begin perform pg_sleep(3.2); perform jwt('tenant'); end $$"); r.code() != "28000" {
			t.Errorf("signed out automatically? %s", describe(r))
		}
		admin := s.login(t, "postgres")
		admin.mustExec("alter role plain set jwt.set_once = on")
		defer admin.mustExec("revoke execute on function jwt_unseal() from plain")
		defer admin.mustExec("alter role plain reset jwt.set_once")
		first, second := mint(t, key, edHeader, claims("")), mint(t, key, edHeader, strings.Replace(claims(""), "t1", "t2", 1))
		for _, settings := range [][]string{nil, {"jwt.context", first}} {
			c = s.login(t, "plain", settings...)
			if settings == nil {
				c.mustExec("set jwt.context = '" + first + "'")
			}
			for _, sql := range []string{"set jwt.context = ''; set jwt.context = '" + second + "'", "set jwt.context = '" + first + "'", "reset jwt.context", "reset all", "discard all",
				"set jwt.context = ''", "begin; reset jwt.context; commit", "set jwt.set_once = off", "select jwt_unseal()"} {
				c.exec(sql)
				if got := c.one("select jwt('tenant')"); got != "t1" {
					t.Errorf("sealed, after %.30s: %s", sql, got)
				}
			}
		}
		admin.mustExec("grant execute on function jwt_unseal() to plain")
		c.mustExec("select jwt_unseal()")
		c.mustExec("set jwt.context = '" + second + "'")
		if got := c.one("select jwt('tenant')"); got != "t2" {
			t.Errorf("after jwt_unseal(): %s", got)
		}
	})
}

// TestAttackDirectBesideNative: the attacker has a token that verifies, and sets it on a connection that a proxy manages.
//
// Must: The setting neither replaces a context nor stands in for one.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackDirectBesideNative(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		token := mint(t, key, edHeader, strings.Replace(claims(""), "t1", "t9", 1))
		c := s.login(t, "pool", "jwt.context", token)
		c.establish(s, s.key)
		if r := c.exec("select 1"); r.code() != "28000" {
			t.Errorf("the gate: %s", describe(r))
		}
		c.become("t1")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Error(got)
		}
		if r := c.exec("set jwt.context = '" + token + "'"); r.code() != "55000" {
			t.Errorf("SET: %s", describe(r))
		}
		c = s.login(t, "plain", "jwt.context", token)
		c.establish(s, s.key)
		if got := c.one("select coalesce(jwt('tenant'), '-')"); got != "-" {
			t.Errorf("challenged, no hand-over: %s", got)
		}
	})
}

func TestDirectParallel(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		s.login(t, "postgres").mustExec(`drop table if exists big2; create table big2 as select 't' || i % 2 tenant, i from generate_series(1, 20000) i;
			alter table big2 enable row level security; create policy p on big2 using (tenant = jwt('tenant')); grant select on big2 to plain; analyze big2`)
		force := `set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set parallel_leader_participation = off`
		token := mint(t, key, edHeader, claims(""))
		c := s.login(t, "plain", "jwt.context", token)
		c.mustExec(force)
		if got := c.one("select count(*) from big2"); got != "10000" {
			t.Errorf("given at start: %s rows", got)
		}
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, strings.Replace(claims(""), "t1", "t0", 1)) + "'")
		if got := c.one("select count(*) from big2"); got != "10000" {
			t.Errorf("after SET: %s rows", got)
		}
		c.mustExec("reset jwt.context")
		c = s.login(t, "plain", "jwt.context", token+"x")
		c.mustExec(force)
		if r := c.exec("select count(*) from big2"); r.code() != "28000" {
			t.Errorf("a bad token: %s", describe(r))
		}
	})
}

// TestAttackReadLog: the attacker reads the server's log and the views.
//
// Must: No token, no secret.
// Dialects: native
// Not sql: TestAttackReadAnotherHandover is its counterpart
func TestAttackReadLog(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		token := mint(t, key, edHeader, claims(""))
		secret := b64(make([]byte, 33))
		c := s.login(t, "postgres", "options", "-c log_min_duration_statement=0 -c debug_print_parse=on -c log_error_verbosity=verbose")
		c.mustExec("set jwt.context = '" + token + "'")
		c.mustExec("set jwt.secret = '" + secret + "'")
		c.mustExec("select set_config('jwt.context', '" + token + "', false)")
		c.exec("set jwt.context = '" + token + "x'")
		c.exec("selec '" + token + "'")
		c.exec("do $$ begin execute 'set jwt.context = ''" + token + "x'''; end $$")
		if got := c.one("select setting || ' ' || coalesce(reset_val, '') || coalesce(boot_val, '') from pg_settings where name = 'jwt.context'"); strings.Contains(got, "eyJ") {
			t.Errorf("pg_settings: %s", got)
		}
		other := s.login(t, "postgres")
		c.mustExec("set jwt.context = '" + token + "'")
		if got := other.one(fmt.Sprintf("select query from pg_stat_activity where pid = %d", c.pid)); strings.Contains(got, token) {
			t.Errorf("pg_stat_activity: %s", got)
		}
		log, err := os.ReadFile(s.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		signature := token[strings.LastIndex(token, ".")+1:]
		for name, hidden := range map[string]string{"token": token[:60], "signature": signature, "secret": secret} {
			if i := strings.Index(string(log), hidden); i >= 0 {
				t.Errorf("%s in the log: …%s…", name, log[max(0, i-200):min(len(log), i+80)])
			}
		}
	})
}

// TestNoLeak: many verifications do not make the backend grow.
func TestNoLeak(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.login(t, "postgres")
		ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		c.mustExec("set jwt.pubkey = '" + spki(t, ec) + "'")
		token := mint(t, ec, `{"alg":"ES256"}`, claims(""))
		work := func(n int) {
			c.mustExec(fmt.Sprintf(`do $$ begin for i in 1..%d loop
				perform set_config('jwt.context', '%s', false), jwt('tenant'), jwt_verify(null, '%s');
				begin perform set_config('jwt.context', '%sx', false); exception when others then null; end;
				end loop; end $$`, n, token, token, token))
		}
		work(500)
		before := c.memory()
		work(3000)
		if grown := c.memory() - before; grown > 2<<20 {
			t.Errorf("grew by %d bytes", grown)
		}
	})
}
