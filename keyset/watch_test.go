package keyset_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

// A key is rolled in four steps: the new one beside the old one, both work, the old one goes, only the new one works.
func TestRotation(t *testing.T) {
	oldSigner, newSigner := signer("ES256", "old", ecKey()), signer("EdDSA", "new", edKey())
	oldJWK, newJWK := jwk(&ecKey().PublicKey, "old", "", ""), jwk(edKey().Public(), "new", "", "")
	name := write(t, []byte(`{"keys":[`+oldJWK+`]}`), 0o644)
	f, err := load(keyset.Spec{File: name})
	if err != nil {
		t.Fatal(err)
	}
	step := func(keys string, wantChanged, oldWorks, newWorks bool) {
		t.Helper()
		if keys != "" {
			replace(t, name, []byte(`{"keys":[`+keys+`]}`))
		}
		changed, err := f.Refresh()
		if err != nil || changed != wantChanged {
			t.Errorf("changed %v, %v", changed, err)
		}
		if verifies(t, f, oldSigner) != oldWorks || verifies(t, f, newSigner) != newWorks {
			t.Error("the wrong keys work")
		}
	}
	step("", false, true, false)
	step(oldJWK+","+newJWK, true, true, true)
	step("", false, true, true)
	step(newJWK, true, false, true)
}

// What goes wrong with a file leaves the old keys in place, and the next Refresh tries again.
func TestRefreshKeepsOldKeys(t *testing.T) {
	old, other := signer("EdDSA", "", edKey()), signer("ES256", "", ecKey())
	name, second := write(t, pkixPEM(edKey().Public()), 0o644), write(t, pkixPEM(edKey().Public()), 0o644)
	f, err := load(keyset.Spec{File: name}, keyset.Spec{File: second})
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{
		"empty":                  {},
		"half-written":           pkixPEM(&ecKey().PublicKey)[:60],
		"garbage":                []byte("garbage"),
		"a private key":          pkcs8PEM(ecKey()),
		"a set without keys":     []byte(`{"keys":[]}`),
		"new key and broken one": join(pkixPEM(&ecKey().PublicKey), []byte("-----BEGIN X")),
	} {
		replace(t, name, content)
		replace(t, second, pkixPEM(&ecKey().PublicKey)) // good by itself, but not taken alone
		for range 2 {
			if changed, err := f.Refresh(); changed || err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: changed %v, %v", what, changed, err)
			}
		}
		if !verifies(t, f, old) || verifies(t, f, other) {
			t.Errorf("%s: the wrong keys work", what)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(); err == nil || !verifies(t, f, old) {
		t.Errorf("removed: %v", err)
	}
	replace(t, name, pkixPEM(&ecKey().PublicKey))
	if changed, err := f.Refresh(); !changed || err != nil || verifies(t, f, old) || !verifies(t, f, other) {
		t.Errorf("put right: changed %v, %v", changed, err)
	}
}

// A file that is written in place, at the same size, is noticed by its time; one that is replaced by its inode.
func TestRefreshNotices(t *testing.T) {
	a, b := pkixPEM(edKey().Public()), pkixPEM(must(keyset.Generate("EdDSA")).Signer.Key().Public)
	name := write(t, a, 0o644)
	f, err := load(keyset.Spec{File: name})
	if err != nil {
		t.Fatal(err)
	}
	info := must(os.Stat(name))
	replace(t, name, b)
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if changed, err := f.Refresh(); !changed || err != nil {
		t.Errorf("replaced, same size and time: changed %v, %v", changed, err)
	}
	if err := os.WriteFile(name, a, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Now(), info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if changed, err := f.Refresh(); !changed || err != nil {
		t.Errorf("written in place: changed %v, %v", changed, err)
	}
	if changed, err := f.Refresh(); changed || err != nil {
		t.Errorf("untouched: changed %v, %v", changed, err)
	}
}

func TestWatch(t *testing.T) {
	name := write(t, pkixPEM(edKey().Public()), 0o644)
	f, err := load(keyset.Spec{File: name})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var events []string
		go f.Watch(ctx, time.Minute, func(err error) {
			if err != nil {
				events = append(events, "error")
			} else {
				events = append(events, "new keys")
			}
		})
		wait := func(want string) {
			t.Helper()
			time.Sleep(10*time.Minute + time.Second) // ten ticks; the bubble's clock costs nothing
			synctest.Wait()
			if got := strings.Join(events, ", "); got != want {
				t.Errorf("events are %q, want %q", got, want)
			}
		}
		wait("")
		replace(t, name, pkixPEM(&ecKey().PublicKey))
		wait("new keys")
		replace(t, name, []byte("garbage"))
		wait("new keys, error")
		replace(t, name, nil)
		wait("new keys, error, error")
		replace(t, name, pkixPEM(edKey().Public()))
		wait("new keys, error, error, new keys")
		cancel()
		synctest.Wait()
	})
}

// Keys are read while they are replaced (for the race detector).
func TestConcurrentUse(t *testing.T) {
	name := write(t, pkixPEM(edKey().Public()), 0o644)
	f, err := load(keyset.Spec{File: name})
	if err != nil {
		t.Fatal(err)
	}
	s := signer("EdDSA", "", edKey())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if !verifies(t, f, s) {
					t.Error("the key went away")
				}
				f.All()[0] = token.Key{} // a copy
			}
		})
	}
	for range 20 {
		replace(t, name, pkixPEM(edKey().Public()))
		if _, err := f.Refresh(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
