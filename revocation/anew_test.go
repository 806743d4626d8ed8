package revocation_test

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

// TestAttackTableThatBeginsAnew: the table has been emptied, or restored from an older backup, while the proxies follow it, and counts from
// the beginning again. The attacker is signed out then; and he was before, by a row that is gone.
//
// Must: The proxies notice him at once, also where a new row has the number of the last one that they know; and nobody is signed in again.
// Dialects: none
func TestAttackTableThatBeginsAnew(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		set, _, _ := s.follow(t, time.Minute) // it will not ask by itself
		now := time.Now()
		signOut := func(jti string) {
			t.Helper()
			if err := s.revoke(t, revocation.Request{Issuer: issuer, Token: jti}, nil); err != nil {
				t.Fatal(err)
			}
			proof := claimpool.NewProof(issuer, jti, "", now, "eve")
			soon(t, jti+" is signed out", func() bool { return set.SignedOut(&proof, now) })
		}
		signOut("a")
		signOut("b")
		for _, jti := range []string{"c", "d"} { // as number 1, where 2 is known, and as number 1, where that is known
			s.Exec(t, s.db, "truncate claimpool_revocation.revocations restart identity")
			signOut(jti)
		}
		signOut("e")
		first := claimpool.NewProof(issuer, "a", "", now, "eve")
		if !set.SignedOut(&first, now) || set.Len() != 5 {
			t.Errorf("%d are signed out", set.Len())
		}
	})
}
