package revocation

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
)

// Request says in words what to revoke. Exactly one of Token, Hash, Session and Subject is set, or All.
type Request struct {
	Issuer  string    `json:"issuer,omitempty"`     // empty: of password users
	Token   string    `json:"jti,omitempty"`        // a token's jti
	Hash    string    `json:"token_hash,omitempty"` // or the hash of one, as the audit stream has it
	Session string    `json:"sid,omitempty"`
	Subject string    `json:"sub,omitempty"`
	All     bool      `json:"all,omitempty"`    // everything of the issuer
	Before  time.Time `json:"before,omitzero"`  // for Subject and All: what was issued up to then; zero means now
	Reason  string    `json:"reason,omitempty"` // for people
}

// The longest names that are taken: what a subject may have (see package token), and room for URLs.
const (
	maxName   = 255
	maxIssuer = 1024
	maxReason = 200
)

// Entry makes the revocation. Its errors are for the person who asked.
func (r *Request) Entry() (Entry, error) {
	given := 0
	for _, is := range []bool{r.Token != "", r.Hash != "", r.Session != "", r.Subject != "", r.All} {
		if is {
			given++
		}
	}
	e := Entry{Issuer: r.Issuer, Subject: r.Subject, Before: r.Before, Reason: r.Reason}
	switch {
	case given != 1:
		return e, errors.New("name one thing to revoke: a token, a session, a subject, or everything of an issuer")
	case r.Issuer == "" && r.Subject == "" && r.Hash == "":
		return e, errors.New("the issuer is missing")
	case len(r.Token) > maxIssuer || len(r.Session) > maxIssuer || len(r.Subject) > maxName || len(r.Issuer) > maxIssuer || len(r.Reason) > maxReason:
		return e, errors.New("a name is too long")
	case !r.Before.IsZero() && r.Subject == "" && !r.All:
		return e, errors.New("a token or a session is revoked whenever it was issued: leave the time out")
	}
	switch {
	case r.Hash != "":
		e.Kind = claimpool.MarkToken
		b, err := hex.DecodeString(r.Hash)
		if err != nil || len(b) != len(e.Mark) {
			return e, fmt.Errorf("the hash of a token has %d hexadecimal digits", 2*len(e.Mark))
		}
		copy(e.Mark[:], b)
	case r.Token != "":
		e.Kind, e.Mark = claimpool.MarkToken, claimpool.NewMark(claimpool.MarkToken, r.Issuer, r.Token)
	case r.Session != "":
		e.Kind, e.Mark = claimpool.MarkSession, claimpool.NewMark(claimpool.MarkSession, r.Issuer, r.Session)
	case r.Subject != "":
		e.Kind, e.Mark = claimpool.MarkSubject, claimpool.NewMark(claimpool.MarkSubject, r.Issuer, r.Subject)
	default:
		e.Kind, e.Mark = claimpool.MarkIssuer, claimpool.NewMark(claimpool.MarkIssuer, r.Issuer, "")
	}
	return e, nil
}
