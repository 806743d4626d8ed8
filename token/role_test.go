package token_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/token"
)

func TestRole(t *testing.T) {
	sub := token.RoleRule{From: token.RoleFromSubject}
	claim := token.RoleRule{From: token.RoleFromClaim, Claim: "role", Allow: []string{"reader", "writer"}}
	fixed := token.RoleRule{From: token.RoleFixed, Value: "app"}
	for _, tc := range []struct {
		name   string
		rule   token.RoleRule
		claims string // beside sub
		user   string
		want   string // "" is refused
	}{
		{"subject", sub, ``, "alice", "alice"},
		{"subject by default", token.RoleRule{}, ``, "alice", "alice"},
		{"another user", sub, ``, "bob", ""},
		{"no user", sub, ``, "", ""},
		{"other case", sub, ``, "Alice", ""},
		{"subject with a space", sub, ``, "alice ", ""},
		{"subject on the list", token.RoleRule{Allow: []string{"alice"}}, ``, "alice", "alice"},
		{"subject not on the list", token.RoleRule{Allow: []string{"bob"}}, ``, "alice", ""},
		{"claim", claim, `,"role":"reader"`, "reader", "reader"},
		{"claim, user is the subject", claim, `,"role":"reader"`, "alice", "reader"},
		{"claim, another user", claim, `,"role":"reader"`, "bob", ""},
		{"claim, the other allowed role", claim, `,"role":"reader"`, "writer", ""},
		{"claim not on the list", claim, `,"role":"postgres"`, "postgres", ""},
		{"claim not on the list, user is the subject", claim, `,"role":"postgres"`, "alice", ""},
		{"no claim", claim, ``, "reader", ""},
		{"claim of the wrong type", claim, `,"role":7`, "7", ""},
		{"claim is null", claim, `,"role":null`, "reader", ""},
		{"claim is an object", claim, `,"role":{"reader":1}`, "reader", ""},
		{"several roles, one asked for", claim, `,"role":["reader","writer"]`, "writer", "writer"},
		{"several roles, none asked for", claim, `,"role":["reader","writer"]`, "alice", ""},
		{"several roles, another asked for", claim, `,"role":["reader","admin"]`, "writer", ""},
		{"several roles, asked for one not allowed", claim, `,"role":["reader","admin"]`, "admin", ""},
		{"one role in a list", claim, `,"role":["writer"]`, "alice", "writer"},
		{"no role in a list", claim, `,"role":[]`, "alice", ""},
		{"mixed list", claim, `,"role":["reader",1]`, "reader", ""},
		{"list in a string", claim, `,"role":"reader,writer"`, "reader", ""},
		{"nested claim", token.RoleRule{From: token.RoleFromClaim, Claim: "/app/role", Allow: []string{"reader"}}, `,"app":{"role":"reader"}`, "reader", "reader"},
		{"fixed", fixed, ``, "app", "app"},
		{"fixed, user is the subject", fixed, ``, "alice", "app"},
		{"fixed, another user", fixed, ``, "postgres", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := edVerifier()
			v.Rules.Role = tc.rule
			tok, err := v.Verify(claims(strings.TrimSuffix(goodClaims, "}") + tc.claims + "}"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := tok.Role(tc.user)
			if got != tc.want {
				t.Errorf("role is %q, %v", got, err)
			}
			if tc.want == "" {
				wantReason(t, err, token.RoleNotAllowed)
			}
		})
	}
}

// TestAttackRoleName: the attacker has a subject that PostgreSQL would cut or end early, so that it becomes somebody else's
// role.
//
// Must: Such a name is no role: the token is refused.
func TestAttackRoleName(t *testing.T) {
	for name, sub := range map[string]string{"64 bytes": strings.Repeat("a", 64), "64 bytes of 32 letters": strings.Repeat("é", 32)} {
		tok, err := edVerifier().Verify(claims(strings.Replace(goodClaims, "alice", sub, 1)))
		if err != nil {
			t.Fatal(name, err)
		}
		_, err = tok.Role(sub)
		wantReason(t, err, token.RoleNotAllowed)
	}
	sub := strings.Repeat("a", 63)
	tok, err := edVerifier().Verify(claims(strings.Replace(goodClaims, "alice", sub, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if role, err := tok.Role(sub); role != sub {
		t.Error(role, err)
	}
}

func TestRulesCheck(t *testing.T) {
	for name, bad := range map[string]token.Rules{
		"negative leeway":        {Leeway: -1},
		"negative lifetime":      {MaxLifetime: -1},
		"any and one audience":   {Audience: []string{token.AnyAudience, "x"}},
		"empty audience":         {Audience: []string{""}},
		"required without name":  {RequiredClaims: []string{""}},
		"claim without list":     {Role: token.RoleRule{From: token.RoleFromClaim, Claim: "role"}},
		"claim without name":     {Role: token.RoleRule{From: token.RoleFromClaim, Allow: []string{"a"}}},
		"fixed without value":    {Role: token.RoleRule{From: token.RoleFixed}},
		"fixed, not on the list": {Role: token.RoleRule{From: token.RoleFixed, Value: "a", Allow: []string{"b"}}},
		"fixed, long":            {Role: token.RoleRule{From: token.RoleFixed, Value: strings.Repeat("a", 64)}},
		"fixed, null byte":       {Role: token.RoleRule{From: token.RoleFixed, Value: "a\x00"}},
		"empty role on the list": {Role: token.RoleRule{Allow: []string{""}}},
		"subject with a claim":   {Role: token.RoleRule{From: token.RoleFromSubject, Claim: "role"}},
		"unknown source":         {Role: token.RoleRule{From: "SUB"}},
	} {
		if bad.Check() == nil {
			t.Errorf("%s: passes", name)
		}
	}
	good := rules()
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
