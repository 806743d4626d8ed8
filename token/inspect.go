package token

import "time"

// Inspection says against what a token is inspected.
type Inspection struct {
	Set   *Set             // nil means that there is no configuration: issuer, keys and audience are not judged
	User  string           // the user name that would be asked for; "" means that the role is not judged
	Clock func() time.Time // needed
}

// Report is what Inspect finds in a token, verified or not.
type Report struct {
	Header []byte // the header's JSON as it stands; nil when it could not be decoded
	Claims []byte // the payload as it stands; nil when it could not be decoded

	Algorithm, KeyID, Type string
	Issuer, Subject        string
	Audience               []string

	IssuedAt, NotBefore, Expires time.Time // zero when absent

	Checked  bool       // the signature was looked at: there was a verifier for the issuer
	Role     string     // the role that the token would get; "" when it would be refused
	Findings []*Refusal // every reason to refuse it, in the order of the checks; empty means that it is accepted
}

// Inspect takes a token apart and lists every reason why it would be refused, not only the first.
func Inspect(raw []byte, in Inspection) *Report { return &Report{} }
