package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RoleFrom says where the database role of a token comes from.
type RoleFrom string

// The sources of a role.
const (
	RoleFromSubject RoleFrom = "sub"   // the subject is the role, and the user asked for must be it
	RoleFromClaim   RoleFrom = "claim" // a claim names the role or the roles
	RoleFixed       RoleFrom = "fixed" // one role for everybody

	// RoleFromExpression is like RoleFromClaim with what Rules.Mapping makes of the claims in the claim's place.
	RoleFromExpression RoleFrom = "expression"
)

// RoleRule turns a verified token and the user name of the startup message into a database role.
type RoleRule struct {
	From  RoleFrom // "" means RoleFromSubject
	Claim string   // for RoleFromClaim: a top-level name, or a JSON Pointer (RFC 6901) that begins with "/"
	Value string   // for RoleFixed

	// Allow lists the roles that may come out. RoleFromClaim and RoleFromExpression need it: what an issuer writes must not become a role
	// that nobody here thought of. For RoleFromSubject an empty list allows every subject.
	Allow []string
}

// maxRole is PostgreSQL's NAMEDATALEN - 1. PostgreSQL cuts longer names, so that two subjects could become one role.
const maxRole = 63

func (r *RoleRule) check() error {
	switch r.From {
	case "", RoleFromSubject:
		if r.Claim != "" || r.Value != "" {
			return errors.New("a role from the subject has neither claim nor value")
		}
	case RoleFromClaim:
		if r.Claim == "" || len(r.Allow) == 0 {
			return errors.New("a role from a claim needs the claim's name and the roles to allow")
		}
	case RoleFromExpression:
		if r.Claim != "" || r.Value != "" || len(r.Allow) == 0 {
			return errors.New("a role from an expression needs the roles to allow, and has neither claim nor value")
		}
	case RoleFixed:
		if r.Value == "" {
			return errors.New("a fixed role needs a value")
		}
		if err := checkRoleName(r.Value); err != nil {
			return err
		}
		if len(r.Allow) > 0 && !slices.Contains(r.Allow, r.Value) {
			return errors.New("the fixed role is not among the roles to allow")
		}
	default:
		return fmt.Errorf("role from %q: one of sub, claim, fixed, expression is expected", string(r.From))
	}
	for _, role := range r.Allow {
		if err := checkRoleName(role); err != nil {
			return err
		}
	}
	return nil
}

func checkRoleName(role string) error {
	if role == "" || len(role) > maxRole || strings.ContainsRune(role, 0) {
		return fmt.Errorf("role %s is not a name of 1 to %d bytes", quoted(role), maxRole)
	}
	return nil
}

// Role returns the database role for the user name of the startup message, or a *Refusal.
//
// With RoleFromSubject the user must be the subject, and is the role. With RoleFromClaim the user must be one of the
// claim's roles, or the subject when the claim has one role only. With RoleFixed the user must be the role or the subject.
func (t *Token) Role(user string) (string, error) {
	if t == nil || t.rules == nil {
		return "", &Refusal{Reason: Misconfigured, Text: "the token has no rules"}
	}
	role, r := t.rules.role(t.verified, t.Subject, user)
	if r != nil {
		return "", r
	}
	return role, nil
}

func (rules *Rules) role(claims []byte, subject, user string) (role string, refused *Refusal) {
	r := &rules.Role
	switch r.From {
	case "", RoleFromSubject:
		if user != subject {
			return "", &Refusal{Reason: RoleNotAllowed, Text: "the user name is not the token's subject", Detail: "Its subject is " + quoted(subject) + "."}
		}
		role = subject
	case RoleFromClaim:
		value, ok := find(claims, r.Claim)
		if !ok {
			return "", &Refusal{Reason: RoleNotAllowed, Text: fmt.Sprintf("it has no %q to take the role from", r.Claim)}
		}
		roles, ok := texts(value)
		if !ok {
			return "", &Refusal{Reason: RoleNotAllowed, Text: fmt.Sprintf("%q is neither a role nor an array of roles", r.Claim)}
		}
		if role, ok = choose(roles, subject, user); !ok {
			return "", &Refusal{Reason: RoleNotAllowed, Text: fmt.Sprintf("the user name is not a role of %q", r.Claim), Detail: "It holds " + quoted(string(value)) + "."}
		}
	case RoleFromExpression:
		if role, refused = rules.expressedRole(claims, subject, user); refused != nil {
			return "", refused
		}
	case RoleFixed:
		if user != subject && user != r.Value {
			return "", &Refusal{Reason: RoleNotAllowed, Text: "the user name is neither the token's subject nor the role",
				Detail: "Its subject is " + quoted(subject) + ", the role is " + quoted(r.Value) + "."}
		}
		role = r.Value
	default:
		return "", &Refusal{Reason: Misconfigured, Text: "the rules know no such source of a role"}
	}
	if (len(r.Allow) > 0 || r.From == RoleFromClaim || r.From == RoleFromExpression) && !slices.Contains(r.Allow, role) {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "its role is not in the list of allowed roles", Detail: "The role would be " + quoted(role) + "."}
	}
	if err := checkRoleName(role); err != nil {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "its role is not a name that PostgreSQL can have", Detail: "The role would be " + quoted(role) + "."}
	}
	return role, nil
}

// choose picks the role that the user asks for: one of the roles by its name, or the only one by the subject.
func choose(roles []string, subject, user string) (string, bool) {
	switch {
	case slices.Contains(roles, user):
		return user, true
	case user == subject && len(roles) == 1:
		return roles[0], true
	}
	return "", false
}
