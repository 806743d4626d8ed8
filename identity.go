package claimpool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Method says how an identity was proved. Unknown values are refused wherever they are read.
type Method string

// The methods that a rule may name.
const (
	MethodJWT    Method = "jwt"           // a JWT as the password (RFC 7519)
	MethodOAuth  Method = "oauth"         // a JWT by SASL OAUTHBEARER (RFC 7628)
	MethodJIT    Method = "jit"           // a token that an API has judged
	MethodSCRAM  Method = "scram-sha-256" // RFC 5802 and 7677, with channel binding over TLS
	MethodMD5    Method = "md5"           // the md5 exchange of protocol 3.0
	MethodCert   Method = "cert"          // the client's TLS certificate
	MethodPeer   Method = "peer"          // the operating system's word, on a unix socket
	MethodLDAP   Method = "ldap"          // a password that an LDAP server has judged
	MethodPAM    Method = "pam"           // a password that an authenticator behind a socket has judged
	MethodTrust  Method = "trust"         // no proof; only on loopback and unix sockets
	MethodReject Method = "reject"        // always refused
)

// Claims is the JSON object that a verified token carried, byte for byte as the issuer wrote the values:
// large integers, Unicode and nesting are intact. It never appears in logs.
type Claims []byte

// String hides the claims: they are personal data.
func (Claims) String() string { return "redacted" }

// LogValue hides the claims from log/slog.
func (Claims) LogValue() slog.Value { return slog.StringValue("redacted") }

// Key identifies an identity: two clients with the same key may share a server connection without a reset in between.
type Key [sha256.Size]byte

// Identity is what was proved about a client. It is made once, at login or with a fresh token, and never changed.
type Identity struct {
	Method  Method
	Rule    string    // the name of the rule that let it in; a fresh token is judged by it
	User    string    // the name that was asked for then
	Issuer  string    // the token's issuer; empty for password users
	Subject string    // who it is; for password users the user name
	Role    string    // the permanent database role that serves it
	Claims  Claims    // what the trusted context carries; nil means that there is none
	Expires time.Time // zero means never
	Proof   Proof     // what can be revoked before that

	// Token is what it was proved with, where the client's database hands it on to its servers; else nil.
	Token Secret

	key Key
}

// NewIdentity makes an identity. fingerprint is the part of the claims that counts for the question "is this the same
// identity?" (without times and token ids); it may be nil when claims is nil.
func NewIdentity(m Method, issuer, subject, role string, claims Claims, fingerprint []byte, expires time.Time) *Identity {
	id := &Identity{Method: m, Issuer: issuer, Subject: subject, Role: role, Claims: claims, Expires: expires}
	h := sha256.New()
	// Each part goes in with its length, so that no two different identities can give the same bytes.
	for _, part := range [][]byte{[]byte(m), []byte(issuer), []byte(subject), []byte(role), fingerprint} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	if claims == nil {
		h.Write([]byte{0}) // no context is not the same as an empty one
	}
	h.Sum(id.key[:0])
	return id
}

// Key tells whether two identities are the same one.
func (id *Identity) Key() Key { return id.key }

// Share tells with whom the identity shares its part of a pool: with all whose token has the same value of a claim. An
// identity without that claim, or an empty name, shares it with nobody.
func (id *Identity) Share(claim string) Key {
	if claim == "" || id.Claims == nil {
		return id.key
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(id.Claims, &claims) != nil || claims[claim] == nil {
		return id.key
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte("share"), []byte(id.Issuer), []byte(claim), claims[claim]} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	var k Key
	h.Sum(k[:0])
	return k
}

// Continuing gives the identity with the key of the one before it: a session on one server connection goes on under a fresh
// token, with what it has left there.
func (id *Identity) Continuing(before *Identity) *Identity {
	next := *id
	next.key = before.key
	return &next
}

// Equal reports whether two identities are the same in everything, the times of their tokens included.
func (id *Identity) Equal(other *Identity) bool {
	return id.key == other.key && id.Rule == other.Rule && id.User == other.User && id.Expires.Equal(other.Expires) && bytes.Equal(id.Claims, other.Claims) &&
		(id.Claims == nil) == (other.Claims == nil) && (id.Token == nil) == (other.Token == nil) && id.Proof.Equal(&other.Proof)
}

// Expired reports whether the identity's proof is no longer valid at the given moment.
func (id *Identity) Expired(now time.Time) bool {
	return !id.Expires.IsZero() && !now.Before(id.Expires)
}

// String names the identity for people: "subject" or "subject@issuer". Claims are never part of it.
func (id *Identity) String() string {
	if id.Issuer == "" {
		return id.Subject
	}
	return id.Subject + "@" + id.Issuer
}

// LogValue logs the identity as its name.
func (id *Identity) LogValue() slog.Value { return slog.StringValue(id.String()) }

// Secret is a password, key or token. It prints as "redacted" everywhere.
type Secret []byte

// String hides the secret.
func (Secret) String() string { return "redacted" }

// Format hides the secret from every verb of package fmt, %x and %d among them.
func (Secret) Format(s fmt.State, _ rune) { io.WriteString(s, "redacted") }

// LogValue hides the secret from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// Clear overwrites the secret with zeros once it is no longer needed.
func (s Secret) Clear() { clear(s) }
