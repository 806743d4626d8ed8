package keyset_test

import (
	"errors"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/token"
)

// skews are an issuer's clock against ours, the leeway, and what becomes of its tokens, which are good for five minutes. Nothing here is
// nearer than 30 seconds to an edge: those are in package token.
var skews = map[string]struct {
	skew, leeway time.Duration
	want         token.Reason
}{
	"the same clock":            {0, 0, ""},
	"ahead":                     {30 * time.Second, 0, token.IssuedInFuture},
	"ahead, within the leeway":  {30 * time.Second, time.Minute, ""},
	"ahead by far":              {3 * time.Minute, time.Minute, token.IssuedInFuture},
	"a day ahead":               {24 * time.Hour, time.Minute, token.IssuedInFuture},
	"behind, and still good":    {-4 * time.Minute, 0, ""},
	"behind":                    {-330 * time.Second, 0, token.Expired},
	"behind, within the leeway": {-330 * time.Second, time.Minute, ""},
	"behind by far":             {-390 * time.Second, time.Minute, token.Expired},
	"a day behind":              {-24 * time.Hour, time.Minute, token.Expired},
}

// skewed is a provider whose clock is not ours, and an issuer that lives by it.
func skewed(t *testing.T, skew time.Duration) (*pgtest.Provider, *pgtest.Issuer) {
	p := pgtest.StartProvider(t)
	p.Skew(skew)
	is := pgtest.NewIssuer(t, p.URL)
	is.Clock = p.Now
	p.Publish(is.JWK())
	return p, is
}

// The tokens of an issuer whose clock differs are judged by ours and the leeway. Its keys are fetched, kept and rotated as ever: no time of
// its answers is believed.
func TestProviderOfASkewedClock(t *testing.T) {
	for name, test := range skews {
		t.Run(name, func(t *testing.T) {
			p, is := skewed(t, test.skew)
			r, _ := started(t, discovering(t, p))
			v := &token.Verifier{Keys: r, Clock: time.Now, Rules: token.Rules{Issuer: p.URL, Audience: []string{"claimpool"}, Leeway: test.leeway}}
			_, err := v.Verify([]byte(is.Mint("ann", nil)))
			judged(t, err, test.want)

			nbf := is.Now().Add(-time.Second).Unix()
			_, err = v.Verify([]byte(is.Mint("ann", map[string]any{"iat": nil, "nbf": nbf})))
			want := test.want
			if want == token.IssuedInFuture {
				want = token.NotYetValid
			}
			judged(t, err, want)

			is.Clock = nil // what it signs by the right time is good, whatever its answers are dated
			if _, err := v.Verify([]byte(is.Mint("ann", nil))); err != nil {
				t.Errorf("by our clock: %v", err)
			}
			next := pgtest.NewIssuer(t, p.URL)
			next.KeyID = "k2"
			p.Publish(next.JWK())
			if _, err := v.Verify([]byte(next.Mint("ann", nil))); err != nil {
				t.Errorf("a new key: %v", err)
			}
			if _, err := v.Verify([]byte(is.Mint("ann", nil))); err == nil {
				t.Error("the removed key works")
			}
		})
	}
}

// Logout tokens are judged by the same clocks and the same leeway.
func TestLogoutTokensOfASkewedClock(t *testing.T) {
	for name, test := range skews {
		t.Run(name, func(t *testing.T) {
			p, is := skewed(t, test.skew)
			r, _ := started(t, discovering(t, p))
			v := &token.Verifier{Keys: r, Clock: time.Now, Rules: token.Rules{Issuer: p.URL, Audience: []string{"claimpool"}, Leeway: test.leeway}}
			_, err := token.VerifyLogout([]byte(logoutToken(is)), chosen(p, v))
			judged(t, err, test.want)
		})
	}
}

// A provider that misbehaves does so for logout tokens, too: a new key is fetched for one, and while there are no keys, none is taken.
func TestLogoutTokensOfAProvider(t *testing.T) {
	p, is := skewed(t, 0)
	r, _ := started(t, discovering(t, p))
	v := &token.Verifier{Keys: r, Clock: time.Now, Rules: token.Rules{Issuer: p.URL, Audience: []string{"claimpool"}}}
	next := pgtest.NewIssuer(t, p.URL)
	next.KeyID = "k2"
	p.Publish(next.JWK())
	_, err := token.VerifyLogout([]byte(logoutToken(next)), chosen(p, v))
	judged(t, err, "")
	_, err = token.VerifyLogout([]byte(logoutToken(is)), chosen(p, v))
	judged(t, err, token.UnknownKey)

	other := pgtest.NewIssuer(t, "https://other.example")
	other.KeyID = "k2"
	_, err = token.VerifyLogout([]byte(logoutToken(other)), chosen(p, v))
	judged(t, err, token.UnknownIssuer)
	other.Name = p.URL
	_, err = token.VerifyLogout([]byte(logoutToken(other)), chosen(p, v))
	judged(t, err, token.BadSignature)

	for name, wrong := range misbehaviours {
		t.Run(name, func(t *testing.T) {
			p, is := skewed(t, 0)
			p.Instead(wrong.path, wrong.do)
			r, _ := started(t, discovering(t, p))
			v := &token.Verifier{Keys: r, Clock: time.Now, Rules: token.Rules{Issuer: p.URL, Audience: []string{"claimpool"}}}
			_, err := token.VerifyLogout([]byte(logoutToken(is)), chosen(p, v))
			judged(t, err, token.KeysUnavailable)
		})
	}
}

// logoutToken is what an issuer sends when somebody has signed out (OpenID Connect Back-Channel Logout 1.0, section 2.4).
func logoutToken(is *pgtest.Issuer) string {
	now := is.Now().Unix()
	return is.Sign(map[string]any{"alg": "EdDSA", "kid": is.KeyID, "typ": "logout+jwt"}, map[string]any{
		"iss": is.Name, "aud": is.Audience, "sub": "ann", "jti": "1", "iat": now, "exp": now + 300,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
}

// chosen takes logout tokens from one provider alone.
func chosen(p *pgtest.Provider, v *token.Verifier) func(string) (*token.Verifier, token.LogoutRules) {
	return func(issuer string) (*token.Verifier, token.LogoutRules) {
		if issuer != p.URL {
			return nil, token.LogoutRules{}
		}
		return v, token.LogoutRules{Audience: []string{"claimpool"}}
	}
}

// judged holds that a token was refused for a reason; "" is none.
func judged(t *testing.T, err error, want token.Reason) {
	t.Helper()
	var r *token.Refusal
	if want == "" && err == nil || errors.As(err, &r) && r.Reason == want {
		return
	}
	t.Errorf("%v, want %q", err, want)
}
