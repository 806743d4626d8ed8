package token

import "time"

// Inspection says against what a token is inspected.
type Inspection struct {
	Set   *Set             // nil means that there is no configuration: type, issuer, keys and audience are not judged
	User  string           // the user name that would be asked for; "" means that the role is not judged
	Clock func() time.Time // needed; the verifiers of Set keep their own
}

// Report is what Inspect finds in a token, verified or not.
type Report struct {
	Header []byte // the header's JSON as compact text; nil when it cannot be read
	Claims []byte // the payload's JSON as compact text; nil when it cannot be read

	Algorithm, KeyID, Type string
	Issuer, Subject        string
	Audience               []string

	IssuedAt, NotBefore, Expires time.Time // zero when absent or wrong

	Checked  bool       // there are rules for the issuer, and everything was judged by them
	Verified bool       // the signature is right; all else may still be wrong
	Bound    bool       // only who has shown a certain certificate may bring it, see Token.Certificate
	Role     string     // the role that Inspection.User would get; "" when there is none
	Findings []*Refusal // every reason to refuse it, in the order of the checks; empty means that it is accepted
}

// Inspect takes a token apart and lists every reason why it would be refused, not only the first.
func Inspect(raw []byte, in Inspection) *Report {
	if in.Set != nil && isEncrypted(raw) {
		inner, r := open(raw, in.Set.Openers)
		if r != nil {
			return &Report{Findings: []*Refusal{r}}
		}
		raw = inner
	}
	p, wrong := parse(raw)
	rep := &Report{Header: p.header, Claims: p.claims, Algorithm: p.alg, KeyID: p.kid, Type: p.typ, Findings: wrong}
	if in.Clock == nil {
		rep.add(&Refusal{Reason: Misconfigured, Text: "the inspection has no clock"})
		return rep
	}
	v := rep.verifier(p, in, len(wrong) == 0)
	if p.claims == nil {
		return rep
	}
	rep.describe(p, &v.Rules)
	if rep.Checked {
		for _, check := range checks {
			rep.add(check(&v.Rules, p, v.Clock()))
		}
		_, r := v.Rules.context(p)
		rep.add(r)
	} else {
		for _, check := range timeChecks {
			rep.add(check(&v.Rules, p, v.Clock()))
		}
	}
	if in.User != "" && rep.Checked && rep.Subject != "" {
		role, r := v.Rules.role(p.claims, rep.Subject, in.User)
		rep.Role = role
		rep.add(r)
	}
	return rep
}

// timeChecks are those that need no configuration.
var timeChecks = []func(r *Rules, p *parsed, now time.Time) *Refusal{
	(*Rules).checkExpiry, (*Rules).checkNotBefore, (*Rules).checkIssuedAt,
}

// verifier finds the rules for the token and judges its type and its signature; without any it returns empty rules. A
// broken form means that there is nothing to verify a signature over.
func (rep *Report) verifier(p *parsed, in Inspection, whole bool) *Verifier {
	none := &Verifier{Clock: in.Clock}
	if in.Set == nil || p.claims == nil {
		return none
	}
	v, r := in.Set.choose(p)
	if r != nil {
		rep.add(r)
		return none
	}
	rep.Checked = true
	if p.header != nil {
		rep.add(v.Rules.checkType(p))
	}
	if v.Introspector != nil {
		rep.add(&Refusal{Reason: KeysUnavailable, Text: "its issuer judges it when it is asked, and is not asked here"})
	} else if whole {
		_, r := verifySignature(p, v.Keys, nil, v.Clock())
		rep.add(r)
		rep.Verified = r == nil
	}
	return v
}

// describe fills in what the token says of itself, as far as it can be read.
func (rep *Report) describe(p *parsed, rules *Rules) {
	rep.Issuer, _ = p.issuer()
	rep.Subject, _ = rules.subject(p)
	rep.IssuedAt, _ = p.time("iat")
	rep.NotBefore, _ = p.time("nbf")
	rep.Expires, _ = p.time("exp")
	certificate, _ := p.certificate()
	rep.Bound = certificate != nil
	if value, ok := get(p.claims, "aud"); ok {
		rep.Audience, _ = texts(value)
	}
}

func (rep *Report) add(r *Refusal) {
	if r != nil {
		rep.Findings = append(rep.Findings, r)
	}
}
