package pgtest

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a Provider has.
const (
	IntrospectPath = "/introspect" // RFC 7662, for the client "proxy" with the secret "pr0xy:&"
	DiscoveryPath  = "/.well-known/openid-configuration"
	JWKSPath       = "/jwks"
)

// Provider is an OpenID provider on loopback: it describes itself, publishes keys, and misbehaves when it is told to.
type Provider struct {
	URL    string // its issuer, without a slash at the end
	CAFile string // signs its certificate

	mu      sync.Mutex
	keys    []string          // JWKs
	active  map[string]string // what introspection answers, by token
	instead map[string]http.HandlerFunc
	hits    map[string]int
	skew    time.Duration
}

// StartProvider runs a provider with https until the test ends.
func StartProvider(t testing.TB) *Provider {
	t.Helper()
	ca := NewCA(t)
	p, server := newProvider(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1", "localhost", "id.example.com").TLS}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	p.URL, p.CAFile = server.URL, WriteFile(t, t.TempDir(), "ca.pem", ca.PEM)
	return p
}

// StartPlainProvider runs a provider without TLS until the test ends.
func StartPlainProvider(t testing.TB) *Provider {
	t.Helper()
	p, server := newProvider(t)
	server.Start()
	p.URL = server.URL
	return p
}

func newProvider(t testing.TB) (*Provider, *httptest.Server) {
	t.Helper()
	p := &Provider{active: map[string]string{}, instead: map[string]http.HandlerFunc{}, hits: map[string]int{}}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what it is for
	t.Cleanup(func() {
		server.CloseClientConnections() // those that it keeps waiting
		server.Close()
	})
	return p, server
}

// Publish replaces the keys: JWKs.
func (p *Provider) Publish(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// Activate makes introspection answer a token with members besides "active"; "" takes the token back.
func (p *Provider) Activate(token, members string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, token)
	if members != "" {
		p.active[token] = `{"active":true,` + members + `}`
	}
}

// introspect answers as RFC 7662, section 2 says.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if plain, err := url.QueryUnescape(secret); err != nil || id != "proxy" || plain != "pr0xy:&" { // RFC 6749, section 2.3.1
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	answer := p.active[r.PostFormValue("token")]
	p.mu.Unlock()
	if answer == "" {
		answer = `{"active":false}`
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, answer)
}

// Instead makes it do something else for a path; nil makes it behave again.
func (p *Provider) Instead(path string, do http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead[path] = do
}

// Skew sets the provider's clock: so far ahead of ours, or behind it when negative. Its answers' Date says so, and so do the tokens of an
// Issuer whose Clock is Now.
func (p *Provider) Skew(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skew = d
}

// Now is the time by the provider's clock.
func (p *Provider) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.skew)
}

// Hits counts the requests for a path so far.
func (p *Provider) Hits(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits[path]
}

// ServeHTTP answers.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hits[r.URL.Path]++
	do, keys := p.instead[r.URL.Path], strings.Join(p.keys, ",")
	p.mu.Unlock()
	w.Header().Set("Date", p.Now().UTC().Format(http.TimeFormat))
	switch {
	case do != nil:
		do(w, r)
	case r.URL.Path == DiscoveryPath:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + JWKSPath})
	case r.URL.Path == JWKSPath:
		w.Header().Set("Content-Type", "application/jwk-set+json")
		fmt.Fprintf(w, `{"keys":[%s]}`, keys)
	case r.URL.Path == IntrospectPath && r.Method == http.MethodPost:
		p.introspect(w, r)
	default:
		http.NotFound(w, r)
	}
}

// JWK is the issuer's public key as providers publish it.
func (i *Issuer) JWK() string {
	x := base64.RawURLEncoding.EncodeToString(i.key.Public().(ed25519.PublicKey))
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":%q,"x":%q}`, i.KeyID, x)
}
