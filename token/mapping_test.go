package token_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/mapping"
	"github.com/claimpool/claimpool/token"
)

// mapped is a verifier with expressions, and app and admin as the roles to allow.
func mapped(t *testing.T, spec mapping.Spec) *token.Verifier {
	t.Helper()
	m, err := mapping.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	v := edVerifier()
	v.Rules.Mapping = m
	if spec.Role != "" {
		v.Rules.Role = token.RoleRule{From: token.RoleFromExpression, Allow: []string{"app", "admin"}}
	}
	return v
}

// with is goodClaims and more.
func with(more string) string { return strings.TrimSuffix(goodClaims, "}") + more + "}" }

func TestConditionsAndContext(t *testing.T) {
	small := strings.Replace(goodClaims, "12345678901234567890", "7", 1)
	v := mapped(t, mapping.Spec{
		Conditions: []string{`claims.tenant_id == 7`, `!has(claims.blocked)`},
		Context:    `{"sub": claims.sub, "tenant": string(claims.tenant_id)}`,
	})
	tok, err := v.Verify(claims(small))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tok.Claims); got != `{"sub":"alice","tenant":"7"}` || tok.Subject != "alice" {
		t.Errorf("claims %s", got)
	}
	again, err := v.Verify(claims(strings.Replace(small, `"iat":1795262390`, `"iat":1795262391,"nonce":"x"`, 1)))
	if err != nil || string(again.Fingerprint) != string(tok.Fingerprint) {
		t.Errorf("another identity for the same context: %v", err)
	}
	for more, want := range map[string]string{
		`,"blocked":false`: "condition 2 does not hold for it",
	} {
		_, err := v.Verify(claims(strings.TrimSuffix(small, "}") + more + "}"))
		wantReason(t, err, token.ConditionFailed)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

func TestRoleFromExpression(t *testing.T) {
	v := mapped(t, mapping.Spec{Role: `"dba" in claims.groups ? ["admin", "app", "postgres"] : ["app"]`})
	for _, tc := range []struct{ groups, user, want string }{
		{`["dba"]`, "admin", "admin"},
		{`["dba"]`, "app", "app"},
		{`["dba"]`, "postgres", ""}, // not allowed, whatever the expression says
		{`["dba"]`, "alice", ""},    // several roles: which one?
		{`["dev"]`, "alice", "app"},
		{`["dev"]`, "app", "app"},
		{`["dev"]`, "admin", ""},
		{`[]`, "bob", ""},
		{`null`, "app", ""},
	} {
		small := strings.Replace(with(`,"groups":`+tc.groups), "12345678901234567890", "7", 1)
		tok, err := v.Verify(claims(small))
		if err != nil {
			t.Fatal(err)
		}
		role, err := tok.Role(tc.user)
		if tc.want == "" {
			wantReason(t, err, token.RoleNotAllowed)
		} else if err != nil || role != tc.want {
			t.Errorf("%s as %s: %q, %v", tc.groups, tc.user, role, err)
		}
		rep := token.Inspect(claims(small), token.Inspection{Set: must(token.NewSet(v)), User: tc.user, Clock: clock})
		if rep.Role != tc.want || (tc.want == "") != (len(rep.Findings) == 1) {
			t.Errorf("inspected: %q %v", rep.Role, rep.Findings)
		}
	}
}

// TestAttackExpressions: the attacker has a good token, and claims that an expression did not expect: absent ones, other types, names
// within names, integers that a double would round.
//
// Must: What cannot be decided is refused, and the text for the log shows no claim.
func TestAttackExpressions(t *testing.T) {
	for name, tc := range map[string]struct {
		spec   mapping.Spec
		claims string
		want   token.Reason
	}{
		"a claim that is absent":           {mapping.Spec{Conditions: []string{`claims.verified`}}, `"a":1`, token.ConditionFailed},
		"a truthy text":                    {mapping.Spec{Conditions: []string{`claims.verified`}}, `"verified":"true"`, token.ConditionFailed},
		"a number for true":                {mapping.Spec{Conditions: []string{`claims.verified == true`}}, `"verified":1`, token.ConditionFailed},
		"a list in place of a text":        {mapping.Spec{Conditions: []string{`claims.tenant == "a"`}}, `"tenant":["a"]`, token.ConditionFailed},
		"a text that is no number":         {mapping.Spec{Conditions: []string{`int(claims.level) > 3`}}, `"level":"alice"`, token.ConditionFailed},
		"an id of 65 bits, rounded to his": {mapping.Spec{Conditions: []string{`claims.id == 36893488147419103232.0`}}, `"id":36893488147419103233`, token.ConditionFailed},
		"a context of no object":           {mapping.Spec{Context: `claims.c`}, `"c":["alice"]`, token.ConditionFailed},
		"a context that is absent":         {mapping.Spec{Context: `claims.c`}, `"a":1`, token.ConditionFailed},
		"a context that is too deep":       {mapping.Spec{Context: `{"a": {"b": claims.c}}`}, `"c":` + strings.Repeat("[", 15) + strings.Repeat("]", 15), token.ConditionFailed},
		"a pointer as a name":              {mapping.Spec{Conditions: []string{`claims.org.id == 1`}}, `"org.id":1,"/org/id":1`, token.ConditionFailed},
	} {
		v := mapped(t, tc.spec)
		_, err := v.Verify(claims(strings.Replace(with(","+tc.claims), "12345678901234567890", "7", 1)))
		var r *token.Refusal
		if !errors.As(err, &r) || r.Reason != tc.want || strings.Contains(r.Error(), "alice") {
			t.Errorf("%s: %v", name, err)
		}
	}
	rules := token.Rules{Issuer: issuer, Audience: []string{audience}, Role: token.RoleRule{From: token.RoleFromExpression, Allow: []string{"app"}}}
	if rules.Check() == nil {
		t.Error("rules without the expression are taken")
	}
	rules.Mapping, rules.Role.Allow = must(mapping.Compile(mapping.Spec{Role: `"app"`})), nil
	if rules.Check() == nil {
		t.Error("an expression may give every role")
	}
}
