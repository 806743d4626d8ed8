package token_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/token"
)

const (
	logoutHeader = `{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`
	logoutClaims = `{"iss":"https://issuer.example","aud":"shop-client","iat":1795262395,"exp":1795262500,"jti":"l1","sub":"alice","sid":"s1",` +
		`"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`
)

func logoutRules() token.LogoutRules { return token.LogoutRules{Audience: []string{"shop-client"}} }

func verifyLogout(raw []byte, rules token.LogoutRules) (*token.Logout, error) {
	return token.VerifyLogout(raw, func(iss string) (*token.Verifier, token.LogoutRules) {
		if iss != issuer {
			return nil, rules
		}
		return edVerifier(), rules
	})
}

func TestLogoutToken(t *testing.T) {
	l, err := verifyLogout(edToken(logoutHeader, logoutClaims), logoutRules())
	if err != nil || l.Issuer != issuer || l.Subject != "alice" || l.Session != "s1" || l.ID != "l1" || l.Issued.Unix() != 1795262395 {
		t.Fatalf("%+v %v", l, err)
	}
	old := logoutRules()
	old.Types = []string{"JWT"}
	if _, err := verifyLogout(edToken(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, logoutClaims), old); err != nil {
		t.Error(err)
	}
}

// TestAttackLogoutToken: the attacker wants to sign somebody out. He has tokens of the person, ID tokens among them, logout tokens for
// other clients and of other issuers, old ones, and can write any token; he has no key of the issuer.
//
// Must: Nothing but a logout token of the issuer for this client, as the standard writes it, must be taken; and a logout token must never log
// anybody in.
// Dialects: none
func TestAttackLogoutToken(t *testing.T) {
	change := func(old, text string) []byte {
		if !strings.Contains(logoutClaims, old) {
			t.Fatalf("nothing to change: %s", old)
		}
		return edToken(logoutHeader, strings.Replace(logoutClaims, old, text, 1))
	}
	for name, test := range map[string]struct {
		raw  []byte
		want token.Reason
	}{
		"an access token":            {claims(goodClaims), token.WrongType},
		"an access token, renamed":   {edToken(logoutHeader, goodClaims), token.WrongAudience},
		"another type":               {edToken(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, logoutClaims), token.WrongType},
		"no type":                    {edToken(`{"alg":"EdDSA","kid":"ed"}`, logoutClaims), token.WrongType},
		"an ID token":                {change(`"jti"`, `"nonce":"n","jti"`), token.BadClaim},
		"a null nonce":               {change(`"jti"`, `"nonce":null,"jti"`), token.BadClaim},
		"no events":                  {change(`"events"`, `"event"`), token.MissingClaim},
		"another event":              {change(`backchannel-logout`, `backchannel-login`), token.BadClaim},
		"events as a list":           {change(`{"http://schemas.openid.net/event/backchannel-logout":{}}`, `["http://schemas.openid.net/event/backchannel-logout"]`), token.BadClaim},
		"an event that is no object": {change(`logout":{}`, `logout":1`), token.BadClaim},
		"no audience":                {change(`"aud":"shop-client",`, ``), token.WrongAudience},
		"another client":             {change(`shop-client`, `other-client`), token.WrongAudience},
		"no exp":                     {change(`"exp":1795262500,`, ``), token.MissingClaim},
		"over":                       {change(`1795262500`, `1795262399`), token.Expired},
		"valid for a day":            {change(`1795262500`, `1795348800`), token.LifetimeTooLong},
		"no iat":                     {change(`"iat":1795262395,`, ``), token.MissingClaim},
		"of tomorrow":                {change(`"iat":1795262395`, `"iat":1795262450`), token.IssuedInFuture},
		"no jti":                     {change(`"jti":"l1",`, ``), token.MissingClaim},
		"a number for jti":           {change(`"jti":"l1"`, `"jti":1`), token.BadClaim},
		"nobody":                     {change(`"sub":"alice","sid":"s1",`, ``), token.MissingClaim},
		"an empty subject":           {change(`"sub":"alice"`, `"sub":""`), token.BadClaim},
		"a list of subjects":         {change(`"sub":"alice"`, `"sub":["alice"]`), token.BadClaim},
		"a long subject":             {change(`alice`, strings.Repeat("a", 256)), token.BadClaim},
		"another issuer":             {change(`https://issuer.example`, `https://evil.example`), token.UnknownIssuer},
		"unsigned":                   {join(`{"alg":"none","typ":"logout+jwt"}`, logoutClaims, func([]byte) []byte { return nil }), token.Unsecured},
		"signed by another":          {join(logoutHeader, logoutClaims, func([]byte) []byte { return make([]byte, 64) }), token.BadSignature},
		"no token":                   {[]byte("logout"), token.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyLogout(test.raw, logoutRules())
			wantReason(t, err, test.want)
		})
	}
	for _, audience := range [][]string{nil, {"*"}} {
		_, err := verifyLogout(edToken(logoutHeader, logoutClaims), token.LogoutRules{Audience: audience})
		wantReason(t, err, token.Misconfigured)
	}
	_, err := edVerifier().Verify(edToken(logoutHeader, logoutClaims))
	wantReason(t, err, token.WrongType)
}
