package token_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

func TestInspect(t *testing.T) {
	set, err := token.NewSet(edVerifier())
	if err != nil {
		t.Fatal(err)
	}
	forged := claims(goodClaims)
	copy(forged[len(forged)-8:], "AAAAAAAA")
	for _, tc := range []struct {
		name     string
		raw      []byte
		in       token.Inspection
		findings string
		verified bool
		role     string
	}{
		{"good", claims(goodClaims), token.Inspection{Set: set, User: "alice"}, "[]", true, "alice"},
		{"good, nobody asked", claims(goodClaims), token.Inspection{Set: set}, "[]", true, ""},
		{"another user", claims(goodClaims), token.Inspection{Set: set, User: "bob"}, "[role_not_allowed]", true, ""},
		{"no configuration", claims(goodClaims), token.Inspection{User: "bob"}, "[]", false, ""},
		{"no configuration, expired", claims(strings.Replace(goodClaims, "1795262460", "1795262000", 1)), token.Inspection{}, "[expired]", false, ""},
		{"forged", forged, token.Inspection{Set: set}, "[bad_signature]", false, ""},
		{"unknown issuer", claims(strings.Replace(goodClaims, "issuer.example", "evil.example", 1)), token.Inspection{Set: set}, "[unknown_issuer]", false, ""},
		{"unsecured and expired", []byte(b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(strings.Replace(goodClaims, "1795262460", "1", 1))) + "."),
			token.Inspection{Set: set}, "[unsecured expired]", false, ""},
		{"wrong type, unknown key, wrong audience", edToken(`{"alg":"EdDSA","kid":"x","typ":"logout+jwt"}`, strings.Replace(goodClaims, "claimpool", "x", 1)),
			token.Inspection{Set: set}, "[wrong_type unknown_key wrong_audience]", false, ""},
		{"two mistakes in the header", edToken(`{"alg":"XX","crit":[],"kid":"ed"}`, goodClaims), token.Inspection{Set: set}, "[critical_header unknown_algorithm]", false, ""},
		{"broken header, expired", edToken(`{"alg"}`, strings.Replace(goodClaims, "1795262460", "1", 1)), token.Inspection{Set: set}, "[malformed expired]", false, ""},
		{"broken header and payload", edToken(`{"alg"}`, `{`), token.Inspection{Set: set}, "[malformed malformed]", false, ""},
		{"broken in all parts", []byte("A.B.C"), token.Inspection{Set: set}, "[malformed malformed malformed]", false, ""},
		{"a password", []byte("hunter2"), token.Inspection{Set: set}, "[malformed]", false, ""},
		{"nothing", nil, token.Inspection{Set: set}, "[malformed]", false, ""},
		{"encrypted", []byte("a.b.c.d.e"), token.Inspection{Set: set}, "[encrypted]", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.in.Clock = clock
			rep := token.Inspect(tc.raw, tc.in)
			var reasons []token.Reason
			for _, f := range rep.Findings {
				reasons = append(reasons, f.Reason)
			}
			if fmt.Sprint(reasons) != tc.findings || rep.Verified != tc.verified || rep.Role != tc.role {
				t.Errorf("findings %v, verified %v, role %q; want %s, %v, %q", reasons, rep.Verified, rep.Role, tc.findings, tc.verified, tc.role)
			}
			if tc.in.Set != nil && tc.in.User == "" { // Verify agrees, and gives the first finding
				_, err := set.Verify(tc.raw)
				if (err == nil) != (len(rep.Findings) == 0) {
					t.Errorf("Verify says %v", err)
				}
				if err != nil {
					wantReason(t, err, rep.Findings[0].Reason)
				}
			}
		})
	}
}

func TestInspectReport(t *testing.T) {
	raw := edToken(`{"alg":"EdDSA", "kid":"ed", "typ":"JWT"}`, `{"iss":"i","sub":"s","aud":["a","b"],"iat":1,"nbf":2,"exp":3}`)
	rep := token.Inspect(raw, token.Inspection{Clock: clock})
	if rep.Algorithm != "EdDSA" || rep.KeyID != "ed" || rep.Type != "JWT" || rep.Issuer != "i" || rep.Subject != "s" || fmt.Sprint(rep.Audience) != "[a b]" {
		t.Errorf("report is %+v", rep)
	}
	if rep.IssuedAt != time.Unix(1, 0).UTC() || rep.NotBefore != time.Unix(2, 0).UTC() || rep.Expires != time.Unix(3, 0).UTC() {
		t.Errorf("times are %v, %v, %v", rep.IssuedAt, rep.NotBefore, rep.Expires)
	}
	if string(rep.Header) != `{"alg":"EdDSA","kid":"ed","typ":"JWT"}` || !strings.Contains(string(rep.Claims), `"aud":["a","b"]`) {
		t.Errorf("header %s, claims %s", rep.Header, rep.Claims)
	}
	if f := rep.Findings[0]; f.Text != "it expired 498683h59m57s ago" || f.Detail != "Its exp is 1970-01-01T00:00:03Z." {
		t.Errorf("finding is %q, %q", f.Text, f.Detail)
	}
	if rep := token.Inspect(raw, token.Inspection{}); len(rep.Findings) == 0 {
		t.Error("no clock, no finding")
	}
}
