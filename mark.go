package claimpool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// MarkKind says what a mark is made of.
type MarkKind string

// The kinds of marks.
const (
	MarkToken       MarkKind = "token"       // one token, by its "jti" (RFC 7519, section 4.1.7)
	MarkSession     MarkKind = "session"     // a session at the issuer, by "sid" (OpenID Connect Back-Channel Logout, section 2.1)
	MarkSubject     MarkKind = "subject"     // a person; without an issuer the name of a password user
	MarkSessionless MarkKind = "sessionless" // a person, in tokens that name no session
	MarkIssuer      MarkKind = "issuer"      // everybody of an issuer
)

// Mark is a hash by which tokens are revoked, so that neither the list of revocations nor a log holds a token's id. It is
// SHA-256 over the kind, the issuer and the value, each behind its length in eight bytes.
type Mark [sha256.Size]byte

// NewMark makes a mark. The value is the jti, the sid or the subject; empty for an issuer.
func NewMark(kind MarkKind, issuer, value string) (m Mark) {
	h := sha256.New()
	for _, part := range []string{string(kind), issuer, value} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	h.Sum(m[:0])
	return m
}

// Proof is what tells the token behind an identity, or the login, from others of the same person.
type Proof struct {
	ID     Mark      // of the token's jti; zero when it has none
	Issued time.Time // "iat"; zero means that nobody knows
	Login  bool      // there is no token: the login is the proof, and as old as that
	Logins uint8     // how many of the last marks are those of a login on top of which the token was brought, and as old as that
	Marks  []Mark    // by each of them it can be revoked

	Certificate []byte // SHA-256 of the one that the client has shown because its token is bound to it; nil: it is bound to none
}

// NewProof makes the proof of an identity. jti and sid may be empty; names are all names of the person at the issuer.
func NewProof(issuer, jti, sid string, issued time.Time, names ...string) Proof {
	p := Proof{Issued: issued, Marks: []Mark{NewMark(MarkIssuer, issuer, "")}}
	if jti != "" {
		p.ID = NewMark(MarkToken, issuer, jti)
		p.Marks = append(p.Marks, p.ID)
	}
	if sid != "" {
		p.Marks = append(p.Marks, NewMark(MarkSession, issuer, sid))
	}
	for _, name := range names {
		p.Marks = append(p.Marks, NewMark(MarkSubject, issuer, name))
		if sid == "" {
			p.Marks = append(p.Marks, NewMark(MarkSessionless, issuer, name))
		}
	}
	return p
}

// OnTopOf gives the proof of somebody who has brought a token on top of a login without one: either can be revoked.
func (p Proof) OnTopOf(login *Proof) Proof {
	marks := login.Marks
	if !login.Login { // it is one already
		marks = marks[len(marks)-int(login.Logins):]
	}
	p.Marks, p.Logins = slices.Concat(p.Marks, marks), uint8(len(marks))
	return p
}

// Equal reports whether two proofs are revoked by the same, and bound to the same.
func (p *Proof) Equal(other *Proof) bool {
	return bytes.Equal(p.Certificate, other.Certificate) && p.ID == other.ID && p.Login == other.Login && p.Logins == other.Logins && p.Issued.Equal(other.Issued) && slices.Equal(p.Marks, other.Marks)
}
