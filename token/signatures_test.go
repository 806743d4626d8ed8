package token_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

// remembering is a verifier whose key and clock can be changed.
type remembering struct {
	*token.Verifier
	now time.Time
}

func newRemembering(size int, keys ...token.Key) *remembering {
	r := &remembering{verifier(keys...), now}
	r.Clock, r.Known = func() time.Time { return r.now }, token.NewSignatures(size)
	return r
}

// reason is why a token is refused; "" when it is not.
func (r *remembering) reason(t *testing.T, raw []byte) token.Reason {
	t.Helper()
	_, err := r.Verify(raw)
	if err == nil {
		return ""
	}
	return err.(*token.Refusal).Reason
}

func TestSignaturesAreRemembered(t *testing.T) {
	for alg, tc := range map[string]struct {
		key  any
		sign func([]byte) []byte
		hits uint64
	}{
		"EdDSA": {edKey().Public(), func(in []byte) []byte { return ed25519.Sign(edKey(), in) }, 2},
		"ES256": {&p256Key().PublicKey, signECDSA(crypto.SHA256, p256Key()), 2},
		"RS256": {&rsaKey().PublicKey, signRSA(rsaKey()), 2},
		"HS256": {secret, signHMAC(crypto.SHA256, secret), 0}, // as cheap as looking it up
	} {
		r := newRemembering(10, token.Key{ID: "k", Algorithms: []string{alg}, Public: tc.key})
		raw := join(`{"alg":"`+alg+`","kid":"k"}`, goodClaims, tc.sign)
		for range 3 {
			if why := r.reason(t, raw); why != "" {
				t.Errorf("%s: %s", alg, why)
			}
		}
		if s := r.Known.Stats(); s.Hits != tc.hits || s.Known != int(min(tc.hits, 1)) {
			t.Errorf("%s: %+v", alg, s)
		}
	}
}

// TestAttackRememberedToken: the attacker has a token that was good once, and what made it good has ended since: its time, its
// key, the key's algorithm or certificate, the rules. Or he has changed it.
//
// Must: That its signature is remembered does not help him.
func TestAttackRememberedToken(t *testing.T) {
	key := token.Key{ID: "ed", Algorithms: []string{token.AlgEdDSA}, Public: edKey().Public()}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := claims(goodClaims)
	change := func(f func(*token.Key)) func(*remembering) {
		k := key
		f(&k)
		return func(r *remembering) { r.Keys = token.Keys{k} }
	}
	for name, tc := range map[string]struct {
		do   func(*remembering)
		raw  []byte
		want token.Reason
	}{
		"nothing has changed":        {func(*remembering) {}, raw, ""},
		"it has expired":             {func(r *remembering) { r.now = now.Add(time.Hour) }, raw, token.Expired},
		"the clock went back":        {func(r *remembering) { r.now = now.Add(-time.Hour) }, raw, token.IssuedInFuture},
		"no keys":                    {func(r *remembering) { r.Keys = token.Keys{} }, raw, token.UnknownKey},
		"another key":                {change(func(k *token.Key) { k.Public = other }), raw, token.BadSignature},
		"the key under another name": {change(func(k *token.Key) { k.ID = "new" }), raw, token.UnknownKey},
		"another key without a name": {change(func(k *token.Key) { k.ID, k.Public = "", other }), raw, token.BadSignature},
		"the key for nothing":        {change(func(k *token.Key) { k.Algorithms = nil }), raw, token.WrongAlgorithm},
		"the key for something else": {change(func(k *token.Key) { k.Algorithms = []string{token.AlgES256} }), raw, token.WrongAlgorithm},
		"the key's time is over":     {change(func(k *token.Key) { k.NotAfter = now.Add(-1) }), raw, token.UnknownKey},
		"the source is down":         {func(r *remembering) { r.Keys = downSource{} }, raw, token.KeysUnavailable},
		"another issuer":             {func(r *remembering) { r.Rules.Issuer = "https://other" }, raw, token.WrongIssuer},
		"another audience":           {func(r *remembering) { r.Rules.Audience = []string{"other"} }, raw, token.WrongAudience},
		"other claims":               {func(*remembering) {}, swapPayload(raw, strings.Replace(goodClaims, "alice", "mallory", 1)), token.BadSignature},
		"another header":             {func(*remembering) {}, swapHeader(raw, `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`), token.BadSignature},
		"another signature":          {func(*remembering) {}, slices.Concat(raw[:len(raw)-86], []byte(strings.Repeat("A", 86))), token.BadSignature},
		"one bit of it":              {func(*remembering) {}, slices.Concat(raw[:len(raw)-86], []byte{flip(raw[len(raw)-86])}, raw[len(raw)-85:]), token.BadSignature},
	} {
		r := newRemembering(10, key)
		if why := r.reason(t, raw); why != "" {
			t.Fatal(why)
		}
		tc.do(r)
		for range 2 {
			if why := r.reason(t, tc.raw); why != tc.want {
				t.Errorf("%s: %q, want %q", name, why, tc.want)
			}
		}
	}
}

func swapPayload(raw []byte, payload string) []byte {
	parts := strings.Split(string(raw), ".")
	return []byte(parts[0] + "." + b64([]byte(payload)) + "." + parts[2])
}

func swapHeader(raw []byte, header string) []byte {
	_, rest, _ := strings.Cut(string(raw), ".")
	return []byte(b64([]byte(header)) + "." + rest)
}

// TestAttackFillTheMemory: the attacker sends many tokens, good and bad, from many connections, to fill what remembers signatures.
//
// Must: It does not grow past its size, and bad tokens take no room.
func TestAttackFillTheMemory(t *testing.T) {
	r := newRemembering(50, token.Key{ID: "ed", Algorithms: []string{token.AlgEdDSA}, Public: edKey().Public()})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				good := claims(strings.Replace(goodClaims, "alice", fmt.Sprint("alice", i, "-", j), 1))
				for range 2 {
					if _, err := r.Verify(good); err != nil {
						t.Error(err)
					}
					if _, err := r.Verify(good[:len(good)-2]); err == nil {
						t.Error("half a signature")
					}
				}
			}
		})
	}
	all.Wait()
	if s := r.Known.Stats(); s.Known != 50 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkVerifyAgain(b *testing.B) {
	for _, known := range []*token.Signatures{nil, token.NewSignatures(10)} {
		b.Run(fmt.Sprint("remembered=", known != nil), func(b *testing.B) {
			v := verifier(token.Key{ID: "k", Algorithms: []string{token.AlgES256}, Public: &p256Key().PublicKey})
			v.Known = known
			raw := join(`{"alg":"ES256","kid":"k"}`, goodClaims, signECDSA(crypto.SHA256, p256Key()))
			for b.Loop() {
				if _, err := v.Verify(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
