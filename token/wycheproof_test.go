package token_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

// Wycheproof's labels that we do not follow, and why.
var wycheproofOverrides = map[string]struct {
	valid  bool
	reason string
}{
	"signature/346": {false, "the key's alg is PS256, the token's PS384: a key serves its own algorithm only"},
	"signature/350": {false, "the key's alg is PS256, the token's PS384"},
	"signature/347": {false, `the key's alg is "ES521", which does not exist`},
	"signature/351": {false, `the key's alg is "ES521", which does not exist`},
	"signature/367": {true, "the token is, byte for byte, the valid one of case 357: the padding was lost when the vector was written"},
	"signature/370": {true, "the token is, byte for byte, the valid one of case 357"},
	"signature/372": {false, "a question mark inside the header"},
	"signature/373": {false, "a question mark inside the payload"},
}

type wycheproofFile struct {
	TestGroups []struct {
		Comment         string
		Public, Private json.RawMessage
		Tests           []struct {
			TcID     int
			Comment  string
			JWS, JWE json.RawMessage
			Result   string
		}
	}
}

func TestWycheproof(t *testing.T) {
	for _, name := range []string{"signature", "key", "crypto"} {
		t.Run(name, func(t *testing.T) {
			var file wycheproofFile
			if err := json.Unmarshal(must(os.ReadFile("testdata/json_web_"+name+"_test.json")), &file); err != nil {
				t.Fatal(err)
			}
			run := 0
			for _, g := range file.TestGroups {
				keys := wycheproofKeys(g.Public, g.Private)
				for _, tc := range g.Tests {
					run++
					id := fmt.Sprintf("%s/%d", name, tc.TcID)
					valid := tc.Result == "valid" && tc.JWE == nil // encrypted tokens are refused, all of them
					if o, ok := wycheproofOverrides[id]; ok {
						if valid == o.valid {
							t.Errorf("%s: the override is not needed any more", id)
						}
						valid = o.valid
					}
					raw := wycheproofToken(tc.JWS, tc.JWE)
					if _, err := token.VerifySignature(raw, keys, now); (err == nil) != valid {
						t.Errorf("%s, %s, %s: got %v, want valid = %v", id, g.Comment, tc.Comment, err, valid)
					}
				}
			}
			if want := map[string]int{"signature": 401, "key": 26, "crypto": 83}[name]; run != want {
				t.Errorf("ran %d cases, want %d", run, want)
			}
		})
	}
}

// wycheproofKeys reads the group's keys as a file of ours would be read: the public half where there is one, a secret
// with the algorithms that its text mentions.
func wycheproofKeys(public, private json.RawMessage) []token.Key {
	jwks, algs := public, []string(nil)
	if jwks == nil {
		jwks = private
		for _, alg := range token.Algorithms() {
			if strings.Contains(string(jwks), `"`+alg+`"`) {
				algs = append(algs, alg)
			}
		}
		if algs == nil {
			algs = []string{token.AlgHS256}
		}
	}
	keys, _, err := keyset.ParseJWKS(jwks, algs)
	if err != nil {
		return nil
	}
	return keys
}

// wycheproofToken gives the compact form, or the text of the JSON serialization.
func wycheproofToken(jws, jwe json.RawMessage) []byte {
	raw := jws
	if raw == nil {
		raw = jwe
	}
	var compact string
	if json.Unmarshal(raw, &compact) == nil {
		return []byte(compact)
	}
	return raw
}
