package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/token"
)

// judged is an issuer that knows some tokens.
type judged struct {
	answers  map[string]string
	down     error
	lifetime time.Duration
	asked    []string
}

func (j *judged) Introspect(raw []byte) ([]byte, error) {
	j.asked = append(j.asked, string(raw))
	if j.down != nil {
		return nil, j.down
	}
	answer, ok := j.answers[string(raw)]
	if !ok {
		return nil, token.ErrInactive
	}
	return []byte(answer), nil
}

func (j *judged) Lifetime() time.Duration { return j.lifetime }

const judging = "https://judging.example"

// judgedSet is an issuer with keys beside one that is asked.
func judgedSet(t testing.TB, j *judged) *token.Set {
	t.Helper()
	v := &token.Verifier{Rules: token.Rules{Issuer: judging, Audience: []string{audience}}, Introspector: j, Clock: clock}
	set, err := token.NewSet(edVerifier(), v)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestIntrospector(t *testing.T) {
	jwtOfIts := string(edToken(`{"alg":"EdDSA","kid":"of its own"}`, `{"iss":"`+judging+`","sub":"said by the token"}`))
	j := &judged{answers: map[string]string{
		"opaque":    fmt.Sprintf(`{"active":true,"sub":"alice","aud":["claimpool"],"exp":%d}`, now.Unix()+60),
		"named":     fmt.Sprintf(`{"active":true,"iss":%q,"sub":"alice","aud":"claimpool","exp":%d}`, judging, now.Unix()+60),
		"a.b.c.d.e": fmt.Sprintf(`{"active":true,"sub":"alice","aud":"claimpool","exp":%d}`, now.Unix()+60),
		jwtOfIts:    fmt.Sprintf(`{"active":true,"sub":"alice","aud":"claimpool","exp":%d}`, now.Unix()+60),
	}}
	set := judgedSet(t, j)
	for raw := range j.answers {
		tok, err := set.Verify([]byte(raw))
		if err != nil || tok.Subject != "alice" || tok.Issuer != judging || !tok.Expires.Equal(now.Add(time.Minute)) || len(tok.Fingerprint) == 0 {
			t.Errorf("%q: %+v %v", raw, tok, err)
			continue
		}
		if role, err := tok.Role("alice"); err != nil || role != "alice" {
			t.Errorf("%q: role %q %v", raw, role, err)
		}
	}
	asked := len(j.asked)
	if tok, err := set.Verify(claims(goodClaims)); err != nil || tok.Issuer != issuer || len(j.asked) != asked {
		t.Errorf("a token with a signature: %v, asked %v", err, j.asked)
	}
	rep := token.Inspect([]byte(jwtOfIts), token.Inspection{Set: set, Clock: clock})
	if len(rep.Findings) == 0 || rep.Verified {
		t.Error("inspect pretends to know")
	}
}

func TestIntrospectorRules(t *testing.T) {
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, test := range map[string]struct {
		answer string
		down   error
		life   time.Duration
		want   token.Reason
	}{
		"not active":          {want: token.Inactive},
		"no answer":           {down: errors.New("timeout"), want: token.KeysUnavailable},
		"no JSON":             {answer: "x", want: token.KeysUnavailable},
		"another issuer":      {answer: fmt.Sprintf(`{"iss":"https://other","sub":"alice","aud":"claimpool","exp":%d}`, in(60)), want: token.WrongIssuer},
		"ended":               {answer: fmt.Sprintf(`{"sub":"alice","aud":"claimpool","exp":%d}`, in(-time.Second)), want: token.Expired},
		"no end":              {answer: `{"sub":"alice","aud":"claimpool"}`, want: token.MissingClaim},
		"no end, and a limit": {answer: `{"sub":"alice","aud":"claimpool"}`, life: time.Minute},
		"an end of no sense":  {answer: `{"sub":"alice","aud":"claimpool","exp":"x"}`, life: time.Minute, want: token.BadClaim},
		"an end that is over": {answer: fmt.Sprintf(`{"sub":"alice","aud":"claimpool","exp":%d}`, in(-time.Second)), life: time.Minute, want: token.Expired},
		"not yet":             {answer: fmt.Sprintf(`{"sub":"alice","aud":"claimpool","exp":%d,"nbf":%d}`, in(time.Minute), in(time.Second)), want: token.NotYetValid},
		"for others":          {answer: fmt.Sprintf(`{"sub":"alice","aud":"other","exp":%d}`, in(time.Minute)), want: token.WrongAudience},
		"for nobody":          {answer: fmt.Sprintf(`{"sub":"alice","exp":%d}`, in(time.Minute)), want: token.WrongAudience},
		"of nobody":           {answer: fmt.Sprintf(`{"aud":"claimpool","exp":%d}`, in(time.Minute)), want: token.MissingClaim},
		"bound to a key":      {answer: fmt.Sprintf(`{"sub":"alice","aud":"claimpool","exp":%d,"cnf":{"jkt":"x"}}`, in(time.Minute)), want: token.Bound},
		"of two":              {answer: fmt.Sprintf(`{"sub":"alice","Sub":"bob","aud":"claimpool","exp":%d}`, in(time.Minute)), want: token.KeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judged{answers: map[string]string{}, down: test.down, lifetime: test.life}
			if test.answer != "" {
				j.answers["opaque"] = test.answer
			}
			tok, err := judgedSet(t, j).Verify([]byte("opaque"))
			if test.want == "" {
				if err != nil || !tok.Expires.Equal(now.Add(test.life)) {
					t.Errorf("%+v %v", tok, err)
				}
				return
			}
			wantReason(t, err, test.want)
		})
	}
}

// TestAttackAskAnotherIssuer: the attacker has a token of one issuer and wants another one to judge it: a JWT whose signature is wrong
// or whose issuer nobody knows, handed to the issuer that is asked about all that is no JWT.
//
// Must: A JWT is judged by the issuer that it names alone; others are not asked, and learn of no token that is not theirs.
func TestAttackAskAnotherIssuer(t *testing.T) {
	j := &judged{answers: map[string]string{}}
	set := judgedSet(t, j)
	bad := claims(goodClaims)
	bad[len(bad)-2] = flip(bad[len(bad)-2])
	for name, raw := range map[string][]byte{
		"a wrong signature": bad,
		"an unknown issuer": claims(`{"iss":"https://unknown","sub":"alice"}`),
		"no issuer":         claims(`{"sub":"alice"}`),
		"an issuer of none": claims(`{"iss":7}`),
		"expired":           claims(`{"iss":"https://issuer.example","sub":"alice","aud":"claimpool","exp":1}`),
	} {
		j.answers[string(raw)] = fmt.Sprintf(`{"sub":"alice","aud":"claimpool","exp":%d}`, now.Unix()+60)
		if _, err := set.Verify(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if len(j.asked) > 0 {
		t.Errorf("asked about %q", j.asked)
	}
	two := &token.Verifier{Rules: token.Rules{Issuer: "https://two"}, Introspector: j, Clock: clock}
	one := &token.Verifier{Rules: token.Rules{Issuer: "https://one"}, Introspector: j, Clock: clock}
	if _, err := token.NewSet(one, two); err == nil {
		t.Error("two issuers are asked about tokens of nobody")
	}
	looking, err := token.NewInspectionSet(one, two, edVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := looking.Verify([]byte("opaque")); err == nil || len(j.asked) > 0 {
		t.Errorf("a token that names no issuer: %v, asked about %q", err, j.asked)
	}
	rep := token.Inspect(claims(`{"iss":"https://two","sub":"alice","exp":99999999999}`), token.Inspection{Set: looking, Clock: clock})
	if !rep.Checked || len(rep.Findings) == 0 || !strings.Contains(rep.Findings[0].Text, "is not asked here") {
		t.Errorf("%+v", rep.Findings)
	}
	if _, err := token.NewInspectionSet(one, one); err == nil {
		t.Error("one issuer has two sets of rules")
	}
	both := &token.Verifier{Rules: token.Rules{Issuer: "https://one"}, Introspector: j, Keys: token.Keys{}, Clock: clock}
	if _, err := token.NewSet(both); err == nil {
		t.Error("an issuer has keys and is asked")
	}
}
