package token

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AnyAudience as the only entry of Rules.Audience turns the check of "aud" off.
const AnyAudience = "*"

// Rules say what a token of one issuer must look like.
type Rules struct {
	// Issuer must equal "iss" byte for byte. Empty means that the token must not carry an "iss".
	Issuer string

	// Audience lists our names: "aud" must hold one of them. Empty means that a token with an "aud" is meant for
	// somebody else and refused (RFC 7519, section 4.1.3).
	Audience []string

	// Types lists the accepted values of the header's "typ" ("" for a token without one). Nil means "", "JWT" and
	// "at+jwt". Compared as RFC 7515, section 4.1.9 says: without case and without a leading "application/".
	Types []string

	Leeway         time.Duration // for clocks that differ; 0 is the default
	MaxLifetime    time.Duration // longest accepted exp - iat and exp - now; 0 means no limit
	RequiredClaims []string      // must be there and not null, beside exp and the subject
	SubjectClaim   string        // names the person; "" means "sub"
	Role           RoleRule
	Mapping        Mapping // what the settings above cannot say; nil when there is nothing
}

// maxSubject bounds what goes into every log line of a client.
const maxSubject = 255

// maxLeeway: more is not a clock that differs but a token that never ends.
const maxLeeway = time.Hour

// Check reports what is wrong with the rules themselves.
func (r *Rules) Check() error {
	switch {
	case r.Leeway < 0 || r.Leeway > maxLeeway:
		return fmt.Errorf("leeway must be between 0 and %v", maxLeeway)
	case r.MaxLifetime < 0:
		return errors.New("max_lifetime must not be negative")
	case slices.Contains(r.Audience, AnyAudience) && len(r.Audience) > 1:
		return fmt.Errorf("audience %q stands alone or not at all", AnyAudience)
	case slices.Contains(r.Audience, ""):
		return errors.New("an audience must not be empty")
	case slices.Contains(r.RequiredClaims, ""):
		return errors.New("a required claim must have a name")
	}
	if r.Role.From == RoleFromExpression && r.Mapping == nil {
		return errors.New("a role from an expression needs the expression")
	}
	return r.Role.check()
}

// checks are the questions that a token must answer, in their order. Each gets a token whose form is right and returns
// nil or a refusal. Verify stops at the first; Inspect asks them all.
var checks = []func(r *Rules, p *parsed, now time.Time) *Refusal{
	(*Rules).checkIssuer, (*Rules).checkExpiry, (*Rules).checkNotBefore, (*Rules).checkIssuedAt, (*Rules).checkLifetime,
	(*Rules).checkAudience, (*Rules).checkSubject, (*Rules).checkRequired, (*Rules).checkBound, (*Rules).checkConditions,
}

func (r *Rules) checkType(p *parsed) *Refusal {
	accepted := r.Types
	if accepted == nil {
		accepted = []string{"", "JWT", "at+jwt"} // RFC 7519, section 5.1; RFC 9068, section 2.1
	}
	for _, t := range accepted {
		if mediaType(t) == mediaType(p.typ) {
			return nil
		}
	}
	return &Refusal{Reason: WrongType, Text: `its "typ" is not one of the accepted types`, Detail: "Its typ is " + quoted(p.typ) + "."}
}

func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// RFC 7519, section 4.1.1.
func (r *Rules) checkIssuer(p *parsed, _ time.Time) *Refusal {
	iss, bad := p.issuer()
	if bad != nil {
		return bad
	}
	if iss != r.Issuer {
		return &Refusal{Reason: WrongIssuer, Text: "its issuer is " + quoted(iss) + ", not " + quoted(r.Issuer)}
	}
	return nil
}

// issuer returns "iss", or "" when there is none.
func (p *parsed) issuer() (string, *Refusal) {
	value, ok := get(p.claims, "iss")
	if !ok {
		return "", nil
	}
	iss, ok := text(value)
	if !ok || iss == "" {
		return "", &Refusal{Reason: BadClaim, Text: `"iss" is not a string with something in it`, Detail: "It is " + quoted(string(value)) + "."}
	}
	return iss, nil
}

// RFC 7519, section 4.1.4, and always required: a token that never ends cannot be taken back.
func (r *Rules) checkExpiry(p *parsed, now time.Time) *Refusal {
	exp, bad := p.time("exp")
	switch {
	case bad != nil:
		return bad
	case exp.IsZero():
		return &Refusal{Reason: MissingClaim, Text: `it has no "exp": it would never expire`}
	case !now.Before(exp.Add(r.Leeway)):
		return &Refusal{Reason: Expired, Text: "it expired " + span(now.Sub(exp)) + " ago", Detail: "Its exp is " + stamp(exp) + "."}
	}
	return nil
}

// RFC 7519, section 4.1.5.
func (r *Rules) checkNotBefore(p *parsed, now time.Time) *Refusal {
	nbf, bad := p.time("nbf")
	if bad != nil {
		return bad
	}
	if !nbf.IsZero() && now.Add(r.Leeway).Before(nbf) {
		return &Refusal{Reason: NotYetValid, Text: "it will be valid in " + span(nbf.Sub(now)), Detail: "Its nbf is " + stamp(nbf) + "."}
	}
	return nil
}

// RFC 7519, section 4.1.6.
func (r *Rules) checkIssuedAt(p *parsed, now time.Time) *Refusal {
	iat, bad := p.time("iat")
	if bad != nil {
		return bad
	}
	if !iat.IsZero() && now.Add(r.Leeway).Before(iat) {
		return &Refusal{Reason: IssuedInFuture, Text: "it says that it was issued " + span(iat.Sub(now)) + " from now", Detail: "Its iat is " + stamp(iat) + "."}
	}
	return nil
}

func (r *Rules) checkLifetime(p *parsed, now time.Time) *Refusal {
	exp, bad := p.time("exp")
	if r.MaxLifetime == 0 || bad != nil || exp.IsZero() {
		return nil // the other checks have spoken
	}
	lifetime := exp.Sub(now) - r.Leeway
	if iat, bad := p.time("iat"); bad == nil && !iat.IsZero() {
		lifetime = max(lifetime, exp.Sub(iat))
	}
	if lifetime > r.MaxLifetime {
		return &Refusal{Reason: LifetimeTooLong, Text: "it is valid for " + span(lifetime) + "; the most is " + span(r.MaxLifetime)}
	}
	return nil
}

// RFC 7519, section 4.1.3. An empty array names nobody (CVE-2020-26160).
func (r *Rules) checkAudience(p *parsed, _ time.Time) *Refusal {
	value, ok := get(p.claims, "aud")
	var aud []string
	if ok {
		if aud, ok = texts(value); !ok {
			return &Refusal{Reason: BadClaim, Text: `"aud" is neither a string nor an array of strings`, Detail: "It is " + quoted(string(value)) + "."}
		}
	}
	switch {
	case slices.Equal(r.Audience, []string{AnyAudience}):
		return nil
	case value == nil && len(r.Audience) == 0:
		return nil
	case value == nil:
		return &Refusal{Reason: WrongAudience, Text: `it has no "aud", and an audience is asked for`}
	case slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(r.Audience, a) }):
		return nil
	}
	return &Refusal{Reason: WrongAudience, Text: "it is meant for another audience", Detail: "Its aud is " + quoted(string(value)) + "."}
}

func (r *Rules) checkSubject(p *parsed, _ time.Time) *Refusal {
	_, bad := r.subject(p)
	return bad
}

// subject returns who the token speaks of (RFC 7519, section 4.1.2).
func (r *Rules) subject(p *parsed) (string, *Refusal) {
	name := r.SubjectClaim
	if name == "" {
		name = "sub"
	}
	value, ok := find(p.claims, name)
	if !ok {
		return "", &Refusal{Reason: MissingClaim, Text: fmt.Sprintf("it has no %q: nobody knows whose it is", name)}
	}
	subject, ok := text(value)
	if !ok || subject == "" || len(subject) > maxSubject {
		return "", &Refusal{Reason: BadClaim, Text: fmt.Sprintf("%q is not a string of 1 to %d bytes", name, maxSubject), Detail: "It is " + quoted(string(value)) + "."}
	}
	return subject, nil
}

func (r *Rules) checkRequired(p *parsed, _ time.Time) *Refusal {
	for _, name := range r.RequiredClaims {
		if value, ok := find(p.claims, name); !ok || string(value) == "null" {
			return &Refusal{Reason: MissingClaim, Text: fmt.Sprintf("it has no %q, which the rules ask for", name)}
		}
	}
	return nil
}

// lastMoment is the last second that a NumericDate may name: 9999-12-31T23:59:59Z.
const lastMoment = 253402300799

// time reads a NumericDate (RFC 7519, section 2): seconds since 1970, a fraction allowed. Zero means that the claim is
// absent; a null, a string, 1e300 or a time before 1970 is a refusal, never a guess.
func (p *parsed) time(name string) (time.Time, *Refusal) {
	value, ok := get(p.claims, name)
	if !ok {
		return time.Time{}, nil
	}
	bad := &Refusal{Reason: BadClaim, Text: fmt.Sprintf("%q is not a number of seconds since 1970", name), Detail: "It is " + quoted(string(value)) + "."}
	if !isDigit(value[0]) { // not a number, or a negative one
		return time.Time{}, bad
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(seconds >= 0 && seconds <= lastMoment) {
		return time.Time{}, bad
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)).UTC(), nil
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// span shows a duration to a person: whole seconds, unless there are none.
func span(d time.Duration) string {
	if d >= time.Second {
		d = d.Truncate(time.Second)
	}
	return d.String()
}
