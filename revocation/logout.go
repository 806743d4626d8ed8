package revocation

import (
	"time"

	"github.com/claimpool/claimpool"
)

// Logout gives what the logout of a person or a session at its issuer revokes: what was issued up to then, so that a logout that
// arrives late does not end what came after it. A session that is named is revoked, and so are the person's tokens that name none,
// which could be of it; a person alone is revoked everywhere.
func Logout(issuer, subject, session string, at time.Time) []Entry {
	entry := func(kind claimpool.MarkKind, value string, before time.Time) Entry {
		return Entry{Kind: kind, Mark: claimpool.NewMark(kind, issuer, value), Issuer: issuer, Subject: subject, Before: before, Reason: "logout at the issuer"}
	}
	switch {
	case session == "":
		return []Entry{entry(claimpool.MarkSubject, subject, at)}
	case subject == "":
		return []Entry{entry(claimpool.MarkSession, session, at)}
	}
	return []Entry{entry(claimpool.MarkSession, session, at), entry(claimpool.MarkSessionless, subject, at)}
}

// LogoutMark is what a logout token is known by once it has been taken.
func LogoutMark(issuer, jti string) claimpool.Mark { return claimpool.NewMark("logout", issuer, jti) }
