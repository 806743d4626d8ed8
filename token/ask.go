package token

import (
	"errors"
	"time"
)

// Introspector asks an issuer what a token is worth (RFC 7662), in place of keys.
type Introspector interface {
	// Introspect gives the members of the answer about an active token, as a JSON object. ErrInactive says that the issuer was
	// asked and the token is worth nothing; every other error means that there is no answer.
	Introspect(raw []byte) (claims []byte, err error)

	// Lifetime is how long a token counts whose answer names no end; 0 means not at all.
	Lifetime() time.Duration
}

// ErrInactive is an issuer's answer to a token that is not, or no longer, worth anything (RFC 7662, section 2.2).
var ErrInactive = errors.New("the issuer says that the token is not active")

// asked are the checks of a token that its issuer has judged. The answer comes from the issuer itself over a connection of ours, so
// it need not name itself, and there is no header and no signature.
var asked = []func(r *Rules, p *parsed, now time.Time) *Refusal{
	(*Rules).checkNotBefore, (*Rules).checkIssuedAt, (*Rules).checkLifetime,
	(*Rules).checkAudience, (*Rules).checkSubject, (*Rules).checkRequired, (*Rules).checkBound, (*Rules).checkConditions,
}

// ask has the issuer judge a token, and then judges the answer by the rules.
func (v *Verifier) ask(raw []byte) (*Token, *Refusal) {
	if err := v.check(); err != nil {
		return nil, misconfigured(err)
	}
	if len(raw) == 0 || len(raw) > maxToken {
		return nil, &Refusal{Reason: TooLarge, Text: "the token is empty or too long"}
	}
	answer, err := v.Introspector.Introspect(raw)
	switch {
	case errors.Is(err, ErrInactive):
		return nil, &Refusal{Reason: Inactive, Text: "its issuer does not accept it", Cause: err}
	case err != nil:
		return nil, &Refusal{Reason: KeysUnavailable, Text: "its issuer gives no answer", Cause: err}
	}
	claims, r := scanObject("answer", answer)
	if r == nil {
		r = ambiguous("answer", claims, "iss", "sub", "aud", "exp", "nbf", "iat", "jti")
	}
	if r != nil {
		return nil, &Refusal{Reason: KeysUnavailable, Text: "its issuer's answer cannot be read", Cause: r}
	}
	p, now := &parsed{raw: raw, claims: claims}, v.Clock()
	if _, named := get(claims, "iss"); named {
		if r := v.Rules.checkIssuer(p, now); r != nil {
			return nil, r
		}
	}
	end, r := v.end(p, now)
	if r != nil {
		return nil, r
	}
	for _, check := range asked {
		if r := check(&v.Rules, p, now); r != nil {
			return nil, r
		}
	}
	t, r := v.token(p)
	if r != nil {
		return nil, r
	}
	t.Expires = end
	return t, nil
}

// end is when a token ends that its issuer has judged.
func (v *Verifier) end(p *parsed, now time.Time) (time.Time, *Refusal) {
	exp, r := p.time("exp")
	if r == nil && exp.IsZero() && v.Introspector.Lifetime() > 0 {
		return now.Add(v.Introspector.Lifetime()), nil
	}
	if r = v.Rules.checkExpiry(p, now); r != nil {
		return time.Time{}, r
	}
	return exp.Add(v.Rules.Leeway), nil
}

// asks gives the verifier that has an issuer judge the token: the one for the issuer that it names, or, when it is no JWT, the one
// that judges such tokens. Nil: it is verified here, by its signature.
func (s *Set) asks(p *parsed) *Verifier {
	if s == nil {
		return nil
	}
	if p.header == nil || p.claims == nil {
		return s.opaque
	}
	iss, r := p.issuer()
	if r != nil {
		return nil
	}
	if v := s.byIssuer[iss]; v != nil && v.Introspector != nil {
		return v
	}
	return nil
}

func misconfigured(err error) *Refusal {
	return &Refusal{Reason: Misconfigured, Text: "the rules for its issuer are not complete", Cause: err}
}
