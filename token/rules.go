package token

import "time"

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
}

// RoleFrom says where the database role of a token comes from.
type RoleFrom string

// The sources of a role.
const (
	RoleFromSubject RoleFrom = "sub"   // the subject is the role, and the user asked for must be it
	RoleFromClaim   RoleFrom = "claim" // a claim names the role or the roles
	RoleFixed       RoleFrom = "fixed" // one role for everybody
)

// RoleRule turns a verified token and the user name of the startup message into a database role.
type RoleRule struct {
	From  RoleFrom // "" means RoleFromSubject
	Claim string   // for RoleFromClaim: a top-level name, or a JSON Pointer (RFC 6901) that begins with "/"
	Value string   // for RoleFixed

	// Allow lists the roles that may come out. RoleFromClaim needs it: without it nothing is allowed. For
	// RoleFromSubject an empty list allows every subject.
	Allow []string
}

// Check reports what is wrong with the rules themselves.
func (r *Rules) Check() error { return nil }

// Role returns the database role for the user name of the startup message, or a *Refusal.
func (t *Token) Role(user string) (string, error) {
	return "", &Refusal{Reason: RoleNotAllowed, Text: "the role rule does not allow it"}
}
