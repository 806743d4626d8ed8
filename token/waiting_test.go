package token_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

// far is a key source that has to fetch first the keys whose ID is not "ed".
type far struct {
	keys token.KeySource
	told *int // how many wait at this moment
	seen []int
}

func (f *far) Waits(kid string) bool { return kid != "ed" }

func (f *far) Keys(kid string) ([]token.Key, error) {
	f.seen = append(f.seen, *f.told)
	return f.keys.Keys(kid)
}

// Who is told of waits can let others work: an issuer is asked, or its keys are fetched; not when the keys are here.
func TestVerifyWaiting(t *testing.T) {
	waits, told := 0, 0
	waiting := func() (over func()) {
		waits++
		told++
		return func() { waits-- }
	}
	near := edVerifier()
	source := &far{keys: near.Keys, told: &waits}
	near.Keys = source
	j := &judged{answers: map[string]string{"opaque": `{"active":true,"sub":"alice","aud":"claimpool"}`}, lifetime: time.Minute}
	judge := &token.Verifier{Rules: token.Rules{Issuer: judging, Audience: []string{audience}}, Introspector: j, Clock: clock}
	set, err := token.NewSet(near, judge)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		raw  []byte
		ok   bool
		told int
	}{
		{"a key that is here", claims(goodClaims), true, 0},
		{"a key that nobody knows", edToken(`{"alg":"EdDSA","kid":"new"}`, goodClaims), false, 1},
		{"its issuer is asked", []byte("opaque"), true, 1},
	} {
		told, source.seen = 0, nil
		if _, err := set.VerifyWaiting(test.raw, waiting); (err == nil) != test.ok || told != test.told || waits != 0 {
			t.Errorf("%s: told %d times of a wait, want %d; %d wait on (%v)", test.name, told, test.told, waits, err)
		}
		for _, n := range source.seen {
			if n != test.told {
				t.Errorf("%s: the keys were looked for with %d waits", test.name, n)
			}
		}
	}
}
