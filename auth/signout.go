package auth

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// Revocations say who has been signed out before the end of their tokens. *revocation.Set is one.
type Revocations interface {
	// Revoked reports whether a proof must not be used any more. An error means that nobody can say so at the moment.
	Revoked(*claimpool.Proof) (bool, error)
}

// signedOut refuses an identity that has been signed out; known is nil where there are no revocations.
func signedOut(known Revocations, id *claimpool.Identity) error {
	if known == nil {
		return nil
	}
	revoked, err := known.Revoked(&id.Proof)
	switch {
	case revoked:
		return &token.Refusal{Reason: token.Revoked, Text: "it, its session or its subject has been signed out"}
	case err != nil:
		return &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "cannot check sign-outs at the moment", Hint: "Try again later.", Cause: err,
		}
	}
	return nil
}

// loginProof is the proof of whoever has logged in without a token.
func loginProof(id *claimpool.Identity) {
	if id.Proof.Marks == nil {
		id.Proof = claimpool.NewProof(id.Issuer, "", "", noEnd, id.Subject)
		id.Proof.Login = true
	}
}
