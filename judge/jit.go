// Package judge asks somebody else whether a credential is good, where that cannot be found out from the credential itself:
// an API for just-in-time access, or an OAuth server's introspection (RFC 7662). It does not know clients, rules or pools, and
// what follows from an answer.
package judge

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/fetch"
	"github.com/claimpool/claimpool/token"
)

// maxAnswer bounds an answer, unpacked: as long as a token may be.
const maxAnswer = 64 << 10

// ErrDenied says that the API was asked and does not accept the token for this role: a failed proof. Every other error means
// that there is no answer, which is nobody's fault who logs in.
var ErrDenied = errors.New("the API does not accept the token")

// JIT is an API for just-in-time access, as Supavisor asks it: one POST for each login, and no memory of the answers.
type JIT struct {
	client  *fetch.Client
	timeout time.Duration
	clock   func() time.Time
}

// Grant is what an API answers when it accepts a token.
type Grant struct {
	Subject string           // "user_id"; the role when the API does not say
	Claims  claimpool.Claims // what the database sees
	Print   []byte           // tells two grants apart that are not for the same identity
	Expires time.Time        // zero when the API names no end
}

// NewJIT makes a client of an API. timeout bounds one question, roots sign the API's certificate; nil means those of the system.
func NewJIT(address string, timeout time.Duration, roots *x509.CertPool, clock func() time.Time) (*JIT, error) {
	client, err := fetch.NewClient(address, fetch.Options{Roots: roots, Keep: true})
	if err != nil {
		return nil, err
	}
	if timeout <= 0 || clock == nil {
		return nil, errors.New("a timeout and a clock are needed")
	}
	return &JIT{client: client, timeout: timeout, clock: clock}, nil
}

// Place is the API's address without its query, which may hold a key: for people, and the issuer of what it grants.
func (j *JIT) Place() string { return j.client.Place() }

// Close closes the connections that are kept for the next question.
func (j *JIT) Close() { j.client.Close() }

// Ask asks whether a token may log in as a role from an address. The request is Supavisor's, byte for byte
// (Helpers.check_user_has_jit_role): the members in the order in which an Elixir map writes them.
func (j *JIT) Ask(ctx context.Context, raw claimpool.Secret, role, address string) (*Grant, error) {
	if !printable(raw) {
		return nil, fmt.Errorf("%w: it holds bytes that no token may hold, and was not asked", ErrDenied)
	}
	now := j.clock()
	end, over := token.Unverified(raw, now)
	if over {
		return nil, fmt.Errorf("%w: it says itself that it has expired, and was not asked", ErrDenied)
	}
	body, err := question(role, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	answer, err := j.client.Post(ctx, http.Header{
		"Authorization": {"Bearer " + string(raw)}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
	}, body, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	switch answer.Code {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s", ErrDenied, answer.Status)
	default:
		return nil, fmt.Errorf("%s answers %q", j.client.Place(), answer.Status)
	}
	if !answer.JSON() {
		return nil, fmt.Errorf("%s sends %q, not JSON", j.client.Place(), answer.Header.Get("Content-Type"))
	}
	g, err := readGrant(answer.Body, role, now)
	if err != nil {
		return nil, err
	}
	if !end.IsZero() && (g.Expires.IsZero() || end.Before(g.Expires)) {
		g.Expires = end // the token's own end, which the API has not questioned
	}
	return g, nil
}

// question is the body of the request.
func question(role, address string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Address string `json:"rhost"`
		Role    string `json:"role"`
	}{address, role})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// printable holds for what may stand in a header: a line break would begin another one.
func printable(raw []byte) bool {
	return len(raw) > 0 && !slices.ContainsFunc(raw, func(b byte) bool { return b <= ' ' || b > '~' })
}

// answer is what an API says, in its two forms: one role, or a list of them.
type answer struct {
	UserID  string          `json:"user_id"`
	Role    *grantedRole    `json:"user_role"`
	Roles   []grantedRole   `json:"user_roles"`
	Expires moment          `json:"expires_at"`
	Claims  json.RawMessage `json:"claims"`
}

type grantedRole struct {
	Role    string `json:"role"`
	Expires moment `json:"expires_at"`
}

// UnmarshalJSON takes a role as an object or as its name.
func (r *grantedRole) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &r.Role) == nil {
		return nil
	}
	type plain grantedRole
	return json.Unmarshal(data, (*plain)(r))
}

// moment is a time as seconds since 1970 or as RFC 3339 writes it; zero when there is none.
type moment struct{ time.Time }

// UnmarshalJSON takes both; what is neither is an error, never "no end".
func (m *moment) UnmarshalJSON(data []byte) error {
	var text string
	if string(data) == "null" {
		return nil
	}
	if json.Unmarshal(data, &text) == nil {
		t, err := time.Parse(time.RFC3339, text)
		m.Time = t
		return err
	}
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil || !(seconds >= 1 && seconds < 1<<37) {
		return errors.New("expires_at is no time")
	}
	m.Time = time.Unix(int64(seconds), 0)
	return nil
}

// readGrant reads the API's answer to the question for a role.
func readGrant(body []byte, role string, now time.Time) (*Grant, error) {
	if _, err := token.CheckClaims(body); err != nil { // names that stand twice, among other things
		return nil, fmt.Errorf("the answer is no JSON object that can be read: %w", err)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New("the answer has a member of another type than asked for")
	}
	if a.Role != nil {
		a.Roles = append(a.Roles, *a.Role)
	}
	if len(a.Roles) == 0 || slices.ContainsFunc(a.Roles, func(r grantedRole) bool { return r.Role == "" }) {
		return nil, errors.New(`the answer has neither "user_role" nor "user_roles"`)
	}
	i := slices.IndexFunc(a.Roles, func(r grantedRole) bool { return r.Role == role && r.Expires.open(now) })
	if i < 0 || !a.Expires.open(now) {
		return nil, fmt.Errorf("%w for this role at this time", ErrDenied)
	}
	g := &Grant{Subject: a.UserID, Expires: a.Expires.Time}
	if end := a.Roles[i].Expires.Time; !end.IsZero() && (g.Expires.IsZero() || end.Before(g.Expires)) {
		g.Expires = end
	}
	if len(g.Subject) > maxSubject || strings.ContainsFunc(g.Subject, func(r rune) bool { return r < ' ' }) {
		return nil, errors.New(`the answer's "user_id" is no name`)
	}
	if g.Subject == "" {
		g.Subject = role
	}
	return g, g.claim(a.Claims, role)
}

// maxSubject bounds what goes into every log line of a client.
const maxSubject = 255

// open reports whether the moment has not come yet; none never comes.
func (m moment) open(now time.Time) bool { return m.IsZero() || now.Before(m.Time) }

// claim sets what the database sees: the claims that the API gives, else who it is and as what.
func (g *Grant) claim(given json.RawMessage, role string) error {
	if given == nil || string(given) == "null" {
		made, err := json.Marshal(struct {
			Subject string `json:"sub"`
			Role    string `json:"role"`
		}{g.Subject, role})
		if err != nil {
			return err
		}
		given = made
	}
	claims, err := token.CheckClaims(given)
	if err != nil {
		return fmt.Errorf("the answer's claims: %w", err)
	}
	g.Claims, g.Print = claims, token.Fingerprint(claims)
	return nil
}
