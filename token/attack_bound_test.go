package token_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/token"
)

// TestAttackBoundToken: the attacker has stolen a token that is bound to its owner's key (DPoP, RFC 9449; RFC 7800), and brings it where
// nobody asks for a proof of that key.
//
// Must: It is refused, in whatever way the issuer has written the binding; one that is bound to a certificate tells which one.
func TestAttackBoundToken(t *testing.T) {
	hash := sha256.Sum256([]byte("a certificate"))
	x5t := `"x5t#S256":"` + base64.RawURLEncoding.EncodeToString(hash[:]) + `"`
	with := func(cnf string) []byte { return claims(strings.TrimSuffix(goodClaims, "}") + `,"cnf":` + cnf + "}") }
	for _, cnf := range []string{
		`{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `{"jwk":{"kty":"OKP","crv":"Ed25519","x":"x"}}`, `{"kid":"k"}`, `{"x5t":"x"}`,
		`{"addr":"192.0.2.1"}`, `{}`, `null`, `[]`, `"jkt"`, `true`,
		`{` + x5t + `,"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `[{` + x5t + `}]`, `{"x5t#s256":"` + x5t[12:] + `}`,
		`{"x5t#S256":null}`, `{"x5t#S256":""}`, `{"x5t#S256":["x"]}`, `{"x5t#S256":"AA"}`, `{` + strings.TrimSuffix(x5t, `"`) + `="}`, `{` + strings.TrimSuffix(x5t, `"`) + `AA"}`,
	} {
		t.Run(cnf, func(t *testing.T) {
			_, err := edVerifier().Verify(with(cnf))
			wantReason(t, err, token.Bound)
		})
	}
	tok, err := edVerifier().Verify(with("{" + x5t + "}"))
	if err != nil || string(tok.Certificate) != string(hash[:]) {
		t.Errorf("bound to a certificate: %v", err)
	}
	if tok, err = edVerifier().Verify(claims(goodClaims)); err != nil || tok.Certificate != nil {
		t.Errorf("bound to nothing: %v", err)
	}
}
