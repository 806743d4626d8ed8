package credential

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

func TestCache(t *testing.T) {
	var next Credential
	var failure error
	asked := 0
	now := epoch
	c := NewCache(func(context.Context) (Credential, error) { asked++; return next, failure }, func() time.Time { return now })
	get := func(name, want string, questions int) {
		t.Helper()
		before := asked
		got, err := c.Get(t.Context())
		if string(got.Password) != want || (err == nil) != (want != "") {
			t.Errorf("%s: got a password of %d bytes, %v", name, len(got.Password), err)
		}
		if asked-before != questions {
			t.Errorf("%s: asked %d times", name, asked-before)
		}
		got.Password.Clear() // the caller's own
	}
	offer := func(password string, life time.Duration) {
		next, failure = Credential{Password: claimpool.Secret(password)}, nil
		if life > 0 {
			next.Expires = now.Add(life)
		}
	}
	offer("one", time.Hour)
	get("the first", "one", 1)
	now = now.Add(54 * time.Minute)
	get("long before its end", "one", 0)
	now = now.Add(time.Minute)
	offer("two", time.Hour)
	get("shortly before its end", "two", 1)
	failure = errors.New("down")
	now = now.Add(56 * time.Minute)
	get("when the source fails before the end", "two", 1)
	now = now.Add(5 * time.Minute)
	get("when it fails behind the end", "", 1)
	get("and at once again", "", 0)
	now = now.Add(2 * time.Second)
	offer("three", 0)
	get("without an end", "three", 1)
	offer("four", 0)
	now = now.Add(59 * time.Second)
	get("for a minute", "three", 0)
	now = now.Add(time.Second)
	get("and no longer", "four", 1)
	if c.Forget() {
		t.Error("what has just been fetched may change at once")
	}
	offer("five", 0)
	get("after it was refused", "five", 1)
	now = now.Add(10 * time.Second)
	if !c.Forget() {
		t.Error("what was fetched ten seconds ago cannot have changed")
	}
	failure = errors.New("down")
	get("a refused one is not used again", "", 1)
}
