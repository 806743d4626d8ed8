package token

import (
	"fmt"
	"time"
)

// Mapping decides by expressions over claims that are verified. Its errors may show claims, so they are never logged. What it
// gives is not believed blindly: roles must be in RoleRule.Allow, and a context must be an object that we would read.
type Mapping interface {
	// Condition says which condition does not hold, from 1; 0 when all do.
	Condition(claims []byte) (failed int, err error)

	// Roles gives the roles that the claims allow.
	Roles(claims []byte, subject, user string) ([]string, error)

	// HasContext reports whether Context gives the claims that the database sees; else it sees all.
	HasContext() bool
	Context(claims []byte) ([]byte, error)
}

func (r *Rules) checkConditions(p *parsed, _ time.Time) *Refusal {
	if r.Mapping == nil {
		return nil
	}
	failed, err := r.Mapping.Condition(p.claims)
	switch {
	case err != nil:
		return &Refusal{Reason: ConditionFailed, Text: fmt.Sprintf("condition %d cannot be decided for it", failed), Detail: sentence(err)}
	case failed != 0:
		return &Refusal{Reason: ConditionFailed, Text: fmt.Sprintf("condition %d does not hold for it", failed)}
	}
	return nil
}

// context gives the claims that the database sees.
func (r *Rules) context(p *parsed) ([]byte, *Refusal) {
	if r.Mapping == nil || !r.Mapping.HasContext() {
		return p.claims, nil
	}
	made, err := r.Mapping.Context(p.claims)
	if err != nil {
		return nil, &Refusal{Reason: ConditionFailed, Text: "the expression for the context gives nothing for it", Detail: sentence(err)}
	}
	claims, err := CheckClaims(made)
	if err != nil {
		return nil, &Refusal{Reason: ConditionFailed, Text: "the expression for the context gives something that is no good context", Detail: sentence(err)}
	}
	return claims, nil
}

func (r *Rules) expressedRole(claims []byte, subject, user string) (string, *Refusal) {
	if r.Mapping == nil {
		return "", &Refusal{Reason: Misconfigured, Text: "there is no expression for the role"}
	}
	roles, err := r.Mapping.Roles(claims, subject, user)
	if err != nil {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "the expression for the role gives none for it", Detail: sentence(err)}
	}
	role, ok := choose(roles, subject, user)
	if !ok {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "the user name is not a role of the expression", Detail: fmt.Sprintf("It gives %s.", quoted(fmt.Sprint(roles)))}
	}
	return role, nil
}

func sentence(err error) string { return "The reason is: " + quoted(err.Error()) + "." }
