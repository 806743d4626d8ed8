package token

import "github.com/claimpool/claimpool"

// proof is what a verified token can be revoked by. A person has two names where Rules.SubjectClaim gives another than "sub":
// issuers sign people out by "sub".
func (p *parsed) proof(issuer, subject string) claimpool.Proof {
	issued, _ := p.time("iat")
	names := []string{subject}
	if sub := p.name("sub"); sub != "" && sub != subject {
		names = append(names, sub)
	}
	return claimpool.NewProof(issuer, p.name("jti"), p.name("sid"), issued, names...)
}

// name gives a claim that names something: a string, or what stands in its place as it is written. Empty when there is none.
func (p *parsed) name(claim string) string {
	value, ok := get(p.claims, claim)
	if !ok || string(value) == "null" {
		return ""
	}
	if s, ok := text(value); ok {
		return s
	}
	return string(value)
}
