package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimpool/claimpool"
)

// TestAttackGuessesAtOnce: the attacker sends his guesses all at once, from one address, where a slow directory judges them: to have it
// judge more than the throttle allows one after the other, or to lock somebody out there.
//
// Must: Only a bounded number of guesses reaches the directory, whatever he guesses then is refused, and other addresses do not wait for his.
// Dialects: none
func TestAttackGuessesAtOnce(t *testing.T) {
	der, _ := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		var asked, now, most atomic.Int64
		rule := Rule{Method: claimpool.MethodLDAP, Check: func(_ context.Context, _ string, password claimpool.Secret, _ string) (string, bool, error) {
			asked.Add(1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			<-time.After(time.Second)
			if string(password) != "correct" {
				return "", true, errors.New("no")
			}
			return "", false, nil
		}}
		a := newAuth(t, rule)
		a.throttle = newThrottle(Throttle{Failures: 5, Window: time.Minute}, time.Now)
		guesses := make(chan error)
		for i := range 500 {
			go func() {
				_, err := a.Authenticate(t.Context(), overTLS("anna", der), sends(fmt.Sprint("guess ", i)))
				guesses <- err
			}()
		}
		synctest.Wait()
		began, elsewhere := time.Now(), overTLS("bert", der)
		elsewhere.Addr = netip.MustParseAddrPort("198.51.100.9:5000")
		if _, err := a.Authenticate(t.Context(), elsewhere, sends("correct")); err != nil || time.Since(began) > time.Second {
			t.Errorf("another address: %v after %v", err, time.Since(began))
		}
		for range 500 {
			if err := <-guesses; err == nil {
				t.Error("a guess was good")
			}
		}
		// A place is free a moment before the guess counts as a failure.
		if asked.Load() > 2*maxAsking+1 || most.Load() > maxAsking+1 {
			t.Errorf("the directory was asked %d times, %d of them at once", asked.Load(), most.Load())
		}
		if n := len(a.throttle.gates.open); n != 0 {
			t.Errorf("%d addresses are kept", n)
		}
	})
}

// Who is over his time does not wait for others, and does not keep his place among them.
func TestAskingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gates
		addr := netip.MustParseAddr("192.0.2.7")
		var inside []func()
		for range maxAsking {
			inside = append(inside, g.enter(t.Context(), addr))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		g.enter(short, addr)()
		if took := time.Since(began); took != time.Second {
			t.Errorf("he waited %v", took)
		}
		next := make(chan func())
		go func() { next <- g.enter(t.Context(), addr) }()
		synctest.Wait()
		inside[0]()
		(<-next)()
		for _, leave := range inside[1:] {
			leave()
		}
		if len(g.open) != 0 {
			t.Errorf("%d addresses are kept", len(g.open))
		}
	})
}
