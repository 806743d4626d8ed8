package token

// Reason says why a token was refused. The list is closed: logs, counters and tests use these words.
type Reason string

// The reasons, in the order in which Verify looks for them.
const (
	TooLarge         Reason = "too_large"         // longer than any honest token
	Malformed        Reason = "malformed"         // not a JWS in compact form, or its JSON is broken or ambiguous
	Encrypted        Reason = "encrypted"         // five parts: a JWE
	Unsecured        Reason = "unsecured"         // alg "none"
	UnknownAlgorithm Reason = "unknown_algorithm" // an algorithm that we do not speak
	CriticalHeader   Reason = "critical_header"   // "crit" or "b64": extensions that we do not speak
	WrongType        Reason = "wrong_type"        // "typ" says that it is for something else
	UnknownIssuer    Reason = "unknown_issuer"    // no rules for its issuer
	Misconfigured    Reason = "misconfigured"     // the verifier has no keys, no clock or impossible rules
	KeysUnavailable  Reason = "keys_unavailable"  // the key source is down; not the client's fault
	UnknownKey       Reason = "unknown_key"       // no key with its kid
	WrongAlgorithm   Reason = "wrong_algorithm"   // its algorithm is not one of the key's own
	BadSignature     Reason = "bad_signature"     // the signature does not verify
	WrongIssuer      Reason = "wrong_issuer"      // "iss" is not the one that the rules ask for
	MissingClaim     Reason = "missing_claim"     // a required claim is absent or null
	BadClaim         Reason = "bad_claim"         // a claim has the wrong JSON type or an impossible value
	Expired          Reason = "expired"           // "exp" has passed
	NotYetValid      Reason = "not_yet_valid"     // "nbf" is in the future
	IssuedInFuture   Reason = "issued_in_future"  // "iat" is in the future
	LifetimeTooLong  Reason = "lifetime_too_long" // valid for longer than the rules accept
	WrongAudience    Reason = "wrong_audience"    // "aud" does not name us
	RoleNotAllowed   Reason = "role_not_allowed"  // the role rule does not give the role that was asked for
)

// Refusal is the error of every function here that judges a token.
type Refusal struct {
	Reason Reason

	// Text explains the reason in plain words. It is safe to log: it names no claim's value but the issuer.
	Text string

	// Detail says what was found, with values of the token. It is for the person who holds the token (token inspect),
	// never for a log.
	Detail string
}

// Error gives the reason and its text.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Text }
