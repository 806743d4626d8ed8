package judge_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/judge"
	"github.com/claimpool/claimpool/pgtest"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

func newJIT(t testing.TB, api *pgtest.JITAPI) *judge.JIT { return newJITFor(t, api, 30*time.Second) }

// newJITFor is newJIT with a time for each question.
func newJITFor(t testing.TB, api *pgtest.JITAPI, timeout time.Duration) *judge.JIT {
	t.Helper()
	j, err := judge.NewJIT(api.URL, timeout, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

func ask(t testing.TB, j *judge.JIT, token, role string) (*judge.Grant, error) {
	t.Helper()
	return j.Ask(t.Context(), claimpool.Secret(token), role, "10.0.0.1")
}

// The request is Supavisor's, byte for byte, so that APIs that were made for it work.
func TestJITRequest(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	if _, err := ask(t, newJIT(t, api), pgtest.JITToken, "postgres"); err != nil {
		t.Fatal(err)
	}
	q := api.Asked()[0]
	if q.Method != "POST" || q.Body != `{"rhost":"10.0.0.1","role":"postgres"}` {
		t.Errorf("%s %s", q.Method, q.Body)
	}
	for name, want := range map[string]string{"Authorization": "Bearer " + pgtest.JITToken, "Content-Type": "application/json", "Accept": "application/json"} {
		if got := q.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, err := ask(t, newJIT(t, api), pgtest.JITToken, "a<b>&é"); !errors.Is(err, judge.ErrDenied) {
		t.Error(err)
	}
	if got := api.Asked()[1].Body; got != `{"rhost":"10.0.0.1","role":"a<b>&é"}` {
		t.Errorf("a role with signs: %s", got)
	}
}

// outcomes of a question.
const (
	granted  = "granted"
	denied   = "denied"
	noAnswer = "no answer"
)

func outcome(err error) string {
	switch {
	case err == nil:
		return granted
	case errors.Is(err, judge.ErrDenied):
		return denied
	}
	return noAnswer
}

// The answers of Supavisor's API, and those that it never had.
func TestJITAnswers(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	j := newJIT(t, api)
	past, soon := now.Add(-time.Second), now.Add(time.Hour)
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"the role":                  {200, `{"user_id":"u","user_role":{"role":"postgres"}}`, granted},
		"more members":              {200, `{"user_id":"u","user_role":{"role":"postgres","more":1},"x":[]}`, granted},
		"another role":              {200, `{"user_id":"u","user_role":{"role":"other"}}`, denied},
		"a list with the role":      {200, `{"user_id":"u","user_roles":[{"role":"other"},{"role":"postgres"}]}`, granted},
		"a list of names":           {200, `{"user_id":"u","user_roles":["other","postgres"]}`, granted},
		"a list without it":         {200, `{"user_id":"u","user_roles":[{"role":"other"}]}`, denied},
		"an empty list":             {200, `{"user_id":"u","user_roles":[]}`, noAnswer},
		"no role":                   {200, `{"user_id":"u"}`, noAnswer},
		"a role without a name":     {200, `{"user_role":{}}`, noAnswer},
		"a role that is a number":   {200, `{"user_role":7}`, noAnswer},
		"ends later":                {200, fmt.Sprintf(`{"user_role":{"role":"postgres"},"expires_at":%d}`, soon.Unix()), granted},
		"ends later, as text":       {200, fmt.Sprintf(`{"user_role":{"role":"postgres","expires_at":%q}}`, soon.Format(time.RFC3339)), granted},
		"never ends":                {200, `{"user_role":{"role":"postgres","expires_at":null}}`, granted},
		"ended":                     {200, fmt.Sprintf(`{"user_role":{"role":"postgres"},"expires_at":%d}`, past.Unix()), denied},
		"the role has ended":        {200, fmt.Sprintf(`{"user_roles":[{"role":"postgres","expires_at":%q}]}`, past.Format(time.RFC3339)), denied},
		"ends at a strange time":    {200, `{"user_role":{"role":"postgres"},"expires_at":"tomorrow"}`, noAnswer},
		"ends at zero":              {200, `{"user_role":{"role":"postgres"},"expires_at":0}`, noAnswer},
		"claims":                    {200, `{"user_role":{"role":"postgres"},"claims":{"tenant_id":"t1"}}`, granted},
		"claims of the wrong type":  {200, `{"user_role":{"role":"postgres"},"claims":"t1"}`, noAnswer},
		"a role twice":              {200, `{"user_role":{"role":"other"},"user_role":{"role":"postgres"}}`, noAnswer},
		"an endless user":           {200, `{"user_id":"` + strings.Repeat("u", 300) + `","user_role":{"role":"postgres"}}`, noAnswer},
		"not JSON":                  {200, `OK`, noAnswer},
		"a list":                    {200, `[]`, noAnswer},
		"nothing":                   {200, ``, noAnswer},
		"401":                       {401, `{"message":"token expired"}`, denied},
		"403":                       {403, `{}`, denied},
		"406":                       {406, `{}`, noAnswer},
		"201 with a grant":          {201, `{"user_role":{"role":"postgres"}}`, noAnswer},
		"500":                       {500, `{"user_role":{"role":"postgres"}}`, noAnswer},
		"503":                       {503, ``, noAnswer},
		"401 of a page of an error": {401, `<html>`, denied},
	} {
		t.Run(name, func(t *testing.T) {
			api.Answer("token", pgtest.JITAnswer{Status: test.status, Body: test.body})
			if _, err := ask(t, j, "token", "postgres"); outcome(err) != test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

func TestJITGrant(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	j := newJIT(t, api)
	end := now.Add(time.Hour)
	for name, test := range map[string]struct {
		answer, subject, claims string
		expires                 time.Time
	}{
		"the least":        {`{"user_role":{"role":"postgres"}}`, "postgres", `{"sub":"postgres","role":"postgres"}`, time.Time{}},
		"a user":           {`{"user_id":"u1","user_role":{"role":"postgres"}}`, "u1", `{"sub":"u1","role":"postgres"}`, time.Time{}},
		"claims":           {`{"user_id":"u1","user_role":{"role":"postgres"},"claims": {"tenant_id": 12345678901234567890}}`, "u1", `{"tenant_id":12345678901234567890}`, time.Time{}},
		"the earlier end":  {fmt.Sprintf(`{"user_role":{"role":"postgres","expires_at":%d},"expires_at":%d}`, end.Unix(), end.Unix()+5), "postgres", `{"sub":"postgres","role":"postgres"}`, end},
		"the earlier end ": {fmt.Sprintf(`{"user_role":{"role":"postgres","expires_at":%d},"expires_at":%d}`, end.Unix()+5, end.Unix()), "postgres", `{"sub":"postgres","role":"postgres"}`, end},
	} {
		t.Run(name, func(t *testing.T) {
			api.Answer("token", pgtest.JITAnswer{Status: 200, Body: test.answer})
			g, err := ask(t, j, "token", "postgres")
			if err != nil {
				t.Fatal(err)
			}
			if g.Subject != test.subject || string(g.Claims) != test.claims || !g.Expires.Equal(test.expires) || len(g.Print) == 0 {
				t.Errorf("%+v, claims %s", g, string(g.Claims))
			}
		})
	}
}

// jwt is a token whose signature nobody looks at.
func jwt(exp time.Time) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256"}`)) + "." + enc(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix())) + "." + enc([]byte("signature"))
}

// A JWT ends when it says so, although the API does not.
func TestJITEndsWithItsToken(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	j := newJIT(t, api)
	token := jwt(now.Add(time.Hour))
	api.Answer(token, pgtest.JITGrant("postgres"))
	g, err := ask(t, j, token, "postgres")
	if err != nil || !g.Expires.Equal(now.Add(time.Hour+time.Minute)) {
		t.Errorf("%+v %v", g, err)
	}
}

// TestAttackJITFloodOfExpiredTokens: the attacker has tokens that have ended, and sends them again and again, to make the API
// work for each.
//
// Must: The API hears of none of them.
func TestAttackJITFloodOfExpiredTokens(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	j := newJIT(t, api)
	for range 100 {
		if _, err := ask(t, j, jwt(now.Add(-2*time.Minute)), "postgres"); !errors.Is(err, judge.ErrDenied) {
			t.Fatal(err)
		}
	}
	if n := len(api.Asked()); n != 0 {
		t.Errorf("the API was asked %d times", n)
	}
}

// TestAttackJITHeaders: the attacker puts line breaks and other bytes into his password, to write headers of his own into the
// request to the API.
//
// Must: Such a token is refused as a wrong one, and the API is not asked.
func TestAttackJITHeaders(t *testing.T) {
	api := pgtest.StartJITAPI(t)
	j := newJIT(t, api)
	for _, token := range []string{"a\r\nX-Role: postgres", "a\nb", "a b", "a\x7f", "a\x00b", "é", "\t", ""} {
		if _, err := ask(t, j, token, "postgres"); !errors.Is(err, judge.ErrDenied) {
			t.Errorf("%q: %v", token, err)
		}
	}
	if n := len(api.Asked()); n != 0 {
		t.Errorf("the API was asked %d times", n)
	}
}

// TestAttackJITRedirect: the attacker can make the API redirect, to himself or to another path of it, to receive the tokens or to
// answer in the API's place.
//
// Must: No redirect is followed, no token goes anywhere else, and nobody is let in.
func TestAttackJITRedirect(t *testing.T) {
	mine := pgtest.StartJITAPI(t)
	mine.Answer("token", pgtest.JITGrant("postgres"))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{mine.URL, "/elsewhere"} {
			api := pgtest.StartJITAPI(t)
			api.Instead(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			if _, err := ask(t, newJIT(t, api), "token", "postgres"); outcome(err) != noAnswer {
				t.Errorf("%d to %s: %v", status, to, err)
			}
			if n := len(api.Asked()); n != 1 {
				t.Errorf("%d to %s: asked %d times", status, to, n)
			}
		}
	}
	if n := len(mine.Asked()); n != 0 {
		t.Errorf("the attacker has received %d requests", n)
	}
}

// TestAttackJITSlowOrHuge: the attacker has got hold of the API's answers, and answers slowly, without end, or with a small packet
// that unpacks to a large one.
//
// Must: The question ends within its time and its size, without an answer.
func TestAttackJITSlowOrHuge(t *testing.T) {
	mine := pgtest.StartJITAPI(t)
	mine.Answer("token", pgtest.JITGrant("postgres"))
	t.Run("all", func(t *testing.T) {
		for name, do := range pgtest.Misbehaviours(`{"user_role":{"role":"postgres"}`, mine.URL) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				api := pgtest.StartJITAPI(t)
				api.Instead(do)
				began := time.Now()
				_, err := ask(t, newJITFor(t, api, time.Second), "token", "postgres")
				if outcome(err) != noAnswer || strings.Contains(err.Error(), "token") {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > 20*time.Second { // the question has one second
					t.Errorf("it took %v", took)
				}
			})
		}
	})
	if n := len(mine.Asked()); n != 0 {
		t.Errorf("the token went elsewhere %d times", n)
	}
}

func TestNewJIT(t *testing.T) {
	for _, address := range []string{"", "http://api.example/jit", "ftp://api.example", "https://user:secret@api.example/", "https://api.example/#x", "https:///x"} {
		if _, err := judge.NewJIT(address, time.Second, nil, clock); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
	if _, err := judge.NewJIT("https://api.example/", 0, nil, clock); err == nil {
		t.Error("no timeout is taken")
	}
	j, err := judge.NewJIT("http://127.0.0.1:1/", time.Second, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Ask(context.Background(), claimpool.Secret("x"), "r", "a"); outcome(err) != noAnswer {
		t.Errorf("nobody listens: %v", err)
	}
}
