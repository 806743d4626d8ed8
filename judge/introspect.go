package judge

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/fetch"
	"github.com/claimpool/claimpool/token"
)

const (
	maxKept       = 4096    // answers that are kept, at most 32 MB
	maxKeptAnswer = 8 << 10 // bytes of one; longer ones are asked for each time
)

// IntrospectionSpec says how an issuer is asked about its tokens (RFC 7662).
type IntrospectionSpec struct {
	URL      string
	ClientID string
	Secret   func(context.Context) (claimpool.Secret, error) // of the client, got for each question

	Timeout  time.Duration // of one question
	Keep     time.Duration // how long an answer about an active token may be kept; zero means not at all
	Lifetime time.Duration // how long a token counts whose answer names no end; zero means not at all

	Roots *x509.CertPool // sign the server's certificate; nil means those of the system
	Clock func() time.Time
}

// Introspection asks an issuer about its tokens. It is a token.Introspector, safe for concurrent use.
type Introspection struct {
	spec   IntrospectionSpec
	client *fetch.Client

	mu    sync.Mutex
	kept  map[fingerprint]kept // under mu
	order []fingerprint        // under mu: what has been kept for longest makes room
	next  int                  // under mu
}

// fingerprint is SHA-256 of a token, which itself is not kept.
type fingerprint [sha256.Size]byte

type kept struct {
	claims []byte
	until  time.Time
}

// NewIntrospection makes one.
func NewIntrospection(spec IntrospectionSpec) (*Introspection, error) {
	if spec.ClientID == "" || spec.Secret == nil {
		return nil, errors.New("the issuer answers only to clients that it knows: a client id and a secret are needed")
	}
	if spec.Timeout <= 0 || spec.Keep < 0 || spec.Lifetime < 0 || spec.Clock == nil {
		return nil, errors.New("a timeout and a clock are needed, and no time may be negative")
	}
	client, err := fetch.NewClient(spec.URL, fetch.Options{Roots: spec.Roots, Keep: true})
	if err != nil {
		return nil, err
	}
	return &Introspection{spec: spec, client: client, kept: map[fingerprint]kept{}, order: make([]fingerprint, maxKept)}, nil
}

// Close closes the connections that are kept for the next question.
func (i *Introspection) Close() { i.client.Close() }

// Lifetime is how long a token counts whose answer names no end.
func (i *Introspection) Lifetime() time.Duration { return i.spec.Lifetime }

// Introspect asks about a token, unless the last answer may still be used.
func (i *Introspection) Introspect(raw []byte) ([]byte, error) {
	if !printable(raw) {
		return nil, fmt.Errorf("%w: it holds bytes that no token may hold, and the issuer was not asked", token.ErrInactive)
	}
	f := fingerprint(sha256.Sum256(raw))
	if claims := i.recall(f); claims != nil {
		return claims, nil
	}
	claims, end, err := i.ask(raw)
	if err != nil {
		return nil, err
	}
	i.keep(f, claims, end)
	return claims, nil
}

// ask makes the request (RFC 7662, section 2.1). The client proves itself as RFC 6749, section 2.3.1 says.
func (i *Introspection) ask(raw []byte) (claims []byte, end time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), i.spec.Timeout)
	defer cancel()
	secret, err := i.spec.Secret(ctx)
	if err != nil {
		return nil, end, fmt.Errorf("get the client's secret: %w", err)
	}
	defer secret.Clear()
	who := url.QueryEscape(i.spec.ClientID) + ":" + url.QueryEscape(string(secret))
	body := url.Values{"token": {string(raw)}, "token_type_hint": {"access_token"}}.Encode()
	answer, err := i.client.Post(ctx, http.Header{
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(who))},
		"Content-Type":  {"application/x-www-form-urlencoded"}, "Accept": {"application/json"},
	}, []byte(body), maxAnswer)
	switch {
	case err != nil:
		return nil, end, fmt.Errorf("ask: %w", err)
	case answer.Code != http.StatusOK: // 401 speaks of us, not of the token (RFC 7662, section 2.3)
		return nil, end, fmt.Errorf("%s answers %q", i.client.Place(), answer.Status)
	case !answer.JSON():
		return nil, end, fmt.Errorf("%s sends %q, not JSON", i.client.Place(), answer.Header.Get("Content-Type"))
	}
	return readIntrospection(answer.Body)
}

// readIntrospection reads an answer (RFC 7662, section 2.2).
func readIntrospection(body []byte) (claims []byte, end time.Time, err error) {
	claims, err = token.CheckClaims(body)
	if err != nil {
		return nil, end, fmt.Errorf("the answer is no JSON object that can be read: %w", err)
	}
	var members map[string]json.RawMessage // a struct would also take "Active"
	var active bool
	if err := json.Unmarshal(claims, &members); err != nil {
		return nil, end, err
	}
	if v := string(members["active"]); v != "true" && v != "false" {
		return nil, end, errors.New(`the answer's "active" is neither true nor false`)
	} else if active = v == "true"; !active {
		return nil, end, token.ErrInactive
	}
	var kind string
	if json.Unmarshal(members["token_type"], &kind) == nil && kind != "" && !strings.EqualFold(kind, "Bearer") {
		// A token that is bound to a key (DPoP, RFC 9449) is not proved by having it. What "cnf" says, package token judges.
		return nil, end, fmt.Errorf("%w as a bearer token: its type is %q", token.ErrInactive, kind)
	}
	var exp float64
	if json.Unmarshal(members["exp"], &exp) == nil && exp > 0 && exp < 1<<37 {
		end = time.Unix(int64(exp), 0)
	}
	return claims, end, nil
}

func (i *Introspection) recall(f fingerprint) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	k, ok := i.kept[f]
	if !ok || !i.spec.Clock().Before(k.until) {
		return nil
	}
	return k.claims
}

// keep remembers an answer about an active token, no longer than the token lasts. What the issuer does not accept is never
// remembered: strangers could fill the memory with it.
func (i *Introspection) keep(f fingerprint, claims []byte, end time.Time) {
	if i.spec.Keep == 0 || len(claims) > maxKeptAnswer {
		return
	}
	until := i.spec.Clock().Add(i.spec.Keep)
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.kept[f]; !ok {
		delete(i.kept, i.order[i.next])
		i.order[i.next] = f
		i.next = (i.next + 1) % len(i.order)
	}
	i.kept[f] = kept{claims, until}
}
