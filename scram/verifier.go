package scram

import (
	"errors"
	"strconv"
	"strings"
)

// Verifier is what is stored instead of a password: enough to check a proof, not enough to make one.
type Verifier struct {
	Iterations int
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte

	doomed bool // no proof can match: it stands for a user who does not exist
}

// NewVerifier makes the verifier of a password.
func NewVerifier(password, salt []byte, iterations int) (Verifier, error) {
	if iterations < 1 || iterations > maxIterations || len(salt) == 0 || len(salt) > maxSalt {
		return Verifier{}, errors.New("salt or iteration count out of bounds")
	}
	salted, err := saltedPassword(password, salt, iterations)
	if err != nil {
		return Verifier{}, err
	}
	return Verifier{Iterations: iterations, Salt: salt, StoredKey: storedKey(clientKey(salted)), ServerKey: serverKey(salted)}, nil
}

// ParseVerifier reads a verifier as PostgreSQL (pg_authid.rolpassword) and PgBouncer (userlist.txt) write it:
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
func ParseVerifier(s string) (Verifier, error) {
	refused := errors.New("malformed SCRAM verifier") // without s: a verifier is a secret
	parts := strings.Split(s, "$")
	if len(parts) != 3 || parts[0] != Mechanism {
		return Verifier{}, refused
	}
	count, salt, ok := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	if !ok || !ok2 {
		return Verifier{}, refused
	}
	var v Verifier
	var errs [4]error
	v.Iterations, errs[0] = parseIterations(count)
	v.Salt, errs[1] = decode64(salt, maxSalt)
	v.StoredKey, errs[2] = decodeKey(stored)
	v.ServerKey, errs[3] = decodeKey(server)
	if errors.Join(errs[:]...) != nil || len(v.Salt) == 0 {
		return Verifier{}, refused
	}
	return v, nil
}

// MockVerifier makes the verifier of a user who does not exist: the same salt every time for the same seed and user, so
// that a stranger cannot find out by asking twice, and a proof never matches. seed is secret; iterations should be what
// existing users have.
func MockVerifier(seed []byte, user string, iterations int) Verifier {
	return Verifier{
		Iterations: iterations,
		Salt:       mac(seed, "salt\x00"+user)[:16],
		StoredKey:  mac(seed, "stored key\x00"+user),
		ServerKey:  mac(seed, "server key\x00"+user),
		doomed:     true,
	}
}

// Encode writes the verifier in the form that ParseVerifier reads.
func (v Verifier) Encode() string {
	return Mechanism + "$" + strconv.Itoa(v.Iterations) + ":" + encode64(v.Salt) +
		"$" + encode64(v.StoredKey) + ":" + encode64(v.ServerKey)
}

// String hides the verifier: with it, passwords can be guessed.
func (Verifier) String() string { return "redacted" }

// GoString hides the verifier from %#v.
func (Verifier) GoString() string { return "redacted" }

// MarshalText hides the verifier from encoders, and so from structured logs.
func (Verifier) MarshalText() ([]byte, error) { return []byte("redacted"), nil }
