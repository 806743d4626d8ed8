package token_test

import (
	"bytes"
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

func TestVerify(t *testing.T) {
	tok, err := edVerifier().Verify(claims(goodClaims))
	if err != nil {
		t.Fatal(err)
	}
	if tok.Issuer != issuer || tok.Subject != "alice" || tok.KeyID != "ed" || tok.Algorithm != "EdDSA" {
		t.Errorf("token is %+v", tok)
	}
	if want := time.Unix(1795262460, 0); !tok.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", tok.Expires, want)
	}
	if string(tok.Claims) != goodClaims {
		t.Errorf("claims are %s", []byte(tok.Claims))
	}
}

// The raw token may be wiped after Verify: nothing of the result points into it.
func TestVerifyKeepsNothing(t *testing.T) {
	raw := claims(goodClaims)
	tok, err := edVerifier().Verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if string(tok.Claims) != goodClaims || tok.Subject != "alice" {
		t.Error("the claims went with the token")
	}
}

// What is in a claim reaches PostgreSQL byte for byte; only white space between the values goes.
func TestClaimsIntact(t *testing.T) {
	for name, value := range map[string]string{
		"integer beyond 2^64":    `12345678901234567890123`,
		"integer beyond 2^53":    `9007199254740993`,
		"negative zero":          `-0`,
		"trailing zeros":         `1.500`,
		"exponent as written":    `1E+2`,
		"smallest exponent":      `1e-308`,
		"long fraction":          `0.1000000000000000055511151231257827`,
		"Unicode":                `"Zoë 東京 😀 ‮"`,
		"escapes as written":     `"\u005a\/\"\\\b\f\n\r\t\u00e9\uD83D\uDE00"`,
		"DEL":                    "\"\x7f\"",
		"noncharacter":           "\"\uffff\"",
		"space inside a string":  `" a  b "`,
		"empty things":           `[{},[],"",{"":""}]`,
		"literals":               `[true,false,null]`,
		"nested":                 `{"a":{"b":[{"c":{"d":[1,2,3]}}]}}`,
		"braces inside a string": `"}]{[,:\""`,
		"prototype":              `{"__proto__":{"x":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			want := strings.TrimSuffix(goodClaims, "}") + `,"x":` + value + `}`
			spaced := " \r\n" + strings.TrimSuffix(goodClaims, "}") + "\t, \"x\"\n :  " + value + " \n}\t "
			tok, err := edVerifier().Verify(claims(spaced))
			if err != nil {
				t.Fatal(err)
			}
			if string(tok.Claims) != want {
				t.Errorf("claims are %s", []byte(tok.Claims))
			}
			if got, ok := tok.Lookup("x"); !ok || string(got) != value {
				t.Errorf("Lookup gives %s", got)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	tok, err := edVerifier().Verify(claims(strings.TrimSuffix(goodClaims, "}") +
		`,"app":{"role":"reader","a/b":{"~":"deep"},"list":["x"]},"https://example.com/claims":{"r":1},"/odd":2,"caf\u00e9":"\ud83d\ude00"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"app":                        `{"role":"reader","a/b":{"~":"deep"},"list":["x"]}`,
		"/app/role":                  `"reader"`,
		"/app/a~1b/~0":               `"deep"`,
		"https://example.com/claims": `{"r":1}`,
		"café":                       `"\ud83d\ude00"`,
		"/~1odd":                     `2`,
		"app.role":                   "",
		"/app/list/0":                "", // pointers go through objects only
		"/app/role/x":                "",
		"/":                          "",
		"":                           "",
		"App":                        "",
		"/odd":                       "",
	} {
		got, ok := tok.Lookup(name)
		if ok != (want != "") || string(got) != want {
			t.Errorf("%q gives %s, want %s", name, got, want)
		}
	}
	if s, ok := tok.Text("café"); !ok || s != "😀" {
		t.Errorf("Text gives %q", s)
	}
	if _, ok := tok.Text("app"); ok {
		t.Error("Text takes an object")
	}
}

func TestFingerprint(t *testing.T) {
	print := func(payload string) []byte {
		t.Helper()
		tok, err := edVerifier().Verify(claims(payload))
		if err != nil {
			t.Fatal(err)
		}
		return tok.Fingerprint
	}
	const head = `"iss":"https://issuer.example","sub":"alice","aud":"claimpool"`
	base := print(`{` + head + `,"exp":1795262460,"x":{"a":1,"b":[1,2]}}`)
	for name, payload := range map[string]string{
		"a newer token": `{` + head + `,"exp":1795262499,"iat":1795262400,"nbf":5,"jti":"other","x":{"a":1,"b":[1,2]}}`,
		"another order": `{"x":{"b":[1,2],"a":1},"exp":1795262460,` + head + `}`,
		"white space":   `{` + head + `, "exp":1795262460, "x" : {"a":1,"b":[1, 2]}}`,
		"escapes":       `{` + head + `,"exp":1795262460,"\u0078":{"\u0061":1,"b":[1,2]}}`,
	} {
		if !bytes.Equal(print(payload), base) {
			t.Errorf("%s: another identity", name)
		}
	}
	for name, payload := range map[string]string{
		"another value":         `{` + head + `,"exp":1795262460,"x":{"a":2,"b":[1,2]}}`,
		"a string, no number":   `{` + head + `,"exp":1795262460,"x":{"a":"1","b":[1,2]}}`,
		"another order of list": `{` + head + `,"exp":1795262460,"x":{"a":1,"b":[2,1]}}`,
		"other nesting":         `{` + head + `,"exp":1795262460,"x":{"a":1,"b":[[1],2]}}`,
		"one claim more":        `{` + head + `,"exp":1795262460,"x":{"a":1,"b":[1,2]},"y":null}`,
		"exp inside a claim":    `{` + head + `,"exp":1795262460,"x":{"a":1,"b":[1,2],"exp":1}}`,
		"moved out":             `{` + head + `,"exp":1795262460,"x":{"a":1},"b":[1,2]}`,
		"null":                  `{` + head + `,"exp":1795262460,"x":null}`,
		"the word null":         `{` + head + `,"exp":1795262460,"x":"null"}`,
	} {
		if bytes.Equal(print(payload), base) {
			t.Errorf("%s: the same identity", name)
		}
	}
}

// Every algorithm signs and verifies; the token of one does not pass for another.
func TestSigner(t *testing.T) {
	private := map[string]any{"HS256": secret, "HS384": secret, "HS512": secret, "EdDSA": edKey(), "Ed25519": edKey(),
		"ES256": p256Key(), "ES384": p384Key(), "ES512": p521Key()}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		private[alg] = rsaKey()
	}
	for _, alg := range token.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			s, err := token.NewSigner(alg, "k", private[alg])
			if err != nil {
				t.Fatal(err)
			}
			raw, err := s.Sign([]byte(goodClaims))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := verifier(s.Key()).Verify(raw)
			if err != nil {
				t.Fatal(err)
			}
			if tok.Algorithm != alg || tok.KeyID != "k" || string(tok.Claims) != goodClaims {
				t.Errorf("token is %+v", tok)
			}
			for _, other := range token.Algorithms() {
				key := s.Key()
				key.Algorithms = []string{other}
				twins := alg == "EdDSA" && other == "Ed25519" || alg == "Ed25519" && other == "EdDSA" // RFC 9864
				if _, err := verifier(key).Verify(raw); (err == nil) != (other == alg || twins) {
					t.Errorf("a key for %s: %v", other, err)
				}
			}
		})
	}
}

func TestNewSigner(t *testing.T) {
	for name, make := range map[string]func() (*token.Signer, error){
		"secret without algorithm": func() (*token.Signer, error) { return token.NewSigner("", "", secret) },
		"short secret":             func() (*token.Signer, error) { return token.NewSigner("HS256", "", secret[:31]) },
		"wrong curve":              func() (*token.Signer, error) { return token.NewSigner("ES256", "", p384Key()) },
		"public key":               func() (*token.Signer, error) { return token.NewSigner("ES256", "", &p256Key().PublicKey) },
		"none":                     func() (*token.Signer, error) { return token.NewSigner("none", "", edKey()) },
		"nothing":                  func() (*token.Signer, error) { return token.NewSigner("EdDSA", "", nil) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: a signer is made", name)
		}
	}
	s, err := token.NewSigner("", "", p256Key())
	if err != nil {
		t.Fatal(err)
	}
	s.Type = ""
	raw := must(s.Sign([]byte(goodClaims)))
	if tok, err := verifier(s.Key()).Verify(raw); err != nil || tok.Algorithm != "ES256" || tok.KeyID != "" {
		t.Error(tok, err)
	}
}

// The leeway and the longest lifetime, on both sides of every edge.
func TestTimes(t *testing.T) {
	const at = 1795262400 // now
	for _, tc := range []struct {
		name                string
		times               string
		leeway, maxLifetime time.Duration
		want                token.Reason // "" is accepted
	}{
		{"one second left", `"exp":1795262401`, 0, 0, ""},
		{"a fraction of a second left", `"exp":1795262400.25`, 0, 0, ""},
		{"expired now", `"exp":1795262400`, 0, 0, token.Expired},
		{"expired now, leeway one second", `"exp":1795262400`, time.Second, 0, ""},
		{"expired one second ago, leeway one second", `"exp":1795262399`, time.Second, 0, token.Expired},
		{"valid from now", `"exp":1795262460,"nbf":1795262400`, 0, 0, ""},
		{"valid in one second", `"exp":1795262460,"nbf":1795262401`, 0, 0, token.NotYetValid},
		{"valid in one second, leeway one second", `"exp":1795262460,"nbf":1795262401`, time.Second, 0, ""},
		{"valid in two seconds, leeway one second", `"exp":1795262460,"nbf":1795262402`, time.Second, 0, token.NotYetValid},
		{"issued now", `"exp":1795262460,"iat":1795262400`, 0, 0, ""},
		{"issued in one second", `"exp":1795262460,"iat":1795262401`, 0, 0, token.IssuedInFuture},
		{"issued in one second, leeway one second", `"exp":1795262460,"iat":1795262401`, time.Second, 0, ""},
		{"an hour, at most an hour", `"exp":1795266000`, 0, time.Hour, ""},
		{"an hour and a second, at most an hour", `"exp":1795266001`, 0, time.Hour, token.LifetimeTooLong},
		{"an hour by iat, at most an hour", `"exp":1795262460,"iat":1795258860`, 0, time.Hour, ""},
		{"an hour and a second by iat, at most an hour", `"exp":1795262460,"iat":1795258859`, 0, time.Hour, token.LifetimeTooLong},
		{"a year, no limit", `"exp":1826798400`, 0, 0, ""},
		{"an exponent", `"exp":1.79526246e9`, 0, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := edVerifier()
			v.Rules.Leeway, v.Rules.MaxLifetime = tc.leeway, tc.maxLifetime
			tok, err := v.Verify(claims(`{"iss":"https://issuer.example","sub":"alice","aud":"claimpool",` + tc.times + `}`))
			if tc.want != "" {
				wantReason(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !tok.Expires.After(time.Unix(at, 0)) {
				t.Errorf("accepted, but expires %v", tok.Expires)
			}
		})
	}
}

func TestAudience(t *testing.T) {
	for _, tc := range []struct {
		rule []string
		aud  string
	}{
		{[]string{"claimpool"}, `,"aud":"claimpool"`},
		{[]string{"claimpool"}, `,"aud":["other","claimpool"]`},
		{[]string{"a", "b"}, `,"aud":["b","c"]`},
		{nil, ``},
		{[]string{token.AnyAudience}, ``},
		{[]string{token.AnyAudience}, `,"aud":"whatever"`},
	} {
		v := edVerifier()
		v.Rules.Audience = tc.rule
		if _, err := v.Verify(claims(`{"iss":"https://issuer.example","sub":"alice","exp":1795262460` + tc.aud + `}`)); err != nil {
			t.Errorf("%v with %s: %v", tc.rule, tc.aud, err)
		}
	}
}

func TestSubjectAndRequired(t *testing.T) {
	for _, tc := range []struct {
		name, claims string
		subject      string
		required     []string
		want         token.Reason
	}{
		{"sub", `"sub":"alice"`, "", nil, ""},
		{"no sub", `"x":1`, "", nil, token.MissingClaim},
		{"empty sub", `"sub":""`, "", nil, token.BadClaim},
		{"null sub", `"sub":null`, "", nil, token.BadClaim},
		{"number as sub", `"sub":1`, "", nil, token.BadClaim},
		{"long sub", `"sub":"` + strings.Repeat("x", 256) + `"`, "", nil, token.BadClaim},
		{"another claim", `"email":"a@example.com"`, "email", nil, ""},
		{"another claim, missing", `"sub":"alice"`, "email", nil, token.MissingClaim},
		{"nested claim", `"user":{"id":"7"}`, "/user/id", nil, ""},
		{"required", `"sub":"alice","tenant":0`, "", []string{"tenant"}, ""},
		{"required, missing", `"sub":"alice"`, "", []string{"tenant"}, token.MissingClaim},
		{"required, null", `"sub":"alice","tenant":null`, "", []string{"tenant"}, token.MissingClaim},
		{"required, nested", `"sub":"alice","app":{"tenant":1}`, "", []string{"/app/tenant"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := edVerifier()
			v.Rules.SubjectClaim, v.Rules.RequiredClaims = tc.subject, tc.required
			_, err := v.Verify(claims(`{"iss":"https://issuer.example","aud":"claimpool","exp":1795262460,` + tc.claims + `}`))
			if tc.want != "" {
				wantReason(t, err, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A token without an issuer passes only where the rules ask for one without.
func TestNoIssuer(t *testing.T) {
	v := edVerifier()
	v.Rules.Issuer = ""
	set, err := token.NewSet(v, edVerifier())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := set.Verify(claims(`{"sub":"alice","aud":"claimpool","exp":1795262460}`))
	if err != nil || tok.Issuer != "" {
		t.Error(tok, err)
	}
	if got := set.Issuers(); len(got) != 2 || got[0] != "" || got[1] != issuer {
		t.Errorf("issuers are %q", got)
	}
}

// Several keys overlap while they are rotated, with kid and without.
func TestRotation(t *testing.T) {
	old := token.Key{ID: "old", Algorithms: []string{token.AlgES256}, Public: &p256Key().PublicKey}
	v := verifier(old, token.Key{ID: "ed", Algorithms: []string{token.AlgEdDSA}, Public: edKey().Public()}, token.Key{Algorithms: []string{token.AlgHS256}, Public: secret})
	for name, raw := range map[string][]byte{
		"old":             join(`{"alg":"ES256","kid":"old"}`, goodClaims, signECDSA(crypto.SHA256, p256Key())),
		"new":             claims(goodClaims),
		"no kid":          join(`{"alg":"ES256"}`, goodClaims, signECDSA(crypto.SHA256, p256Key())),
		"key without kid": join(`{"alg":"HS256","kid":"unheard of"}`, goodClaims, signHMAC(crypto.SHA256, secret)),
	} {
		if _, err := v.Verify(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := verifier(old).Verify(claims(goodClaims))
	wantReason(t, err, token.UnknownKey)
}

func TestCheckClaims(t *testing.T) {
	got, err := token.CheckClaims([]byte(" { \"a\" : [ 1 , 2 ] } "))
	if err != nil || string(got) != `{"a":[1,2]}` {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{``, `1`, `[]`, `{"a":1,"a":2}`, `{}x`, `{"a"}`} {
		_, err := token.CheckClaims([]byte(bad))
		wantReason(t, err, token.Malformed)
	}
	_, err = token.CheckClaims(make([]byte, token.MaxToken+1))
	wantReason(t, err, token.TooLarge)
}

func BenchmarkVerify(b *testing.B) {
	private := map[string]any{"EdDSA": edKey(), "ES256": p256Key(), "RS256": rsaKey(), "HS256": secret}
	for _, alg := range []string{"EdDSA", "ES256", "RS256", "HS256"} {
		b.Run(alg, func(b *testing.B) {
			s := must(token.NewSigner(alg, "k", private[alg]))
			raw, v := must(s.Sign([]byte(goodClaims))), verifier(s.Key())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
