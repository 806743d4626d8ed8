package auth

import (
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// TestAttackRenewalAgainstTheRules: the administrator has taken a user's right away, by the rules, and the issuer does not know it. The user
// is still connected, and hands in one fresh token after the other.
//
// Must: The fresh token is refused where the rules, as they are now, would not let him in by the same one; others go on.
// Dialects: none
func TestAttackRenewalAgainstTheRules(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{From: token.RoleFromClaim, Claim: "role", Allow: []string{"a"}})
	der, _ := certificate(t)
	people := Rule{Name: "people", Method: claimpool.MethodJWT, Issuers: iss.set}
	fresh := iss.mint(t, "eve", `,"role":"a"`)
	reject := func(r Rule) Rule {
		r.Name, r.Method = "no", claimpool.MethodReject
		return r
	}
	with := func(change func(*Rule)) Rule {
		r := people
		change(&r)
		return r
	}
	every := prefixes("0.0.0.0/0", "::/0")
	for _, test := range []struct {
		name  string
		rules []Rule
		unix  bool
		ok    bool
	}{
		{"nothing has changed", []Rule{people}, false, true},
		{"he is not named any more", []Rule{with(func(r *Rule) { r.Users = []string{"ann"} })}, false, false},
		{"his database is not named any more", []Rule{with(func(r *Rule) { r.Databases = []string{"other"} })}, false, false},
		{"another rule has the name now", []Rule{with(func(r *Rule) { r.Name = "others" }), with(func(r *Rule) { r.Users = []string{"ann"} })}, false, false},
		{"he is rejected", []Rule{reject(Rule{Users: []string{"eve"}}), people}, false, false},
		{"he is rejected at every address", []Rule{reject(Rule{Users: []string{"eve"}, Addresses: every}), people}, false, false},
		{"he is rejected on this machine", []Rule{reject(Rule{Users: []string{"eve"}, TLS: TLSLocal}), people}, true, false},
		{"he is rejected behind the rule", []Rule{people, reject(Rule{Users: []string{"eve"}})}, false, true},
		{"another user is rejected", []Rule{reject(Rule{Users: []string{"a", "ann"}}), people}, false, true},
		{"another database is closed", []Rule{reject(Rule{Databases: []string{"other"}}), people}, false, true},
		{"a rule for unix sockets", []Rule{reject(Rule{TLS: TLSLocal}), people}, false, true},
		{"a rule for the network", []Rule{reject(Rule{Addresses: every}), people}, true, true},
		{"a rule for some addresses", []Rule{reject(Rule{Addresses: prefixes("0.0.0.0/0")}), people}, false, true},
		{"a rule without TLS", []Rule{reject(Rule{TLS: TLSOff}), people}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := overTLS("eve", der)
			if test.unix {
				req = overUnix("eve")
			}
			id, err := newAuth(t, people).Authenticate(t.Context(), req, sends(fresh))
			if err != nil {
				t.Fatal(err)
			}
			a, now := newAuth(t, test.rules...), Request{Database: req.Database, Unix: test.unix}
			next, err := a.Renew(id, now, claimpool.Secret(fresh), unnoticed)
			if !test.ok {
				refused(t, err, claimpool.CodeInvalidAuthorization, "token in jwt.context refused")
			} else if err != nil {
				t.Error(claimpool.AsError(err).Cause)
			} else if _, err := a.Renew(next, now, claimpool.Secret(fresh), unnoticed); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}
