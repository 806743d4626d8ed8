package credential

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimpool/claimpool"
)

func TestCache(t *testing.T) { synctest.Test(t, testCache) } // where nothing is slow

func testCache(t *testing.T) {
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

// slow is a source that gives a credential for an hour, after a while.
type slow struct {
	wait  atomic.Int64 // nanoseconds
	asked atomic.Int64
}

func (s *slow) get(ctx context.Context) (Credential, error) {
	s.asked.Add(1)
	select {
	case <-time.After(time.Duration(s.wait.Load())):
		return Credential{Password: claimpool.Secret("good"), Expires: time.Now().Add(time.Hour)}, nil
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
}

// TestAttackSlowVault: a service that keeps credentials falls silent, or takes its time, and strangers' logins come to their end meanwhile.
//
// Must: What is still good must be used at once, nobody must wait for longer than he wants to, and the end of one login must not be a
// failure for others.
// Dialects: none
func TestAttackSlowVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := new(slow)
		c := NewCache(source.get, nil)
		within := func(what string, limit, wantIn time.Duration, want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			got, err := c.Get(ctx)
			if string(got.Password) != want || (err == nil) != (want != "") || time.Since(began) > wantIn {
				t.Fatalf("%s: a password of %d bytes after %v (%v)", what, len(got.Password), time.Since(began), err)
			}
		}
		source.wait.Store(int64(time.Second))
		within("a login at its end", 100*time.Millisecond, 100*time.Millisecond, "")
		within("the next one", 5*time.Second, time.Second, "good")
		<-time.After(56 * time.Minute)
		source.wait.Store(int64(time.Hour))
		for range 10 {
			within("silence while the last one is good", 5*time.Second, time.Second, "good")
		}
		<-time.After(5 * time.Minute)
		for range 3 {
			within("silence", time.Second, time.Second, "")
		}
		source.wait.Store(0)
		<-time.After(time.Minute)
		within("when it speaks again", time.Second, time.Second, "good")
		if n := source.asked.Load(); n > 20 {
			t.Errorf("it was asked %d times", n)
		}
	})
}
