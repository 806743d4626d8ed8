package token

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Verifier verifies the tokens of one issuer. Its fields must not change while it is in use.
type Verifier struct {
	Rules Rules
	Keys  KeySource
	Clock func() time.Time

	// Introspector judges the tokens in place of Keys.
	Introspector Introspector

	Known *Signatures // remembers good signatures; several verifiers may share it. Nil: every one is checked
}

// check refuses to work with a verifier that could let something through by what it lacks.
func (v *Verifier) check() error {
	switch {
	case v == nil:
		return errors.New("there is no verifier")
	case v.Keys == nil && v.Introspector == nil:
		return errors.New("the verifier has no keys")
	case v.Keys != nil && v.Introspector != nil:
		return errors.New("the verifier has keys, and somebody to ask")
	case v.Clock == nil:
		return errors.New("the verifier has no clock")
	}
	return v.Rules.Check()
}

// Verify returns the token, or a *Refusal that says why not.
func (v *Verifier) Verify(raw []byte) (*Token, error) {
	if v != nil && v.Introspector != nil {
		return result(v.ask(raw))
	}
	p, wrong := parse(raw)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return result(v.verify(p))
}

// result keeps a nil *Refusal from becoming an error that is not nil.
func result(t *Token, r *Refusal) (*Token, error) {
	if r != nil {
		return nil, r
	}
	return t, nil
}

func (v *Verifier) verify(p *parsed) (*Token, *Refusal) {
	err := v.check()
	if err == nil && v.Keys == nil {
		err = errors.New("its issuer judges its tokens")
	}
	if err != nil {
		return nil, misconfigured(err)
	}
	now := v.Clock()
	if r := v.Rules.checkType(p); r != nil {
		return nil, r
	}
	key, r := verifySignature(p, v.Keys, v.Known, now)
	if r != nil {
		return nil, r
	}
	for _, check := range checks {
		if r := check(&v.Rules, p, now); r != nil {
			return nil, r
		}
	}
	t, r := v.token(p)
	if r != nil {
		return nil, r
	}
	exp, _ := p.time("exp")
	t.KeyID, t.Algorithm, t.Expires = key.ID, p.alg, exp.Add(v.Rules.Leeway)
	return t, nil
}

// token makes a token of what has been checked.
func (v *Verifier) token(p *parsed) (*Token, *Refusal) {
	claims, r := v.Rules.context(p)
	if r != nil {
		return nil, r
	}
	subject, _ := v.Rules.subject(p) // checked above
	certificate, _ := p.certificate()
	return &Token{
		Certificate: certificate,
		Issuer:      v.Rules.Issuer,
		Subject:     subject,
		Claims:      claims,
		Fingerprint: fingerprint(claims),
		Proof:       p.proof(v.Rules.Issuer, subject),
		rules:       &v.Rules,
		verified:    p.claims,
	}, nil
}

// Set is the verifiers of several issuers. A token goes to the verifier of its own issuer and to no other.
type Set struct {
	byIssuer map[string]*Verifier
	opaque   *Verifier // whose issuer judges tokens that are no JWT

	// Openers open encrypted tokens. Nil: there are none.
	Openers OpenerSource
}

// NewSet makes a set. Two verifiers for one issuer are an error, and so are two issuers that are asked, and rules that do not check.
func NewSet(verifiers ...*Verifier) (*Set, error) {
	s, asked, err := newSet(verifiers)
	switch {
	case err != nil:
		return nil, err
	case len(asked) > 1:
		return nil, fmt.Errorf("issuers %q and %q are both asked about tokens, and most of these do not say whose they are", asked[0].Rules.Issuer, asked[1].Rules.Issuer)
	case len(asked) == 1:
		s.opaque = asked[0]
	}
	return s, nil
}

// NewInspectionSet makes a set for Inspect, of issuers that stand in different rules. Several of them may be asked about tokens:
// one that does not name its issuer is judged by none.
func NewInspectionSet(verifiers ...*Verifier) (*Set, error) {
	s, _, err := newSet(verifiers)
	return s, err
}

// newSet makes a set without one that judges what names no issuer. asked are those who could.
func newSet(verifiers []*Verifier) (s *Set, asked []*Verifier, err error) {
	if len(verifiers) == 0 {
		return nil, nil, errors.New("a set of issuers needs one at least")
	}
	s = &Set{byIssuer: make(map[string]*Verifier)}
	for _, v := range verifiers {
		if err := v.check(); err != nil {
			return nil, nil, err
		}
		if s.byIssuer[v.Rules.Issuer] != nil {
			return nil, nil, fmt.Errorf("issuer %q has two sets of rules", v.Rules.Issuer)
		}
		s.byIssuer[v.Rules.Issuer] = v
		if v.Introspector != nil {
			asked = append(asked, v)
		}
	}
	return s, asked, nil
}

// Verify returns the token, or a *Refusal that says why not. The issuer that the token names only chooses the verifier;
// an unknown issuer is refused, and no other verifier is tried (CVE-2021-21378).
func (s *Set) Verify(raw []byte) (*Token, error) {
	return s.VerifyWaiting(raw, func() (over func()) { return func() {} })
}

// VerifyWaiting is Verify for those who have something to do, or to give away, while somebody else is waited for: waiting is called
// before that, and what it returns after it. It is not called for what can be had at once.
func (s *Set) VerifyWaiting(raw []byte, waiting func() (over func())) (*Token, error) {
	if s != nil && isEncrypted(raw) && (s.Openers != nil || s.opaque == nil) {
		inner, r := open(raw, s.Openers)
		if r != nil {
			return nil, r
		}
		raw = inner
	}
	p, wrong := parse(raw)
	if v := s.asks(p); v != nil {
		defer waiting()()
		return result(v.ask(raw))
	}
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	v, r := s.choose(p)
	if r != nil {
		return nil, r
	}
	p.waiting = waiting
	return result(v.verify(p))
}

func (s *Set) choose(p *parsed) (*Verifier, *Refusal) {
	if s == nil {
		return nil, &Refusal{Reason: Misconfigured, Text: "no issuers are configured"}
	}
	iss, r := p.issuer()
	if r != nil {
		return nil, r
	}
	v, ok := s.byIssuer[iss]
	switch {
	case ok:
		return v, nil
	case iss == "":
		return nil, &Refusal{Reason: UnknownIssuer, Text: `it has no "iss", and no rules are for such tokens`}
	}
	return nil, &Refusal{Reason: UnknownIssuer, Text: "there are no rules for its issuer " + quoted(iss)}
}

// Issuers returns the issuers of the set, sorted.
func (s *Set) Issuers() []string { return slices.Sorted(maps.Keys(s.byIssuer)) }
