package token_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/token"
)

// FuzzVerify: no bytes make Verify panic, accept what edKey did not sign, or disagree with Inspect.
func FuzzVerify(f *testing.F) {
	f.Add(claims(goodClaims))
	f.Add(edToken(`{"alg":"EdDSA","jwk":{"kty":"OKP"}}`, goodClaims))
	f.Add([]byte("e30.e30."))
	f.Add([]byte("..."))
	var vectors []struct{ JWS string }
	if err := json.Unmarshal(must(os.ReadFile("testdata/rfc.json")), &vectors); err != nil {
		f.Fatal(err)
	}
	for _, v := range vectors {
		f.Add([]byte(v.JWS))
	}
	set := must(token.NewSet(edVerifier()))
	good := string(claims(goodClaims))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		tok, err := set.Verify(raw)
		if !bytes.Equal(raw, before) {
			t.Error("Verify wrote into its input")
		}
		if err == nil && string(raw) != good && !strings.HasPrefix(good, string(raw)[:strings.LastIndexByte(string(raw), '.')]) {
			t.Errorf("accepted %q as %+v", raw, tok)
		}
		if rep := token.Inspect(raw, token.Inspection{Set: set, Clock: clock, User: "alice"}); err != nil && len(rep.Findings) == 0 {
			t.Errorf("Inspect finds nothing, Verify says %v", err)
		}
	})
}

// FuzzHeaderAndClaims signs what the fuzzer wrote, so that it gets behind the signature.
func FuzzHeaderAndClaims(f *testing.F) {
	f.Add(`{"alg":"EdDSA","kid":"ed"}`, goodClaims)
	f.Add(`{"alg":"Ed25519","typ":"at+jwt"}`, `{"iss":"https://issuer.example","sub":"a","aud":["claimpool"],"exp":1795262460.5,"role":["alice"]}`)
	f.Add(`{"alg":"EdDSA","crit":["b64"],"b64":false}`, `{"exp":1e300}`)
	v := edVerifier()
	set := must(token.NewSet(v))
	f.Fuzz(func(t *testing.T, header, payload string) {
		raw := edToken(header, payload)
		tok, err := set.Verify(raw)
		rep := token.Inspect(raw, token.Inspection{Set: set, Clock: clock})
		if (err == nil) != (len(rep.Findings) == 0) {
			t.Errorf("Verify says %v, Inspect %v", err, rep.Findings)
		}
		if err != nil {
			return
		}
		if !tok.Expires.After(now) || tok.Subject == "" || tok.Issuer != issuer {
			t.Errorf("accepted %+v", tok)
		}
		_, _ = tok.Role(tok.Subject)
	})
}

// FuzzClaims compares the scanner with encoding/json: what we take, it takes too, and finds the same values in it; and a
// second scan changes nothing.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{goodClaims, `{}`, `{"a":[1,-0.5e+10,"\ud83d\ude00",{"b":null}],"c":true}`, `{"a":1,"\u0061":2}`, " { \"x\" : [ ] } ",
		`{"n":12345678901234567890}`, `{"a":"\u0000"}`, `{"a":1e309}`, `{"a":"é"}`, `{"a":tru}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		compact, err := token.CheckClaims(payload)
		if err != nil {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, payload); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", payload, err)
		}
		if !bytes.Equal(compact, want.Bytes()) {
			t.Fatalf("%q became %q, want %q", payload, compact, want.Bytes())
		}
		again, err := token.CheckClaims(compact)
		if err != nil || !bytes.Equal(again, compact) {
			t.Fatalf("a second scan: %q, %v", again, err)
		}
		token.Canonical(compact)
	})
}
