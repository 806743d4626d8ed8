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
)

// RoleRule turns a verified token and the user name of the startup message into a database role.
type RoleRule struct {
	From  RoleFrom // "" means RoleFromSubject
	Claim string   // for RoleFromClaim: a top-level name, or a JSON Pointer (RFC 6901) that begins with "/"
	Value string   // for RoleFixed

	// Allow lists the roles that may come out. RoleFromClaim needs it: what an issuer writes must not become a role
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
		return fmt.Errorf("role from %q: one of sub, claim, fixed is expected", string(r.From))
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
	role, r := t.rules.Role.role(t.Claims, t.Subject, user)
	if r != nil {
		return "", r
	}
	return role, nil
}

func (r *RoleRule) role(claims []byte, subject, user string) (string, *Refusal) {
	var role string
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
		switch {
		case slices.Contains(roles, user):
			role = user
		case user == subject && len(roles) == 1:
			role = roles[0]
		default:
			return "", &Refusal{Reason: RoleNotAllowed, Text: fmt.Sprintf("the user name is not a role of %q", r.Claim), Detail: "It holds " + quoted(string(value)) + "."}
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
	if (len(r.Allow) > 0 || r.From == RoleFromClaim) && !slices.Contains(r.Allow, role) {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "its role is not in the list of allowed roles", Detail: "The role would be " + quoted(role) + "."}
	}
	if err := checkRoleName(role); err != nil {
		return "", &Refusal{Reason: RoleNotAllowed, Text: "its role is not a name that PostgreSQL can have", Detail: "The role would be " + quoted(role) + "."}
	}
	return role, nil
}
