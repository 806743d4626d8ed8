package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
)

// store is a source in memory.
type store struct {
	secrets map[string]string
	err     error
	wait    time.Duration
	asked   atomic.Int64
}

func (s *store) Password(ctx context.Context, user string) (claimpool.Secret, error) {
	s.asked.Add(1)
	if s.wait > 0 {
		select {
		case <-time.After(s.wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return claimpool.Secret(s.secrets[user]), s.err
}

func verifierOf(t testing.TB, password, salt string) string {
	t.Helper()
	v, err := scram.NewVerifier([]byte(password), []byte(salt), 4096)
	if err != nil {
		t.Fatal(err)
	}
	return v.Encode()
}

// newLookup is an authenticator with one rule that looks passwords up, and its clock.
func newLookup(t testing.TB, method claimpool.Method, s *store) (a *Authenticator, now *time.Time) {
	t.Helper()
	now = new(time.Time)
	*now = epoch
	clock := func() time.Time { return *now }
	a, err := New(Config{Clock: clock, Rules: []Rule{{
		Method: method, Lookup: NewLookup(map[string]Asked{"app": {s, 5 * time.Second}}, clock),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return a, now
}

func (a *Authenticator) try(t testing.TB, user, password string) error {
	_, err := a.Authenticate(t.Context(), overTCP(user), sendsSCRAM(password, nil))
	return err
}

func TestLookupKeepsAnswersForATime(t *testing.T) {
	s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}}
	a, now := newLookup(t, claimpool.MethodSCRAM, s)
	steps := []struct {
		name, user, password string
		after                time.Duration // the step before
		good                 bool
		asked                int64 // in this step
	}{
		{"the first login asks", "anna", "correct", 0, true, 1},
		{"the next one does not", "anna", "correct", 2 * time.Second, true, 0},
		{"until the answer is old", "anna", "correct", 3 * time.Second, true, 1},
		{"an unknown user is asked for", "evey", "correct", 0, false, 1},
		{"and not again at once", "evey", "correct", 0, false, 0},
		{"a fresh answer is believed when a proof fails", "anna", "wrong", 0, false, 0},
		{"and with an older one", "anna", "wrong", 2 * time.Second, false, 0},
		{"the next login asks again", "anna", "correct", 0, true, 1},
	}
	for _, step := range steps {
		before := s.asked.Load()
		*now = now.Add(step.after)
		if err := a.try(t, step.user, step.password); (err == nil) != step.good {
			t.Errorf("%s: %v", step.name, err)
		}
		if asked := s.asked.Load() - before; asked != step.asked {
			t.Errorf("%s: asked %d times", step.name, asked)
		}
	}
}

func TestLookupOfAChangedPassword(t *testing.T) {
	s := &store{secrets: map[string]string{"anna": verifierOf(t, "old", "salt of anna....")}}
	a, now := newLookup(t, claimpool.MethodSCRAM, s)
	if err := a.try(t, "anna", "old"); err != nil {
		t.Fatal(err)
	}
	s.secrets["anna"] = verifierOf(t, "new", "another salt....")
	*now = now.Add(time.Second)
	if err := a.try(t, "anna", "new"); err == nil {
		t.Error("the answer was not kept")
	}
	if err := a.try(t, "anna", "new"); err != nil {
		t.Errorf("the login after a failed one did not ask again: %v", err)
	}
	if err := a.try(t, "anna", "old"); err == nil {
		t.Error("the old password is still good")
	}
}

func TestLookupThatFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		source *store
	}{
		{"no answer", &store{err: errors.New("no connection")}},
		{"a password as it is", &store{secrets: map[string]string{"anna": "correct"}}},
		{"a broken verifier", &store{secrets: map[string]string{"anna": "SCRAM-SHA-256$0:x$y:z"}}},
	} {
		a, _ := newLookup(t, claimpool.MethodSCRAM, test.source)
		for range 30 {
			err := a.try(t, "anna", "correct")
			refused(t, err, claimpool.CodeCannotConnectNow, "could not look up the password")
			if t.Failed() {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		test.source.err, test.source.secrets = nil, map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}
		if err := a.try(t, "anna", "correct"); err != nil {
			t.Errorf("%s: when it is over: %v", test.name, err)
		}
	}
}

func TestLookupOfMD5(t *testing.T) {
	s := &store{secrets: map[string]string{"cara": "md5" + string(stored{plain: claimpool.Secret("correct")}.md5Hex("cara"))}}
	a, _ := newLookup(t, claimpool.MethodMD5, s)
	if _, err := a.Authenticate(t.Context(), overTCP("cara"), sendsMD5("cara", "correct")); err != nil {
		t.Error(err)
	}
	if _, err := a.Authenticate(t.Context(), overTCP("cara"), sendsMD5("cara", "wrong")); err == nil {
		t.Error("a wrong password was taken")
	}
}

// TestLookupsShareOneQuestion: a thousand logins of one user at once are one query.
func TestLookupsShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}, wait: time.Second}
		l := NewLookup(map[string]Asked{"app": {s, 5 * time.Second}}, nil)
		errs := make(chan error)
		for range 100 {
			go func() {
				_, known, _, err := l.find(t.Context(), userOf{"app", "anna"}, claimpool.Secret("seed"))
				if err == nil && !known {
					err = errors.New("unknown")
				}
				errs <- err
			}()
		}
		for range 100 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := s.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestAttackLookupTellsWhoExists: a stranger compares what he gets for users that may or may not exist, where passwords are looked
// up at the server.
//
// Must: Known and unknown users look the same: the same text and length, the same salt again, the same work, and a question to the
// server at the same logins.
func TestAttackLookupTellsWhoExists(t *testing.T) {
	s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}}
	a, now := newLookup(t, claimpool.MethodSCRAM, s)
	if err := a.try(t, "anna", "correct"); err != nil { // the proxy has met one user
		t.Fatal(err)
	}
	*now = now.Add(time.Hour)
	for i, wait := range []time.Duration{0, 0, time.Second, 3 * time.Second, time.Second, time.Hour} {
		*now = now.Add(wait)
		var sent [2]int
		var asked [2]int64
		for j, user := range []string{"anna", "evey"} {
			before, c := s.asked.Load(), sendsSCRAM("wrong", nil)
			_, err := a.Authenticate(t.Context(), overTCP(user), c)
			refused(t, err, claimpool.CodeInvalidPassword, `password authentication failed for user "`+user+`"`)
			sent[j], asked[j] = len(c.sent), s.asked.Load()-before
		}
		if sent[0] != sent[1] || asked[0] != asked[1] {
			t.Errorf("try %d: %d and %d bytes, %d and %d questions", i, sent[0], sent[1], asked[0], asked[1])
		}
	}
	work := func(user string) float64 {
		return testing.AllocsPerRun(20, func() { *now = now.Add(time.Hour); _ = a.try(t, user, "wrong") })
	}
	if d := work("anna") - work("evey"); d < -6 || d > 6 {
		t.Errorf("%v more allocations for a known user", d)
	}
}

// TestAttackFloodOfNames: a stranger tries to log in under a million names, to fill the proxy's memory with answers.
//
// Must: No more answers are kept than the limit, and known users are still found.
func TestAttackFloodOfNames(t *testing.T) {
	s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}}
	a, _ := newLookup(t, claimpool.MethodSCRAM, s)
	l := a.rules[0].Lookup
	for i := range 2 * maxAnswers {
		if _, known, _, err := l.find(t.Context(), userOf{"app", fmt.Sprint("name ", i)}, a.seed); err != nil || known {
			t.Fatal(known, err)
		}
	}
	if len(l.answers) > maxAnswers {
		t.Errorf("%d answers are kept", len(l.answers))
	}
	if err := a.try(t, "anna", "correct"); err != nil {
		t.Error(err)
	}
}

// TestAttackLongName: a stranger knows the password of a role with a name of 63 bytes, and logs in with a longer name, which the
// server cuts.
//
// Must: He is nobody.
func TestAttackLongName(t *testing.T) {
	long := fmt.Sprintf("%064d", 1)
	s := &store{secrets: map[string]string{long: verifierOf(t, "correct", "salt of anna....")}}
	a, _ := newLookup(t, claimpool.MethodSCRAM, s)
	refused(t, a.try(t, long, "correct"), claimpool.CodeInvalidPassword, "")
}

func TestKeysAreKeptOfThoseWhoProvedThem(t *testing.T) {
	for _, test := range []struct {
		name, role, password string
		kept                 bool
	}{
		{"right password", "", "correct", true},
		{"right password, and the role is the user", "anna", "correct", true},
		{"another role than the user", "app_user", "correct", false},
		{"wrong password", "", "wrong", false},
	} {
		keys := new(Keys)
		s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}}
		a := newAuth(t, Rule{
			Method: claimpool.MethodSCRAM, Role: test.role, Keys: keys,
			Lookup: NewLookup(map[string]Asked{"app": {s, time.Second}}, nil),
		})
		_ = a.try(t, "anna", test.password)
		c, ok := keys.Get("app", "anna")
		if ok != test.kept || ok && (len(c.ClientKey) != 32 || c.Password != nil) {
			t.Errorf("%s: kept %v", test.name, ok)
		}
		if _, ok := keys.Get("other", "anna"); ok {
			t.Errorf("%s: kept for another database", test.name)
		}
	}
	keys := new(Keys)
	if err := newAuth(t, Rule{Method: claimpool.MethodSCRAM, Userlist: parse(t, `"anna" "correct"`), Keys: keys}).try(t, "anna", "correct"); err != nil {
		t.Fatal(err)
	}
	if c, ok := keys.Get("app", "anna"); !ok || string(c.Password) != "correct" || c.ClientKey != nil {
		t.Error("a password that the user list has as it is was not kept")
	}
}

// TestAttackLookupCutShort: a stranger asks for somebody else's name when the time for his own login is almost over, again and again.
//
// Must: The end of his login must not be an answer for those who wait for the same one.
// Dialects: none
func TestAttackLookupCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{secrets: map[string]string{"anna": verifierOf(t, "correct", "salt of anna....")}, wait: time.Second}
		l := NewLookup(map[string]Asked{"app": {s, 5 * time.Second}}, nil)
		find := func(ctx context.Context, errs chan error) {
			_, known, _, err := l.find(ctx, userOf{"app", "anna"}, claimpool.Secret("seed"))
			if err == nil && !known {
				err = errors.New("unknown")
			}
			errs <- err
		}
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		his, ours := make(chan error), make(chan error)
		go find(short, his)
		synctest.Wait()
		for range 10 {
			go find(t.Context(), ours)
		}
		if err := <-his; err == nil {
			t.Error("he had an answer in half the time")
		}
		for range 10 {
			if err := <-ours; err != nil {
				t.Error(err)
			}
		}
		if n := s.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}
