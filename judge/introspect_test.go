package judge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/judge"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/token"
)

// moving is a clock that tests set.
type moving struct {
	mu sync.Mutex
	at time.Time
}

func (m *moving) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *moving) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = m.at.Add(d)
}

func secret(context.Context) (claimpool.Secret, error) { return claimpool.Secret("pr0xy:&"), nil }

func introspection(t testing.TB, p *pgtest.Provider, change func(*judge.IntrospectionSpec)) *judge.Introspection {
	t.Helper()
	spec := judge.IntrospectionSpec{URL: p.URL + pgtest.IntrospectPath, ClientID: "proxy", Secret: secret, Timeout: 30 * time.Second, Clock: clock}
	if change != nil {
		change(&spec)
	}
	i, err := judge.NewIntrospection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func TestIntrospection(t *testing.T) {
	p := pgtest.StartPlainProvider(t)
	i := introspection(t, p, nil)
	p.Activate("good+/=&", `"sub": "u1", "n": 12345678901234567890`)
	claims, err := i.Introspect([]byte("good+/=&"))
	if err != nil || string(claims) != `{"active":true,"sub":"u1","n":12345678901234567890}` {
		t.Errorf("%s %v", claims, err)
	}
	if _, err := i.Introspect([]byte("bad")); !errors.Is(err, token.ErrInactive) {
		t.Error(err)
	}
	hits := p.Hits(pgtest.IntrospectPath)
	if _, err := i.Introspect([]byte("good\r\n")); !errors.Is(err, token.ErrInactive) || p.Hits(pgtest.IntrospectPath) != hits {
		t.Errorf("with a line break: %v", err)
	}
	wrong := introspection(t, p, func(s *judge.IntrospectionSpec) {
		s.Secret = func(context.Context) (claimpool.Secret, error) { return claimpool.Secret("guess"), nil }
	})
	if _, err := wrong.Introspect([]byte("good+/=&")); err == nil || errors.Is(err, token.ErrInactive) || strings.Contains(err.Error(), "guess") {
		t.Errorf("with a wrong secret: %v", err)
	}
}

// An answer is either yes, or no, or none at all; never a guess.
func TestIntrospectionAnswers(t *testing.T) {
	p := pgtest.StartPlainProvider(t)
	i := introspection(t, p, nil)
	for name, test := range map[string]struct {
		status             int
		kind, answer, want string
	}{
		"active":                   {200, "application/json", `{"active":true}`, granted},
		"a bearer token":           {200, "application/json", `{"active":true,"token_type":"bearer"}`, granted},
		"not active":               {200, "application/json", `{"active":false,"sub":"u1"}`, denied},
		"a DPoP token":             {200, "application/json", `{"active":true,"token_type":"DPoP"}`, denied},
		"active as text":           {200, "application/json", `{"active":"true"}`, noAnswer},
		"active as a number":       {200, "application/json", `{"active":1}`, noAnswer},
		"Active":                   {200, "application/json", `{"Active":true}`, noAnswer},
		"nothing about it":         {200, "application/json", `{"sub":"u1"}`, noAnswer},
		"active twice":             {200, "application/json", `{"active":false,"active":true}`, noAnswer},
		"a list":                   {200, "application/json", `[{"active":true}]`, noAnswer},
		"a page":                   {200, "text/html", `{"active":true}`, noAnswer},
		"we are not known":         {401, "application/json", `{"active":true}`, noAnswer},
		"an error":                 {500, "application/json", `{"active":true}`, noAnswer},
		"elsewhere":                {307, "application/json", `{"active":true}`, noAnswer},
		"a megabyte":               {200, "application/json", `{"active":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`, noAnswer},
		"a token that is to start": {200, "application/json", `{"active":true,"nbf":99999999999}`, granted}, // the rules judge that
	} {
		t.Run(name, func(t *testing.T) {
			p.Instead(pgtest.IntrospectPath, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				w.Header().Set("Location", "/")
				w.WriteHeader(test.status)
				io.WriteString(w, test.answer)
			})
			_, err := i.Introspect([]byte("token"))
			got := outcome(err)
			if errors.Is(err, token.ErrInactive) {
				got = denied
			}
			if got != test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// By default nothing is kept: a token that is taken back is worth nothing at the next login. With a time to keep, it is asked for
// again after that time, or after its own end.
func TestIntrospectionKeeps(t *testing.T) {
	p := pgtest.StartPlainProvider(t)
	time0 := &moving{at: now}
	never := introspection(t, p, nil)
	minute := introspection(t, p, func(s *judge.IntrospectionSpec) { s.Keep, s.Clock = time.Minute, time0.now })
	p.Activate("long", fmt.Sprintf(`"exp":%d`, now.Unix()+3600))
	p.Activate("short", fmt.Sprintf(`"exp":%d`, now.Unix()+30))
	for _, token := range []string{"long", "short"} {
		for _, i := range []*judge.Introspection{never, minute, never, minute} {
			if _, err := i.Introspect([]byte(token)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := p.Hits(pgtest.IntrospectPath); n != 6 {
		t.Errorf("asked %d times", n)
	}
	p.Activate("long", "")
	p.Activate("short", "")
	accepts := func(i *judge.Introspection, token string) bool {
		_, err := i.Introspect([]byte(token))
		return err == nil
	}
	if accepts(never, "long") {
		t.Error("a token that was taken back is good where nothing is kept")
	}
	if !accepts(minute, "long") || !accepts(minute, "short") {
		t.Error("nothing is kept")
	}
	time0.pass(30 * time.Second)
	if !accepts(minute, "long") || accepts(minute, "short") {
		t.Error("an answer is kept past the end of its token")
	}
	time0.pass(30 * time.Second)
	if accepts(minute, "long") {
		t.Error("an answer is kept for too long")
	}
}

// TestAttackIntrospectionFlood: the attacker sends a million tokens that nobody knows, to fill the memory with answers, or to push out
// those of others.
//
// Must: What the issuer does not accept is not kept.
func TestAttackIntrospectionFlood(t *testing.T) {
	p := pgtest.StartPlainProvider(t)
	i := introspection(t, p, func(s *judge.IntrospectionSpec) { s.Keep = time.Minute })
	p.Activate("good", `"sub":"u1"`)
	if _, err := i.Introspect([]byte("good")); err != nil {
		t.Fatal(err)
	}
	for n := range 5000 { // more than are kept
		if _, err := i.Introspect(fmt.Append(nil, "made up ", n)[8:]); !errors.Is(err, token.ErrInactive) {
			t.Fatal(err)
		}
	}
	hits := p.Hits(pgtest.IntrospectPath)
	if _, err := i.Introspect([]byte("good")); err != nil || p.Hits(pgtest.IntrospectPath) != hits {
		t.Error("an answer was pushed out")
	}
}

// TestAttackIntrospectionMisbehaves: the attacker has got hold of what the issuer answers, or of the way to it: it is slow, without end,
// huge, packed, broken, or leads elsewhere, to receive the token and the client's secret or to answer in the issuer's place.
//
// Must: The question ends within its time and its size without an answer, nothing is kept, and nobody else is asked.
func TestAttackIntrospectionMisbehaves(t *testing.T) {
	mine := pgtest.StartPlainProvider(t)
	mine.Activate("token", `"sub":"u1"`)
	t.Run("all", func(t *testing.T) {
		for name, do := range pgtest.Misbehaviours(`{"active":true,"sub":"u1"`, mine.URL+pgtest.IntrospectPath) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := pgtest.StartPlainProvider(t)
				p.Instead(pgtest.IntrospectPath, do)
				i := introspection(t, p, func(s *judge.IntrospectionSpec) { s.Keep, s.Timeout = time.Hour, time.Second })
				began := time.Now()
				_, err := i.Introspect([]byte("token"))
				if outcome(err) != noAnswer || errors.Is(err, token.ErrInactive) || strings.Contains(err.Error(), "pr0xy") {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > 20*time.Second { // the question has one second
					t.Errorf("it took %v", took)
				}
				p.Instead(pgtest.IntrospectPath, nil)
				_, err = i.Introspect([]byte("token"))
				for end := time.Now().Add(time.Minute); outcome(err) == noAnswer && !errors.Is(err, token.ErrInactive) && time.Now().Before(end); {
					_, err = i.Introspect([]byte("token")) // on a busy machine a second may be too short even for an issuer that behaves
				}
				if !errors.Is(err, token.ErrInactive) {
					t.Errorf("when the issuer behaves again: %v", err)
				}
			})
		}
	})
	if n := mine.Hits(pgtest.IntrospectPath); n != 0 {
		t.Errorf("the token went elsewhere %d times", n)
	}
}

// An issuer that judges tokens by a clock that differs from ours: its answers have the times of its own clock, and the leeway is for
// small differences.
func TestIntrospectionOfASkewedClock(t *testing.T) {
	for name, test := range map[string]struct {
		skew, leeway time.Duration
		members      string // with the seconds of its clock
		want         token.Reason
	}{
		"the same clock":            {0, 0, `"iat":%d,"exp":%d`, ""},
		"ahead":                     {30 * time.Second, 0, `"iat":%d,"exp":%d`, token.IssuedInFuture},
		"ahead, within the leeway":  {30 * time.Second, time.Minute, `"iat":%d,"exp":%d`, ""},
		"ahead by far":              {3 * time.Minute, time.Minute, `"nbf":%d,"exp":%d`, token.NotYetValid},
		"behind":                    {-330 * time.Second, 0, `"iat":%d,"exp":%d`, token.Expired},
		"behind, within the leeway": {-330 * time.Second, time.Minute, `"iat":%d,"exp":%d`, ""},
		"behind by far":             {-390 * time.Second, time.Minute, `"iat":%d,"exp":%d`, token.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			p := pgtest.StartPlainProvider(t)
			p.Skew(test.skew)
			its := now.Add(test.skew).Unix()
			p.Activate("token", fmt.Sprintf(`"sub":"u1","aud":"claimpool",`+test.members, its, its+300))
			v := &token.Verifier{Introspector: introspection(t, p, nil), Clock: clock,
				Rules: token.Rules{Issuer: p.URL, Audience: []string{"claimpool"}, Leeway: test.leeway}}
			tok, err := v.Verify([]byte("token"))
			var r *token.Refusal
			switch {
			case test.want == "" && err == nil:
				if end := time.Unix(its+300, 0).Add(test.leeway); !tok.Expires.Equal(end) {
					t.Errorf("it ends at %v, want %v", tok.Expires, end)
				}
			case test.want == "" || !errors.As(err, &r) || r.Reason != test.want:
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestNewIntrospection(t *testing.T) {
	good := judge.IntrospectionSpec{URL: "https://id.example/introspect", ClientID: "proxy", Secret: secret, Timeout: time.Second, Clock: clock}
	if _, err := judge.NewIntrospection(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*judge.IntrospectionSpec){
		"http":       func(s *judge.IntrospectionSpec) { s.URL = "http://id.example/" },
		"no client":  func(s *judge.IntrospectionSpec) { s.ClientID = "" },
		"no secret":  func(s *judge.IntrospectionSpec) { s.Secret = nil },
		"no timeout": func(s *judge.IntrospectionSpec) { s.Timeout = 0 },
		"no clock":   func(s *judge.IntrospectionSpec) { s.Clock = nil },
		"yesterday":  func(s *judge.IntrospectionSpec) { s.Keep = -1 },
	} {
		spec := good
		change(&spec)
		if _, err := judge.NewIntrospection(spec); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
