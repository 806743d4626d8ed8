package claimpool_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

func TestShareIsTheValueOfAClaim(t *testing.T) {
	made := func(issuer, subject, claims string) *claimpool.Identity {
		return claimpool.NewIdentity(claimpool.MethodJWT, issuer, subject, "app", claimpool.Claims(claims), []byte(claims), time.Time{})
	}
	ann := made("i", "ann", `{"tenant":"t1","n":12345678901234567890}`)
	for name, test := range map[string]struct {
		other *claimpool.Identity
		claim string
		same  bool
	}{
		"same value":       {made("i", "bob", `{"tenant":"t1"}`), "tenant", true},
		"other value":      {made("i", "bob", `{"tenant":"t2"}`), "tenant", false},
		"value of a kind":  {made("i", "bob", `{"tenant":["t1"]}`), "tenant", false},
		"large number":     {made("i", "bob", `{"n":12345678901234567891}`), "n", false},
		"other issuer":     {made("j", "bob", `{"tenant":"t1"}`), "tenant", false},
		"no such claim":    {made("i", "bob", `{}`), "tenant", false},
		"neither has one":  {made("i", "bob", `{"x":1}`), "y", false},
		"no claim is told": {made("i", "bob", `{"tenant":"t1"}`), "", false},
	} {
		if same := ann.Share(test.claim) == test.other.Share(test.claim); same != test.same {
			t.Errorf("%s: the same share: %t", name, same)
		}
	}
	if ann.Share("tenant") == ann.Key() || ann.Share("other") != ann.Key() {
		t.Error("a share is an identity's own only without the claim")
	}
}
