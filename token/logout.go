package token

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Logout is a verified logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4): its issuer says that somebody has
// signed out. Subject or Session is empty, not both.
type Logout struct {
	Issuer  string
	Subject string // "sub"
	Session string // "sid"
	ID      string // "jti": whoever takes logout tokens takes each once
	Issued  time.Time
}

// LogoutRules say what a logout token must look like.
type LogoutRules struct {
	Audience []string // one of them must be in "aud"; there is no word for any
	Types    []string // the accepted values of the header's "typ"; nil means logout+jwt
}

const (
	// logoutEvent is the member of "events" that makes a token a logout token.
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

	// maxLogoutLife bounds how long a logout token may be valid: the standard recommends two minutes.
	maxLogoutLife = time.Hour

	// maxLogoutName bounds what a logout token may name.
	maxLogoutName = 1024
)

// VerifyLogout verifies a logout token as section 2.6 says; that its jti is new is the caller's to know. choose gives the verifier of an
// issuer, whose name is not verified yet, and its rules; nil refuses.
func VerifyLogout(raw []byte, choose func(issuer string) (*Verifier, LogoutRules)) (*Logout, error) {
	p, wrong := parse(raw)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	iss, r := p.issuer()
	if r != nil {
		return nil, r
	}
	v, rules := choose(iss)
	if v == nil {
		return nil, &Refusal{Reason: UnknownIssuer, Text: "no logout tokens are taken from its issuer " + quoted(iss)}
	}
	l, r := v.verifyLogout(p, rules)
	if r != nil {
		return nil, r
	}
	return l, nil
}

func (v *Verifier) verifyLogout(p *parsed, rules LogoutRules) (*Logout, *Refusal) {
	err := v.check()
	switch {
	case err == nil && v.Keys == nil:
		err = errors.New("its issuer judges its tokens")
	case err == nil && (len(rules.Audience) == 0 || slices.Contains(rules.Audience, AnyAudience)):
		err = errors.New("logout tokens need an audience")
	}
	if err != nil {
		return nil, misconfigured(err)
	}
	own := Rules{Issuer: v.Rules.Issuer, Audience: rules.Audience, Types: rules.Types, Leeway: v.Rules.Leeway, MaxLifetime: maxLogoutLife}
	if own.Types == nil {
		own.Types = []string{"logout+jwt"} // section 2.4
	}
	if r := own.checkType(p); r != nil {
		return nil, r
	}
	now := v.Clock()
	if _, r := verifySignature(p, v.Keys, nil, now); r != nil {
		return nil, r
	}
	for _, check := range []func(*Rules, *parsed, time.Time) *Refusal{
		(*Rules).checkIssuer, (*Rules).checkExpiry, (*Rules).checkNotBefore, (*Rules).checkIssuedAt, (*Rules).checkLifetime, (*Rules).checkAudience,
	} {
		if r := check(&own, p, now); r != nil {
			return nil, r
		}
	}
	if r := p.checkLogout(); r != nil {
		return nil, r
	}
	return p.logout(own.Issuer)
}

// checkLogout checks what tells a logout token from any other that the issuer has signed: an ID token has a nonce, and no event.
func (p *parsed) checkLogout() *Refusal {
	if _, ok := get(p.claims, "nonce"); ok {
		return &Refusal{Reason: BadClaim, Text: `it has a "nonce", which no logout token has`}
	}
	if iat, _ := p.time("iat"); iat.IsZero() {
		return &Refusal{Reason: MissingClaim, Text: `it has no "iat"`}
	}
	events, ok := get(p.claims, "events")
	if !ok {
		return &Refusal{Reason: MissingClaim, Text: `it has no "events": it is no logout token`}
	}
	var event []byte
	if events[0] == '{' {
		event, _ = get(events, logoutEvent)
	}
	if event == nil || event[0] != '{' {
		return &Refusal{Reason: BadClaim, Text: `its "events" do not say that somebody has signed out`}
	}
	return nil
}

// logout reads the names.
func (p *parsed) logout(issuer string) (*Logout, *Refusal) {
	l := &Logout{Issuer: issuer}
	l.Issued, _ = p.time("iat")
	for _, c := range []struct {
		name string
		to   *string
	}{{"jti", &l.ID}, {"sub", &l.Subject}, {"sid", &l.Session}} {
		value, ok := get(p.claims, c.name)
		if !ok {
			continue
		}
		if *c.to, ok = text(value); !ok || *c.to == "" || len(*c.to) > maxLogoutName {
			return nil, &Refusal{Reason: BadClaim, Text: fmt.Sprintf("%q is not a string of 1 to %d bytes", c.name, maxLogoutName)}
		}
	}
	switch {
	case l.ID == "":
		return nil, &Refusal{Reason: MissingClaim, Text: `it has no "jti"`}
	case l.Subject == "" && l.Session == "":
		return nil, &Refusal{Reason: MissingClaim, Text: `it has neither "sub" nor "sid"`}
	case len(l.Subject) > maxSubject:
		return nil, &Refusal{Reason: BadClaim, Text: fmt.Sprintf(`"sub" is longer than %d bytes`, maxSubject)}
	}
	return l, nil
}
