package token_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

type rfcVector struct {
	Name, JWS, Payload string
	JWK                json.RawMessage
	Algorithms         []string
}

func rfcVectors(t *testing.T) (vectors []rfcVector) {
	t.Helper()
	if err := json.Unmarshal(must(os.ReadFile("testdata/rfc.json")), &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestRFC(t *testing.T) {
	vectors := rfcVectors(t)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			keys, skipped, err := keyset.ParseJWKS(v.JWK, v.Algorithms)
			if err != nil || len(keys) != 1 {
				t.Fatal(keys, skipped, err)
			}
			payload, err := token.VerifySignature([]byte(v.JWS), keys, now)
			if err != nil {
				t.Fatal(err)
			}
			if string(payload) != v.Payload {
				t.Errorf("payload is %q", payload)
			}
			for _, other := range vectors { // no key verifies another's token
				if string(other.JWK) != string(v.JWK) {
					if _, err := token.VerifySignature([]byte(other.JWS), keys, now); err == nil {
						t.Errorf("the key verifies the token of %s too", other.Name)
					}
				}
			}
		})
	}
}

// The examples with claims are tokens of 2011: whole, and refused for their age alone once the clock has moved on.
func TestRFC7515Claims(t *testing.T) {
	for _, v := range rfcVectors(t)[:3] {
		t.Run(v.Name, func(t *testing.T) {
			keys, _, err := keyset.ParseJWKS(v.JWK, v.Algorithms)
			if err != nil {
				t.Fatal(err)
			}
			verifier := &token.Verifier{
				Rules: token.Rules{Issuer: "joe", SubjectClaim: "iss"},
				Keys:  token.Keys(keys),
				Clock: func() time.Time { return time.Unix(1300819379, 0) },
			}
			tok, err := verifier.Verify([]byte(v.JWS))
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"iss":"joe","exp":1300819380,"http://example.com/is_root":true}`; string(tok.Claims) != want {
				t.Errorf("claims are %s", []byte(tok.Claims))
			}
			verifier.Clock = func() time.Time { return time.Unix(1300819380, 0) }
			_, err = verifier.Verify([]byte(v.JWS))
			wantReason(t, err, token.Expired)
		})
	}
}

// RFC 7515, A.5 (unsecured), A.6 and A.7 (JSON serialization) are forms that we do not take.
func TestRFC7515Refused(t *testing.T) {
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	for _, tc := range []struct {
		name, raw string
		want      token.Reason
	}{
		{"A.5: unsecured", "eyJhbGciOiJub25lIn0." + joe + ".", token.Unsecured},
		{"A.6: general JSON", `{"payload":"` + joe + `","signatures":[{"protected":"eyJhbGciOiJSUzI1NiJ9","header":{"kid":"2010-12-29"},"signature":"cC4h"}]}`, token.Malformed},
		{"A.7: flattened JSON", `{"payload":"` + joe + `","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"DtEh"}`, token.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := edVerifier().Verify([]byte(tc.raw))
			wantReason(t, err, tc.want)
		})
	}
}
