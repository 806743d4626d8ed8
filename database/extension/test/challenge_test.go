package extension_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/cluster"
)

const (
	answerNeeded  = "token needs an answer to jwt_challenge()"
	answerRefused = "the answer to the challenge was refused"
)

// holder has a token that names his key.
type holder struct {
	t     testing.TB
	key   crypto.Signer
	alg   string
	token string
}

func newHolder(t testing.TB, issuer ed25519.PrivateKey, key crypto.Signer, alg, more string) holder {
	t.Helper()
	public, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return holder{t, key, alg, mint(t, issuer, edHeader, claims(fmt.Sprintf(`,"cnf":{"jwk":%s}%s`, public, more)))}
}

// ada is a holder with an Ed25519 key.
func ada(t testing.TB, issuer ed25519.PrivateKey) holder {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newHolder(t, issuer, key, "EdDSA", "")
}

// tokenHash is sd_hash of RFC 9901 for a token without disclosures.
func tokenHash(token string) string {
	hash := sha256.Sum256([]byte(token + "~"))
	return b64(hash[:])
}

// answer is the token and the proof for a challenge.
func (h holder) answer(nonce string) string {
	h.t.Helper()
	return h.token + "~" + h.proof(`"kb+jwt"`, nonce, tokenHash(h.token), "")
}

func (h holder) proof(typ, nonce, hash, more string) string {
	h.t.Helper()
	header := fmt.Sprintf(`{"alg":"%s","typ":%s}`, h.alg, typ)
	return mint(h.t, h.key, header, fmt.Sprintf(`{"nonce":"%s","sd_hash":"%s","iat":%d%s}`, nonce, hash, time.Now().Unix(), more))
}

func (c *client) nonce() string {
	c.t.Helper()
	return c.one("select jwt_challenge()")
}

// refuses checks that a presentation is refused with this text and nothing else, and leaves no context.
func (c *client) refuses(name, presentation, text string) {
	c.t.Helper()
	r := c.exec("set jwt.context = '" + presentation + "'")
	if r.code() != "28000" || r.errors[0].Message != text || r.errors[0].Detail != "" || r.errors[0].Hint != "" {
		c.t.Errorf("%s: %s, want %q", name, describe(r), text)
	}
	if got := c.one("select coalesce(jwt('tenant'), '-')"); got != "-" {
		c.t.Errorf("%s: a context is there: %s", name, got)
	}
	c.mustExec("reset jwt.context")
}

// requireChallenge turns the setting on for the role "plain".
func requireChallenge(t *testing.T, s *server) {
	t.Helper()
	s.login(t, "postgres").mustExec("alter role plain set jwt.require_challenge = on")
	t.Cleanup(func() { s.login(t, "postgres").mustExec("alter role plain reset jwt.require_challenge") })
}

// TestChallenge: what a client does that has nothing to hide.
func TestChallenge(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		_, ed, _ := ed25519.GenerateKey(rand.Reader)
		ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		holders := []holder{newHolder(t, key, ed, "EdDSA", ""), newHolder(t, key, ec, "ES256", ""), newHolder(t, key, rsaKey, "RS256", "")}
		for _, required := range []string{"off", "on"} {
			admin.mustExec("alter role plain set jwt.require_challenge = " + required)
			c := s.login(t, "plain")
			for _, h := range holders {
				c.mustExec("set jwt.context = '" + h.answer(c.nonce()) + "'")
				if got := c.one("select string_agg(value::text, ',' order by value) from secrets"); got != "1,4,7" {
					t.Errorf("%s, required %s: %s", h.alg, required, got)
				}
				c.mustExec("begin; select set_config('jwt.context', '" + h.answer(c.nonce()) + "', true); commit; reset jwt.context")
			}
			// The issuer puts the challenge into a token for this connection.
			c.mustExec("set jwt.context = '" + mint(t, key, edHeader, claims(`,"nonce":"`+c.nonce()+`"`)) + "'")
			if got := c.one("select jwt('tenant')"); got != "t1" {
				t.Errorf("required %s: %s", required, got)
			}
		}
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, jwk(t, own, "k", nil)))
		sealed := holders[0]
		sealed.token = seal(t, sealed.token, jose.ECDH_ES, "k", own.Public(), nil)
		c := s.login(t, "plain")
		c.mustExec("set jwt.context = '" + sealed.answer(c.nonce()) + "'")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Errorf("encrypted: %s", got)
		}
		admin.mustExec("alter role plain reset jwt.require_challenge")
		c = s.login(t, "plain") // a nonce of the issuer's own protocol is nobody's business
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, claims(`,"nonce":"of the browser"`)) + "'")
	})
}

// TestAttackStolenTokenOfAKey: the attacker has the token and not the key, on a connection of his own.
//
// Must: Without an answer signed with the key, the token is refused.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackStolenTokenOfAKey(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		victim, attacker := ada(t, key), ada(t, key)
		thief := holder{t, attacker.key, attacker.alg, victim.token}
		plainToken := mint(t, key, edHeader, claims(""))
		for _, required := range []bool{false, true} {
			if required {
				requireChallenge(t, s)
			}
			c := s.login(t, "plain")
			c.refuses("the token alone", victim.token, answerNeeded)
			c.nonce()
			c.refuses("the token alone, after a challenge", victim.token, answerNeeded)
			c.refuses("the attacker's signature", thief.answer(c.nonce()), answerRefused)
			c.refuses("his own token's proof", victim.token+"~"+strings.Split(attacker.answer(c.nonce()), "~")[1], answerRefused)
			if r := s.login(t, "plain", "jwt.context", victim.token).exec("select jwt('tenant')"); r.code() != "28000" {
				t.Errorf("at connection start: %s", describe(r))
			}
			if required {
				c.refuses("a token without a key", plainToken, answerNeeded)
				if r := s.login(t, "plain", "jwt.context", plainToken).exec("select jwt('tenant')"); r.code() != "28000" {
					t.Errorf("a token without a key, at connection start: %s", describe(r))
				}
				for _, sql := range []string{"set jwt.require_challenge = off", "reset jwt.require_challenge", "set jwt.challenge_lifetime = 600"} {
					if r := c.exec(sql); !strings.HasPrefix(sql, "reset") && r.code() != "42501" {
						t.Errorf("%s: %s", sql, describe(r))
					}
				}
				c.refuses("after the settings were tried", plainToken, answerNeeded)
			}
		}
	})
}

// TestAttackReplayedAnswer: the attacker has seen the token and an answer that was good, and is on the same connection (behind
// a pooler) or on another.
//
// Must: An answer works once, and on its own connection alone.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackReplayedAnswer(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		requireChallenge(t, s)
		h := ada(t, key)
		c, other := s.login(t, "plain"), s.login(t, "plain")
		answer := h.answer(c.nonce())
		c.mustExec("set jwt.context = '" + answer + "'")
		c.mustExec("discard all")
		c.refuses("on the same connection", answer, answerRefused)
		c.nonce()
		c.refuses("on the same connection, with a new challenge", answer, answerRefused)
		other.refuses("on another connection", answer, answerRefused)
		other.nonce()
		other.refuses("on another connection, with a challenge of its own", answer, answerRefused)

		fresh := h.answer(c.nonce())
		other.refuses("on another connection, before it was used", fresh, answerRefused)
		c.mustExec("begin")
		c.mustExec("set jwt.context = '" + fresh + "'")
		c.mustExec("rollback")
		c.refuses("after a rollback", fresh, answerRefused)
		fresh = h.answer(c.nonce())
		c.refuses("a wrong one", fresh+"x", answerRefused)
		c.refuses("the right one behind a wrong one", fresh, answerRefused)
		fresh = h.answer(c.nonce())
		c.mustExec("do $$ begin perform set_config('jwt.context', '" + fresh + "', false); raise exception 'x'; exception when others then null; end $$")
		c.refuses("after a subtransaction that failed", fresh, answerRefused)

		// The same with the challenge in the token.
		token := mint(t, key, edHeader, claims(`,"nonce":"`+c.nonce()+`"`))
		other.nonce()
		other.refuses("a token for another connection", token, answerRefused)
		c.mustExec("set jwt.context = '" + token + "'")
		c.mustExec("reset jwt.context")
		c.refuses("a token that was used", token, answerRefused)
	})
}

// TestAttackStaleChallenge: the attacker waits for an answer that was never handed in, or keeps a challenge for later.
//
// Must: A challenge is good for a short time and one answer.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackStaleChallenge(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("alter role plain set jwt.challenge_lifetime = 1")
		defer admin.mustExec("alter role plain reset jwt.challenge_lifetime")
		h := ada(t, key)
		c := s.login(t, "plain")
		stale := h.answer(c.nonce())
		c.mustExec("select pg_sleep(1.1)")
		c.refuses("after its time", stale, answerRefused)
		first := c.nonce()
		second := c.nonce()
		if first == second || len(first) != 43 {
			t.Errorf("challenges %q and %q", first, second)
		}
		c.refuses("the challenge before the last", h.answer(first), answerRefused)
		c.refuses("the last, now used up", h.answer(second), answerRefused)
		c.mustExec("set jwt.context = '" + h.answer(c.nonce()) + "'")
	})
}

// TestAttackBadProof: the attacker writes any proof that he likes, or has the holder's signature on something else.
//
// Must: Every proof is refused but the signature of the key in the token over this challenge.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackBadProof(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("alter database postgres set jwt.audience = 'db'")
		_, own, _ := ed25519.GenerateKey(rand.Reader)
		h := newHolder(t, key, own, "EdDSA", `,"aud":"db"`)
		other := newHolder(t, key, own, "EdDSA", `,"aud":"db","sub2":"x"`)
		c := s.login(t, "plain")
		hash, good := tokenHash(h.token), `,"aud":["x","db"]`
		for name, proof := range map[string]func(nonce string) string{
			"type of a token":          func(n string) string { return h.proof(`"JWT"`, n, hash, good) },
			"type of another protocol": func(n string) string { return h.proof(`"dpop+jwt"`, n, hash, good) },
			"type null":                func(n string) string { return h.proof(`null`, n, hash, good) },
			"another challenge":        func(n string) string { return h.proof(`"kb+jwt"`, n[1:]+"A", hash, good) },
			"no challenge":             func(n string) string { return h.proof(`"kb+jwt"`, "", hash, good) },
			"another token":            func(n string) string { return h.proof(`"kb+jwt"`, n, tokenHash(other.token), good) },
			"no token":                 func(n string) string { return h.proof(`"kb+jwt"`, n, "", good) },
			"hash without the tilde": func(n string) string {
				sum := sha256.Sum256([]byte(h.token))
				return h.proof(`"kb+jwt"`, n, b64(sum[:]), good)
			},
			"another audience":        func(n string) string { return h.proof(`"kb+jwt"`, n, hash, `,"aud":"evil"`) },
			"no audience":             func(n string) string { return h.proof(`"kb+jwt"`, n, hash, "") },
			"two challenges":          func(n string) string { return h.proof(`"kb+jwt"`, n, hash, good+`,"nonce":"`+n+`"`) },
			"critical":                func(n string) string { return h.proof(`"kb+jwt","crit":["x"]`, n, hash, good) },
			"signed by the issuer":    func(n string) string { return holder{t, key, "EdDSA", ""}.proof(`"kb+jwt"`, n, hash, good) },
			"HMAC with the key":       func(n string) string { return hmacProof(t, own, n, hash) },
			"alg none":                func(n string) string { return unsigned(h.proof(`"kb+jwt"`, n, hash, good)) },
			"signature cut off":       func(n string) string { return strings.TrimRight(h.proof(`"kb+jwt"`, n, hash, good), "ABCDEFGH") + "." },
			"empty":                   func(string) string { return "" },
			"two of them":             func(n string) string { p := h.proof(`"kb+jwt"`, n, hash, good); return p + "~" + p },
			"the token again":         func(string) string { return h.token },
			"five parts":              func(string) string { return "e30.e30.e30.e30.e30" },
			"its own key in a header": func(n string) string { return jwkProof(t, n, hash, good) },
		} {
			c.refuses(name, h.token+"~"+proof(c.nonce()), answerRefused)
		}
		c.refuses("good, for a token that names no key", mint(t, key, edHeader, claims(`,"aud":"db"`))+"~"+h.proof(`"kb+jwt"`, c.nonce(), hash, good), answerRefused)
		c.refuses("too long", h.token+"~"+strings.Repeat("Z", 70000), "token is too long")
		c.mustExec("set jwt.context = '" + h.token + "~" + h.proof(`"kb+jwt"`, c.nonce(), hash, good) + "'")
		c.mustExec("reset jwt.context")

		admin.mustExec("alter database postgres reset jwt.audience")
		c = s.login(t, "plain")
		for name, cnf := range map[string]string{
			"a secret":         `{"jwk":{"kty":"oct","k":"` + b64(own[:32]) + `"}}`,
			"a private key":    `{"jwk":{"kty":"OKP","crv":"Ed25519","x":"` + b64(own[32:]) + `","d":"` + b64(own[:32]) + `"}}`,
			"for encryption":   `{"jwk":{"kty":"OKP","crv":"Ed25519","use":"enc","x":"` + b64(own[32:]) + `"}}`,
			"of another alg":   `{"jwk":{"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"` + b64(own[32:]) + `"}}`,
			"no key":           `{"jwk":{}}`,
			"null":             `{"jwk":null}`,
			"a string":         `{"jwk":"x"}`,
			"an array":         `{"jwk":[]}`,
			"a key in a place": `{"jwk":{"kty":"OKP","crv":"Ed25519","kid":"` + strings.Repeat("k", 500) + `","x":"` + b64(own[32:]) + `"}}`,
		} {
			bad := holder{t, own, "EdDSA", mint(t, key, edHeader, claims(`,"cnf":`+cnf))}
			c.refuses(name, bad.answer(c.nonce()), answerRefused)
			c.refuses(name+", without a proof", bad.token, answerNeeded)
		}
		// A key is not all: the other bindings hold beside it.
		public, _ := json.Marshal(jose.JSONWebKey{Key: own.Public()})
		both := holder{t, own, "EdDSA", mint(t, key, edHeader, claims(`,"cnf":{"role":"pool","jwk":`+string(public)+`}`))}
		c.refuses("a key and another role", both.answer(c.nonce()), "token is bound to another role")
		// What proves is no token.
		c.refuses("a proof as a token", mint(t, key, `{"alg":"EdDSA","typ":"kb+jwt"}`, claims("")), "token is of another type")
	})
}

// hmacProof is signed with the bytes of the public key as a secret.
func hmacProof(t testing.TB, key ed25519.PrivateKey, nonce, hash string) string {
	return mint(t, []byte(key[32:]), `{"alg":"HS256","typ":"kb+jwt"}`, fmt.Sprintf(`{"nonce":"%s","sd_hash":"%s","aud":"db"}`, nonce, hash))
}

// jwkProof brings the key that verifies it.
func jwkProof(t testing.TB, nonce, hash, more string) string {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	public, _ := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	return holder{t, key, "EdDSA", ""}.proof(`"kb+jwt","jwk":`+string(public), nonce, hash, more)
}

func unsigned(proof string) string {
	return b64([]byte(`{"alg":"none","typ":"kb+jwt"}`)) + "." + strings.Split(proof, ".")[1] + "."
}

// TestAttackChallengeBesideNative: the attacker asks for a challenge of his own on a connection that belongs to a proxy.
//
// Must: There is nothing to answer.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackChallengeBesideNative(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		h := ada(t, key)
		c := s.login(t, "plain")
		answer := h.answer(c.nonce())
		c.establish(s, s.key)
		if r := c.exec("select jwt_challenge()"); r.code() != "55000" {
			t.Error(describe(r))
		}
		if r := c.exec("set jwt.context = '" + answer + "'"); r.code() != "55000" {
			t.Error(describe(r))
		}
	})
}

// TestAttackReadAnswerInLog: the attacker reads the log while others answer challenges.
//
// Must: Neither tokens nor answers stand in the log; the reason of a refusal does.
// Dialects: native
// Not sql: challenge and response for direct connections need the extension
func TestAttackReadAnswerInLog(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		h := ada(t, key)
		c := s.login(t, "plain")
		answer := h.answer(c.nonce())
		c.refuses("changed", answer[:len(answer)-4]+"AAAA", answerRefused)
		c.mustExec("set jwt.context = '" + h.answer(c.nonce()) + "'")
		log, err := os.ReadFile(s.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range append(strings.Split(answer, "."), strings.Split(answer, "~")...) {
			if len(hidden) > 30 && strings.Contains(string(log), hidden) {
				t.Errorf("in the log: %s", hidden)
			}
		}
		if want := "token was refused: proof is signed with another key"; !strings.Contains(string(log), want) {
			t.Errorf("the log does not say %q", want)
		}
	})
}
