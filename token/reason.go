package token

// Reason says why a token was refused. The list is closed: logs, counters and tests use these words.
type Reason string

// The reasons, in the order in which Verify looks for them.
const (
	TooLarge         Reason = "too_large"         // longer than any honest token
	Malformed        Reason = "malformed"         // not a JWS in compact form, or its JSON is broken or ambiguous
	Encrypted        Reason = "encrypted"         // five parts, a JWE, that we cannot or do not open
	Unsecured        Reason = "unsecured"         // alg "none"
	UnknownAlgorithm Reason = "unknown_algorithm" // an algorithm that we do not speak
	CriticalHeader   Reason = "critical_header"   // "crit" or "b64": extensions that we do not speak
	Misconfigured    Reason = "misconfigured"     // the verifier has no keys, no clock or impossible rules
	UnknownIssuer    Reason = "unknown_issuer"    // no rules for its issuer
	WrongType        Reason = "wrong_type"        // "typ" says that it is for something else
	KeysUnavailable  Reason = "keys_unavailable"  // the key source is down; not the client's fault
	UnknownKey       Reason = "unknown_key"       // no key with its kid
	WrongAlgorithm   Reason = "wrong_algorithm"   // its algorithm is not one of the key's own
	Inactive         Reason = "inactive"          // the issuer was asked, and says that it is worth nothing
	BadSignature     Reason = "bad_signature"     // the signature does not verify
	WrongIssuer      Reason = "wrong_issuer"      // "iss" is not the one that the rules ask for
	MissingClaim     Reason = "missing_claim"     // a required claim is absent or null
	BadClaim         Reason = "bad_claim"         // a claim has the wrong JSON type or an impossible value
	Expired          Reason = "expired"           // "exp" has passed
	NotYetValid      Reason = "not_yet_valid"     // "nbf" is in the future
	IssuedInFuture   Reason = "issued_in_future"  // "iat" is in the future
	LifetimeTooLong  Reason = "lifetime_too_long" // valid for longer than the rules accept
	WrongAudience    Reason = "wrong_audience"    // "aud" does not name us
	Bound            Reason = "bound"             // to have it is no proof: it is bound to a key ("cnf")
	ConditionFailed  Reason = "condition_failed"  // an expression of the configuration does not accept its claims
	RoleNotAllowed   Reason = "role_not_allowed"  // the role rule does not give the role that was asked for
	Revoked          Reason = "revoked"           // it, its session or its subject has been signed out
)

var advice = map[Reason]string{
	TooLarge:         "Ask the issuer for a smaller token: fewer groups or claims.",
	Malformed:        "Check that the whole token was copied, without quotation marks, spaces or line breaks.",
	Encrypted:        "Ask the issuer for a signed token (JWS), or one that is encrypted for one of the decryption_keys, without compression.",
	Unsecured:        "Such a token proves nothing, and no setting accepts it.",
	UnknownAlgorithm: "Ask the issuer for EdDSA, ES256, RS256, PS256 or HS256, or one of their longer forms.",
	CriticalHeader:   "Ask the issuer for a plain JWT.",
	Misconfigured:    "Look at the issuer's rules in the configuration.",
	UnknownIssuer:    `Add the issuer to the configuration, exactly as the token's "iss" writes it, slashes and case included.`,
	WrongType:        `Use an access token; or add the token's "typ" to the issuer's types.`,
	KeysUnavailable:  "The keys could not be fetched; if the reason is not here, it is in the proxy's log.",
	UnknownKey:       `Add the key to the issuer's key files, with the "kid" that the token names; perhaps the issuer has changed its keys. Keys that are fetched are looked for once in fetch.unknown_kid_interval.`,
	WrongAlgorithm:   "Add the algorithm to the key's algorithms, if it fits the key; else the token was not made with this key.",
	Inactive:         "Get a new token: this one has ended, was revoked, or is not one of this issuer's.",
	BadSignature:     "The token was changed on its way, or made with a key that is not configured.",
	WrongIssuer:      `The issuer in the configuration must be exactly the token's "iss", slashes and case included.`,
	MissingClaim:     "Have the issuer add the claim, or take it off the required claims.",
	BadClaim:         "Have the issuer write the claim as RFC 7519 says.",
	Expired:          "Get a new token.",
	NotYetValid:      "Wait, or compare the clocks of the issuer and of this machine; the leeway is for small differences.",
	IssuedInFuture:   "Compare the clocks of the issuer and of this machine; the leeway is for small differences.",
	LifetimeTooLong:  "Ask the issuer for a shorter one, or raise max_lifetime.",
	WrongAudience:    `Ask the issuer for a token for this service, or add the token's "aud" to the issuer's audience.`,
	Bound:            "Connect with the certificate that the token is bound to (x5t#S256), or ask the issuer for a bearer token (without DPoP).",
	ConditionFailed:  "Compare the claims with the issuer's conditions and context; a claim that may be absent needs has(claims.NAME).",
	Revoked:          "Log in at the issuer again, for a new token.",
	RoleNotAllowed:   "Connect with the user name that the token allows, or change the issuer's role rule.",
}

// Advice says in a sentence or two what a person can do about it.
func (r Reason) Advice() string { return advice[r] }

// Refusal is the error of every function here that judges a token.
type Refusal struct {
	Reason Reason

	// Text explains the reason in plain words. It is safe to log: it shows no claim but the issuer.
	Text string

	// Detail is a sentence on what was found, with values of the token. It is for the person who holds the token (token
	// inspect), never for a log.
	Detail string

	Cause error // of KeysUnavailable and Misconfigured
}

// Error gives the reason, its text and the cause.
func (r *Refusal) Error() string {
	if r.Cause != nil {
		return string(r.Reason) + ": " + r.Text + ": " + r.Cause.Error()
	}
	return string(r.Reason) + ": " + r.Text
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Cause }
