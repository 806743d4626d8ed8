package token_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

// Attacks on the form of a token and on its claims.

// TestAttackCritical: the attacker asks for an extension that changes what the token means, in the hope that it is ignored
// (RFC 7515, section 4.1.11; RFC 7797: an unencoded payload).
//
// Must: A token with "crit" is refused.
func TestAttackCritical(t *testing.T) {
	for _, member := range []string{`"crit":["exp"]`, `"crit":[]`, `"crit":null`, `"crit":"exp"`, `"crit":["b64"],"b64":false`,
		`"crit":["b64"],"b64":true`, `"b64":false`, `"b64":true`, `"crit":["http://example.com/x"],"http://example.com/x":1`, `"\u0063rit":["x"]`} {
		t.Run(member, func(t *testing.T) {
			_, err := edVerifier().Verify(edToken(`{"alg":"EdDSA","kid":"ed",`+member+`}`, goodClaims))
			wantReason(t, err, token.CriticalHeader)
		})
	}
}

// TestAttackDuplicateNames: the attacker has got an issuer to write a name twice, so that we read one value and PostgreSQL the
// other.
//
// Must: A token with a name twice, at any depth, is refused.
func TestAttackDuplicateNames(t *testing.T) {
	for _, header := range []string{`{"alg":"EdDSA","alg":"none"}`, `{"alg":"none","alg":"EdDSA"}`, `{"alg":"EdDSA","\u0061lg":"HS256"}`,
		`{"alg":"EdDSA","kid":"ed","kid":"other"}`, `{"alg":"EdDSA","x":{"a":1,"a":1}}`, `{"alg":"EdDSA","Kid":"ed"}`, `{"alg":"EdDSA","\u212aid":"ed"}`} {
		t.Run("header "+header, func(t *testing.T) {
			_, err := edVerifier().Verify(edToken(header, goodClaims))
			wantReason(t, err, token.Malformed)
		})
	}
	for _, more := range []string{`"sub":"bob"`, `"\u0073ub":"bob"`, `"s\u0075b":"bob"`, `"exp":9999999999`, `"x":{"a":1,"a":2}`, `"x":[{"a":1,"\u0061":2}]`,
		`"":1,"":2`, `"Sub":"bob"`, `"SUB":"bob"`, `"ſub":"bob"`, `"Exp":1`, `"é":1,"\u00e9":2`, `"😀":1,"\ud83d\ude00":2`} {
		t.Run("claims "+more, func(t *testing.T) {
			_, err := edVerifier().Verify(claims(strings.TrimSuffix(goodClaims, "}") + "," + more + "}"))
			wantReason(t, err, token.Malformed)
		})
	}
}

// TestAttackMalleable: the attacker has one good token and writes it in other ways, so that a list of refused or used tokens
// does not know it any more.
//
// Must: There is one way only to write a token.
func TestAttackMalleable(t *testing.T) {
	good := string(claims(goodClaims))
	if _, err := edVerifier().Verify([]byte(good)); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for name, raw := range map[string]string{
		"line break behind":        good + "\n",
		"carriage return behind":   good + "\r",
		"line break in front":      "\n" + good,
		"line break in header":     parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2],
		"line break in payload":    parts[0] + "." + parts[1][:8] + "\r\n" + parts[1][8:] + "." + parts[2],
		"line break in signature":  parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:],
		"space in front":           " " + good,
		"space behind":             good + " ",
		"null byte behind":         good + "\x00",
		"padding on the signature": good + "==",
		"padding on the header":    parts[0] + "=." + parts[1] + "." + parts[2],
		"percent padding":          good + "%3d%3d",
		"other unused bits":        good[:len(good)-1] + string(flip(good[len(good)-1])),
		"standard alphabet, plus":  parts[0] + "." + parts[1] + ".+" + parts[2][1:],
		"standard alphabet, slash": parts[0] + "." + parts[1] + "./" + parts[2][1:],
		"quotation marks":          `"` + good + `"`,
		"Bearer":                   "Bearer " + good,
		"a dot behind":             good + ".",
		"a dot in front":           "." + good,
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               good + ".AAAA",
		"six parts":                good + ".a.b.c",
		"no signature":             parts[0] + "." + parts[1] + ".",
		"no payload":               parts[0] + ".." + parts[2],
		"no header":                "." + parts[1] + "." + parts[2],
		"one letter":               "a.b.c",
		"dots only":                "..",
		"empty":                    "",
		"a password":               "correct horse battery staple",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := edVerifier().Verify([]byte(raw))
			wantReason(t, err, token.Malformed)
		})
	}
	_, err := edVerifier().Verify([]byte(good + ".AAAA.AAAA"))
	wantReason(t, err, token.Encrypted)
}

// flip changes one bit of a character of base64url; in the last one of 64 bytes it stands for nothing.
func flip(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// TestAttackTamper: the attacker has a good token and changes any single character, or swaps a part with that of another good
// token.
//
// Must: Every change is refused.
func TestAttackTamper(t *testing.T) {
	v := edVerifier()
	good := claims(goodClaims)
	for i := range good {
		bad := append([]byte(nil), good...)
		if bad[i] = 'A'; good[i] == 'A' {
			bad[i] = 'B'
		}
		if _, err := v.Verify(bad); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	other := strings.Split(string(claims(strings.Replace(goodClaims, "alice", "bob", 1))), ".")
	parts := strings.Split(string(good), ".")
	for _, raw := range []string{parts[0] + "." + other[1] + "." + parts[2], parts[0] + "." + parts[1] + "." + other[2]} {
		_, err := v.Verify([]byte(raw))
		wantReason(t, err, token.BadSignature)
	}
}

// TestAttackResources: the attacker sends what is dear to read: a million dots (CVE-2025-30204), megabytes, deep nesting, long
// numbers, many names.
//
// Must: Each is refused, and costs little memory.
func TestAttackResources(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 8000) + "1" + strings.Repeat("}", 8000)
	for _, tc := range []struct {
		name string
		raw  []byte
		want token.Reason
	}{
		{"a million dots", []byte(strings.Repeat(".", 1_000_000)), token.TooLarge},
		{"60,000 dots", []byte(strings.Repeat(".", 60_000)), token.Malformed},
		{"three megabytes", []byte(strings.Repeat("A", 3<<20)), token.TooLarge},
		{"one byte too long", []byte(strings.Repeat("A", token.MaxToken+1)), token.TooLarge},
		{"five parts of a JWE", []byte("e30.QUJD.QUJD.QUJD.QUJD"), token.Encrypted},
		{"deep objects", claims(deep[:len(deep)-1] + "}"), token.Malformed},
		{"deep arrays", claims(`{"a":` + strings.Repeat("[", 40_000) + "}"), token.Malformed},
		{"deep header", edToken(`{"alg":"EdDSA","x":`+strings.Repeat("[", 12_000)+"}", goodClaims), token.Malformed},
		{"large header", edToken(`{"alg":"EdDSA","x":"`+strings.Repeat("x", 17_000)+`"}`, goodClaims), token.TooLarge},
		{"huge exponent", claims(`{"n":1e400}`), token.Malformed},
		{"huge negative exponent", claims(`{"n":1e-99999999999999999999}`), token.Malformed},
		{"long number", claims(`{"n":` + strings.Repeat("9", 1001) + `}`), token.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := edVerifier()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := v.Verify(tc.raw)
			runtime.ReadMemStats(&after)
			wantReason(t, err, tc.want)
			// The largest part is decoded once and copied once while it is read.
			if used := after.TotalAlloc - before.TotalAlloc; used > 160<<10 {
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

// TestAttackNesting: the attacker nests claims as deep as he may, and one deeper.
//
// Must: The limit stands where it is said to stand.
func TestAttackNesting(t *testing.T) {
	nested := func(levels int) []byte { // the payload itself is the first level
		return claims(strings.TrimSuffix(goodClaims, "}") + `,"x":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + "}")
	}
	if _, err := edVerifier().Verify(nested(token.MaxDepth)); err != nil {
		t.Error(err)
	}
	_, err := edVerifier().Verify(nested(token.MaxDepth + 1))
	wantReason(t, err, token.Malformed)
}

// TestAttackText: the attacker has claims with text that two programs read differently, or that PostgreSQL cannot store:
// broken UTF-8, halves of surrogate pairs, U+0000 (CVE-2025-1094 began with such bytes).
//
// Must: Text that is not the same for everybody is refused.
func TestAttackText(t *testing.T) {
	for name, value := range map[string]string{
		"overlong slash":         "\"\xc0\xaf\"",
		"surrogate as UTF-8":     "\"\xed\xa0\x80\"",
		"beyond Unicode":         "\"\xf4\x90\x80\x80\"",
		"cut off":                "\"\xe2\x82\"",
		"lone continuation":      "\"\x80\"",
		"Latin-1":                "\"\xe9\"",
		"null byte":              "\"\x00\"",
		"escaped null":           `"\u0000"`,
		"lone high surrogate":    `"\ud83d"`,
		"lone low surrogate":     `"\ude00"`,
		"high and high":          `"\ud83d\ud83d"`,
		"high and text":          `"\ud83dabc"`,
		"high and other escape":  `"\ud83d\n"`,
		"pair the wrong way":     `"\ude00\ud83d"`,
		"line break":             "\"a\nb\"",
		"tab":                    "\"a\tb\"",
		"unknown escape":         `"\x41"`,
		"short escape":           `"\u12"`,
		"escape with a sign":     `"\u+123"`,
		"not closed":             `"abc`,
		"NaN":                    "NaN",
		"Infinity":               "Infinity",
		"leading zero":           "01",
		"leading plus":           "+1",
		"leading point":          ".5",
		"trailing point":         "1.",
		"hexadecimal":            "0x10",
		"minus only":             "-",
		"exponent without digit": "1e",
		"single quotes":          "'a'",
		"comment":                "1/*x*/",
		"trailing comma":         "[1,]",
		"missing comma":          "[1 2]",
		"wrong literal":          "nul",
		"capital literal":        "True",
		"wrong bracket":          "[1}",
		"nothing":                "",
		"space of Unicode":       "\u00a01",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := edVerifier().Verify(claims(strings.TrimSuffix(goodClaims, "}") + `,"x":` + value + "}"))
			wantReason(t, err, token.Malformed)
		})
	}
}

// TestAttackTimes: the attacker has a token whose issuer is careless about times; or an old one.
//
// Must: What is not a plain number in a plain range is never taken for "no limit".
func TestAttackTimes(t *testing.T) {
	for _, tc := range []struct {
		claim, value string
		want         token.Reason
	}{
		{"exp", `1795262400`, token.Expired}, // now
		{"exp", `1795262399`, token.Expired},
		{"exp", `1795262399.999999`, token.Expired},
		{"exp", `0`, token.Expired},
		{"exp", `1`, token.Expired},
		{"exp", `1e-5`, token.Expired},
		{"exp", `1e300`, token.BadClaim},
		{"exp", `1e308`, token.BadClaim},
		{"exp", `253402300800`, token.BadClaim}, // the year 10000
		{"exp", `9223372036854775808`, token.BadClaim},
		{"exp", `18446744073709551616`, token.BadClaim},
		{"exp", `1795262460000`, token.BadClaim}, // milliseconds
		{"exp", `-1`, token.BadClaim},
		{"exp", `-1e9`, token.BadClaim},
		{"exp", `-0`, token.BadClaim},
		{"exp", `"1795262460"`, token.BadClaim},
		{"exp", `"99"`, token.BadClaim},
		{"exp", `""`, token.BadClaim},
		{"exp", `null`, token.BadClaim},
		{"exp", `true`, token.BadClaim},
		{"exp", `[1795262460]`, token.BadClaim},
		{"exp", `{"a":1795262460}`, token.BadClaim},
		{"exp", `1e400`, token.Malformed},
		{"exp", `NaN`, token.Malformed},
		{"exp", ``, token.MissingClaim},
		{"nbf", `1795262401`, token.NotYetValid},
		{"nbf", `1795262400.5`, token.NotYetValid},
		{"nbf", `253402300799`, token.NotYetValid},
		{"nbf", `1e300`, token.BadClaim},
		{"nbf", `"1"`, token.BadClaim},
		{"nbf", `null`, token.BadClaim},
		{"nbf", `-5`, token.BadClaim},
		{"iat", `1795262401`, token.IssuedInFuture},
		{"iat", `1e300`, token.BadClaim},
		{"iat", `"now"`, token.BadClaim},
		{"iat", `null`, token.BadClaim},
	} {
		t.Run(tc.claim+"="+tc.value, func(t *testing.T) {
			payload := `{"iss":"https://issuer.example","sub":"alice","aud":"claimpool"`
			if tc.claim != "exp" {
				payload += `,"exp":1795262460`
			}
			if tc.value != "" {
				payload += `,"` + tc.claim + `":` + tc.value
			}
			_, err := edVerifier().Verify(claims(payload + "}"))
			wantReason(t, err, tc.want)
		})
	}
}

// TestAttackAudience: the attacker has a good token that the same issuer made for another service.
//
// Must: It is refused for its audience.
func TestAttackAudience(t *testing.T) {
	for _, tc := range []struct {
		aud  string // the claim; "" leaves it out
		want token.Reason
	}{
		{`"other"`, token.WrongAudience},
		{`["other"]`, token.WrongAudience},
		{`[]`, token.WrongAudience}, // CVE-2020-26160
		{`""`, token.WrongAudience},
		{`[""]`, token.WrongAudience},
		{`"*"`, token.WrongAudience},
		{`"Claimpool"`, token.WrongAudience},
		{`"claimpool/"`, token.WrongAudience},
		{`"claimpool "`, token.WrongAudience},
		{`"claimpool,other"`, token.WrongAudience},
		{`"claimpoo"`, token.WrongAudience},
		{``, token.WrongAudience},
		{`null`, token.BadClaim},
		{`1`, token.BadClaim},
		{`{"claimpool":true}`, token.BadClaim},
		{`["claimpool",1]`, token.BadClaim},
		{`[["claimpool"]]`, token.BadClaim},
		{`[null]`, token.BadClaim},
	} {
		t.Run(tc.aud, func(t *testing.T) {
			payload := `{"iss":"https://issuer.example","sub":"alice","exp":1795262460`
			if tc.aud != "" {
				payload += `,"aud":` + tc.aud
			}
			_, err := edVerifier().Verify(claims(payload + "}"))
			wantReason(t, err, tc.want)
		})
	}
	t.Run("none configured", func(t *testing.T) {
		v := edVerifier()
		v.Rules.Audience = nil
		_, err := v.Verify(claims(goodClaims))
		wantReason(t, err, token.WrongAudience)
	})
}

// TestAttackIssuer: the attacker has a good token of another issuer, or of a key that belongs to another issuer; or writes the
// issuer so that it almost fits (CVE-2021-21378: an unknown issuer was let through).
//
// Must: It is refused: keys count for their own issuer alone, which is compared to the byte.
func TestAttackIssuer(t *testing.T) {
	other := edVerifier()
	other.Rules.Issuer = "https://other.example"
	other.Keys = token.Keys{{ID: "ed", Algorithms: []string{token.AlgES256}, Public: &p256Key().PublicKey}}
	set, err := token.NewSet(edVerifier(), other)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := set.Verify(claims(goodClaims)); err != nil || tok.Issuer != issuer {
		t.Fatal(tok, err)
	}
	for _, tc := range []struct {
		iss  string
		want token.Reason
	}{
		{`"https://issuer.example/"`, token.UnknownIssuer},
		{`"https://Issuer.example"`, token.UnknownIssuer},
		{`"http://issuer.example"`, token.UnknownIssuer},
		{`" https://issuer.example"`, token.UnknownIssuer},
		{`"https://issuer.example\u200b"`, token.UnknownIssuer},
		{`"https://evil.example"`, token.UnknownIssuer},
		{``, token.UnknownIssuer},
		{`""`, token.BadClaim},
		{`null`, token.BadClaim},
		{`["https://issuer.example"]`, token.BadClaim},
		{`["https://issuer.example","https://evil.example"]`, token.BadClaim},
		{`1`, token.BadClaim},
		{`"https://other.example"`, token.WrongAlgorithm}, // signed with the first issuer's key, under the same kid
	} {
		t.Run(tc.iss, func(t *testing.T) {
			payload := `{"sub":"alice","aud":"claimpool","exp":1795262460`
			if tc.iss != "" {
				payload += `,"iss":` + tc.iss
			}
			_, err := set.Verify(claims(payload + "}"))
			wantReason(t, err, tc.want)
		})
	}
	_, err = other.Verify(claims(goodClaims)) // past the set
	wantReason(t, err, token.WrongAlgorithm)
	same := edVerifier()
	same.Rules.Issuer = "https://other.example"
	_, err = same.Verify(claims(goodClaims))
	wantReason(t, err, token.WrongIssuer)
	none := edVerifier()
	none.Rules.Issuer = ""
	_, err = none.Verify(claims(goodClaims))
	wantReason(t, err, token.WrongIssuer)
}

// TestAttackType: the attacker has a token of the right issuer that was made for something else: a logout, a proof of
// possession, a security event (RFC 8725, section 3.11).
//
// Must: It is refused for its type.
func TestAttackType(t *testing.T) {
	for _, typ := range []string{"logout+jwt", "secevent+jwt", "dpop+jwt", "application/logout+jwt", "JOSE", "JWE", "at+jwt ", "id_token", "JWT+x"} {
		t.Run(typ, func(t *testing.T) {
			_, err := edVerifier().Verify(edToken(`{"alg":"EdDSA","kid":"ed","typ":"`+typ+`"}`, goodClaims))
			wantReason(t, err, token.WrongType)
		})
	}
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/JWT", ""} {
		if _, err := edVerifier().Verify(edToken(`{"alg":"EdDSA","kid":"ed","typ":"`+typ+`"}`, goodClaims)); err != nil {
			t.Errorf("%q: %v", typ, err)
		}
	}
	v := edVerifier()
	v.Rules.Types = []string{"at+jwt"}
	_, err := v.Verify(edToken(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, goodClaims))
	wantReason(t, err, token.WrongType)
	_, err = v.Verify(claims(goodClaims))
	wantReason(t, err, token.WrongType)
}

// TestAttackPairs: the attacker sends tokens with one defect or with two at once, in the hope that one hides the other
// (CVE-2024-51744: two errors joined, and the caller looked for one).
//
// Must: Every one and every pair is refused, and Inspect names both.
func TestAttackPairs(t *testing.T) {
	defects := []struct {
		reason   token.Reason
		from, to string
	}{
		{token.Expired, `"exp":1795262460`, `"exp":1795262000`},
		{token.NotYetValid, `"x":0`, `"nbf":1795262500`},
		{token.IssuedInFuture, `"iat":1795262390`, `"iat":1795262500`},
		{token.WrongAudience, `"aud":"claimpool"`, `"aud":"other"`},
		{token.BadClaim, `"sub":"alice"`, `"sub":7`},
		{token.MissingClaim, `"tenant_id"`, `"tenant"`},
	}
	v := edVerifier()
	v.Rules.RequiredClaims = []string{"tenant_id"}
	set, err := token.NewSet(v)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(goodClaims, "}") + `,"x":0}`
	for i, a := range defects {
		for _, b := range defects[i:] {
			for _, forged := range []bool{false, true} {
				t.Run(fmt.Sprint(a.reason, " and ", b.reason, ", forged ", forged), func(t *testing.T) {
					payload := strings.Replace(strings.Replace(base, a.from, a.to, 1), b.from, b.to, 1)
					raw := claims(payload)
					want := []token.Reason{}
					if forged {
						if c := &raw[len(raw)-5]; *c == 'A' {
							*c = 'B'
						} else {
							*c = 'A'
						}
						want = append(want, token.BadSignature)
					}
					if want = append(want, a.reason); b.reason != a.reason {
						want = append(want, b.reason)
					}
					_, err := set.Verify(raw)
					wantReason(t, err, want[0])
					var got []token.Reason
					for _, f := range token.Inspect(raw, token.Inspection{Set: set, Clock: clock}).Findings {
						got = append(got, f.Reason)
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("Inspect finds %v, want %v", got, want)
					}
				})
			}
		}
	}
}

// TestAttackEmptyRules: the attacker finds a verifier whose configuration got lost.
//
// Must: It refuses everything.
func TestAttackEmptyRules(t *testing.T) {
	keys := token.Keys{{Algorithms: []string{"EdDSA"}, Public: edKey().Public()}}
	for name, v := range map[string]*token.Verifier{
		"nil":          nil,
		"empty":        {},
		"no keys":      {Rules: rules(), Clock: clock},
		"no clock":     {Rules: rules(), Keys: keys},
		"unknown role": {Rules: token.Rules{Issuer: issuer, Role: token.RoleRule{From: "header"}}, Keys: keys, Clock: clock},
		"long leeway":  {Rules: token.Rules{Issuer: issuer, Leeway: 2 * time.Hour}, Keys: keys, Clock: clock},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(claims(goodClaims))
			wantReason(t, err, token.Misconfigured)
			if _, err := token.NewSet(v); err == nil {
				t.Error("a set takes it")
			}
		})
	}
	_, err := (*token.Set)(nil).Verify(claims(goodClaims))
	wantReason(t, err, token.Misconfigured)
	_, err = (&token.Set{}).Verify(claims(goodClaims))
	wantReason(t, err, token.UnknownIssuer)
	if _, err := token.NewSet(); err == nil {
		t.Error("a set without issuers is made")
	}
	if _, err := token.NewSet(edVerifier(), edVerifier()); err == nil {
		t.Error("a set takes two verifiers for one issuer")
	}
	_, err = (&token.Token{}).Role("alice")
	wantReason(t, err, token.Misconfigured)
}
