package token

import "time"

// Unverified reads the end of a token that somebody else is going to verify, when it is a JWT that names one; anything else has
// none. A minute is added, by which clocks may differ. over says that the end has come: nobody needs to be asked about such a
// token. Nothing that it says may let anybody in.
func Unverified(raw []byte, now time.Time) (end time.Time, over bool) {
	p, _ := parseCompact(raw)
	if p.payload == nil {
		return time.Time{}, false
	}
	claims, r := scanObject("payload", p.payload)
	if r != nil {
		return time.Time{}, false
	}
	p.claims = claims
	exp, r := p.time("exp")
	if r != nil || exp.IsZero() {
		return time.Time{}, false
	}
	end = exp.Add(unverifiedLeeway)
	return end, !now.Before(end)
}

// unverifiedLeeway is how far the clock of whoever verifies a token may be behind ours.
const unverifiedLeeway = time.Minute

// Fingerprint tells whether two objects of claims, as CheckClaims gives them, describe the same identity. See Token.Fingerprint.
func Fingerprint(claims []byte) []byte { return fingerprint(claims) }
