package keyset_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/token"
)

// discovering is a spec for a provider, with times for impatient tests.
func discovering(t *testing.T, p *pgtest.Provider) keyset.RemoteSpec {
	t.Helper()
	spec := keyset.RemoteSpec{Discovery: p.URL, Interval: time.Hour, AskAgain: time.Hour, StaleAfter: time.Hour, Timeout: time.Minute}
	if p.CAFile != "" {
		spec.Roots = x509.NewCertPool()
		if !spec.Roots.AppendCertsFromPEM(must(os.ReadFile(p.CAFile))) {
			t.Fatal("no certificate")
		}
	}
	return spec
}

// started is a source that has fetched once.
func started(t *testing.T, spec keyset.RemoteSpec) (*keyset.Remote, *reports) {
	t.Helper()
	r, err := keyset.NewRemote(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	seen := &reports{}
	r.Start(seen.add)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.Fetched(ctx)
	return r, seen
}

// reports collects what a source says.
type reports struct {
	mu   sync.Mutex
	list []keyset.Report
}

func (r *reports) add(rep keyset.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, rep)
}

// await waits for a report that is news.
func (r *reports) await(t *testing.T, what string, is func(keyset.Report) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.ContainsFunc(r.list, func(rep keyset.Report) bool { return rep.Changed && is(rep) })
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRemote(t *testing.T) {
	ec, ed := signer("ES256", "a", ecKey()), signer("EdDSA", "b", edKey())
	ecJWK, edJWK := jwk(&ecKey().PublicKey, "a", "", "sig"), jwk(edKey().Public(), "b", "", "sig")
	for name, start := range map[string]func(testing.TB) *pgtest.Provider{"https": pgtest.StartProvider, "http on loopback": pgtest.StartPlainProvider} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			p.Publish(ecJWK, `{"kty":"XYZ","kid":"odd"}`)
			spec := discovering(t, p)
			r, seen := started(t, spec)
			if !verifies(t, r, ec) || verifies(t, r, ed) {
				t.Error("the wrong keys work")
			}
			seen.await(t, "keys", func(rep keyset.Report) bool {
				return slices.Equal(rep.KIDs, []string{"a"}) && len(rep.Skipped) == 1 && rep.Skipped[0].KID == "odd"
			})
			spec.Discovery, spec.JWKS, spec.Algorithms = "", p.URL+pgtest.JWKSPath, []string{"EdDSA"}
			p.Publish(ecJWK, edJWK)
			r, _ = started(t, spec)
			if verifies(t, r, ec) || !verifies(t, r, ed) {
				t.Error("narrowed to EdDSA, the wrong keys work")
			}
			if keys, err := r.Keys(""); err != nil || len(keys) != 1 {
				t.Errorf("without a kid: %v %v", keys, err)
			}
		})
	}
}

// In the background keys come and go, at the interval, or as the server's Cache-Control says within its bounds.
func TestRemoteRotates(t *testing.T) {
	p := pgtest.StartProvider(t)
	spec := discovering(t, p)
	spec.Interval = 20 * time.Millisecond
	before, after := signer("ES256", "a", ecKey()), signer("EdDSA", "b", edKey())
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
	r, seen := started(t, spec)
	if !verifies(t, r, before) {
		t.Error("the first key does not work")
	}
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""), jwk(edKey().Public(), "b", "", ""))
	eventually(t, "both keys", func() bool { return verifies(t, r, before) && verifies(t, r, after) })
	p.Publish(jwk(edKey().Public(), "b", "", ""))
	seen.await(t, "b alone", func(rep keyset.Report) bool { return slices.Equal(rep.KIDs, []string{"b"}) })
	if verifies(t, r, before) {
		t.Error("a removed key works")
	}
	p.Publish()
	seen.await(t, "no keys", func(rep keyset.Report) bool { return rep.Err == nil && len(rep.KIDs) == 0 })
	if verifies(t, r, after) {
		t.Error("a removed key works, because none are left")
	}
}

func TestRemoteObeysTheCacheWithinBounds(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                             -1,
		"public":                       -1,
		"max-age=600":                  10 * time.Minute,
		"public, Max-Age=600":          10 * time.Minute,
		"max-age=600, must-revalidate": 10 * time.Minute,
		"max-age=0":                    0,
		"no-store":                     0,
		"no-cache, max-age=600":        0,
		"max-age=-1":                   -1,
		"max-age=99999999999999999999": -1,
		"max-age":                      -1,
	} {
		if got := keyset.MaxAge(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if got := keyset.MaxAge(http.Header{"Cache-Control": {"max-age=600"}, "Age": {"590"}}); got != 10*time.Second {
		t.Errorf("an old answer: %v", got)
	}
	for age, want := range map[time.Duration]time.Duration{-1: time.Hour, 0: 30 * time.Second, time.Minute: time.Minute, 24 * time.Hour: time.Hour} {
		if got := keyset.NextFetch(time.Hour, age); got != want {
			t.Errorf("max-age %v: the next fetch in %v, want %v", age, got, want)
		}
	}
}

// An unknown kid is worth one fetch, and only one.
func TestRemoteAsksForAnUnknownKID(t *testing.T) {
	p := pgtest.StartProvider(t)
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
	r, _ := started(t, discovering(t, p))
	p.Publish(jwk(edKey().Public(), "b", "", ""))
	if r.Waits("a") || r.Waits("") || !r.Waits("b") {
		t.Error("it does not know when it waits")
	}
	if !verifies(t, r, signer("EdDSA", "b", edKey())) {
		t.Error("the new key does not work")
	}
	if verifies(t, r, signer("ES256", "a", ecKey())) {
		t.Error("the removed key works")
	}
	if n := p.Hits(pgtest.JWKSPath); n != 2 {
		t.Errorf("%d fetches", n)
	}
	p.Publish(jwk(edKey().Public(), "", "", "")) // a set without kids knows no unknown ones
	spec := discovering(t, p)
	spec.AskAgain = time.Nanosecond
	r, _ = started(t, spec)
	before := p.Hits(pgtest.JWKSPath)
	if !verifies(t, r, signer("EdDSA", "b", edKey())) || p.Hits(pgtest.JWKSPath) != before {
		t.Error("a set without kids was fetched for a kid")
	}
}

// What a provider does wrong leaves the last keys in place, and is reported once; when it behaves again, that is news, too.
func TestRemoteKeepsKeysThroughFailures(t *testing.T) {
	ec := signer("ES256", "a", ecKey())
	for what, wrong := range misbehaviours {
		t.Run(what, func(t *testing.T) {
			p := pgtest.StartProvider(t)
			p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
			spec := discovering(t, p)
			spec.Interval = 5 * time.Millisecond
			r, seen := started(t, spec)
			if !verifies(t, r, ec) {
				t.Fatal("it does not work from the start")
			}
			p.Instead(wrong.path, wrong.do)
			seen.await(t, "failure", func(rep keyset.Report) bool {
				return rep.Err != nil && strings.Contains(rep.Err.Error(), wrong.want) && !rep.Until.IsZero()
			})
			if !verifies(t, r, ec) {
				t.Error("the keys are gone")
			}
			p.Instead(wrong.path, nil)
			p.Publish(jwk(edKey().Public(), "b", "", ""))
			seen.await(t, "the end of it", func(rep keyset.Report) bool { return slices.Equal(rep.KIDs, []string{"b"}) })
			if n := seen.news(func(rep keyset.Report) bool { return rep.Err != nil }); n > 3 {
				t.Errorf("the failure was reported %d times", n)
			}
		})
	}
}

func (r *reports) news(is func(keyset.Report) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rep := range r.list {
		if rep.Changed && is(rep) {
			n++
		}
	}
	return n
}

// misbehaviours are what a provider does for a path, and what the error says.
var misbehaviours = map[string]struct {
	path, want string
	do         http.HandlerFunc
}{
	"it fails":                     {pgtest.JWKSPath, `answers "500 Internal Server Error"`, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
	"it has moved":                 {pgtest.DiscoveryPath, `answers "404 Not Found"`, http.NotFound},
	"nothing has changed, it says": {pgtest.JWKSPath, `answers "304 Not Modified"`, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},
	"a login page":                 {pgtest.JWKSPath, `sends "text/html", not JSON`, send("text/html", "<html>")},
	"no content type":              {pgtest.JWKSPath, `not JSON`, send("", `{"keys":[]}`)},
	"a page that says it is JSON":  {pgtest.JWKSPath, "read JWK Set", send("application/json", "<html>")},
	"half a document":              {pgtest.JWKSPath, "unexpected EOF", half},
	"another document":             {pgtest.JWKSPath, "neither a JWK", send("application/json", `{"error":"x"}`)},
	"a private key": {pgtest.JWKSPath, "private key", func(w http.ResponseWriter, r *http.Request) {
		send("application/json", jwk(ecKey(), "a", "", ""))(w, r)
	}},
	"a list":                        {pgtest.DiscoveryPath, "read the discovery document", send("application/json", "[]")},
	"no issuer":                     {pgtest.DiscoveryPath, `no "issuer"`, send("application/json", `{"ISSUER":"x","jwks_uri":"x"}`)},
	"hangs up":                      {pgtest.JWKSPath, "EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	"redirects in a circle":         {pgtest.JWKSPath, "more than 3 redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, pgtest.JWKSPath, 302) }},
	"redirects to nowhere":          {pgtest.JWKSPath, "302", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }},
	"a document of a megabyte":      {pgtest.JWKSPath, "larger than 262144 bytes", send("application/json", `{"keys":[`+strings.Repeat(" ", 1<<20)+`]}`)},
	"a small one that unpacks to 1": {pgtest.JWKSPath, "larger than 262144 bytes", packed},
	"a header of a megabyte":        {pgtest.JWKSPath, "exceeded", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }},
}

func send(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		fmt.Fprint(w, body)
	}
}

func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "100")
	fmt.Fprint(w, `{"keys":[`)
}

func packed(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(bytes.Repeat([]byte(" "), 1<<20))
	z.Close()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Write(b.Bytes())
}

// A provider that is down at the start is asked again, and until then its tokens are refused for that reason.
func TestRemoteStartsDuringAnOutage(t *testing.T) {
	p := pgtest.StartProvider(t)
	p.Instead(pgtest.DiscoveryPath, send("text/plain", "maintenance"))
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
	spec := discovering(t, p)
	spec.Interval = 10 * time.Millisecond
	r, seen := started(t, spec)
	if _, err := r.Keys("a"); err == nil || !strings.Contains(err.Error(), "not JSON") {
		t.Errorf("keys: %v", err)
	}
	seen.await(t, "failure", func(rep keyset.Report) bool { return rep.Err != nil && rep.Until.IsZero() })
	p.Instead(pgtest.DiscoveryPath, nil)
	eventually(t, "keys", func() bool { return verifies(t, r, signer("ES256", "a", ecKey())) })
}

func TestRemoteSpecs(t *testing.T) {
	good := keyset.RemoteSpec{Discovery: "https://id", Interval: 1, AskAgain: 1, StaleAfter: 1, Timeout: 1}
	for name, change := range map[string]func(*keyset.RemoteSpec){
		"either":        func(s *keyset.RemoteSpec) { s.JWKS = "https://id/jwks" },
		"is needed":     func(s *keyset.RemoteSpec) { s.Discovery = "" },
		"a secret":      func(s *keyset.RemoteSpec) { s.Algorithms = []string{"HS256"} },
		"mix":           func(s *keyset.RemoteSpec) { s.Algorithms = []string{"HS256", "ES256"} },
		"not supported": func(s *keyset.RemoteSpec) { s.Algorithms = []string{"none"} },
		"zero":          func(s *keyset.RemoteSpec) { s.Timeout = 0 },
		"too old":       func(s *keyset.RemoteSpec) { s.Interval = 2 },
		"https":         func(s *keyset.RemoteSpec) { s.Discovery = "id" },
	} {
		spec := good
		change(&spec)
		if _, err := keyset.NewRemote(spec); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := keyset.NewRemote(good)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := r.Keys("a"); err == nil {
		t.Error("a closed source has keys")
	}
	var _ token.KeySource = r
}

// Whatever a description says, its keys come from an https address that we would fetch.
func FuzzReadDiscovery(f *testing.F) {
	for _, seed := range []string{
		`{"issuer":"https://id","jwks_uri":"https://id/jwks"}`, `{"issuer":"https://id","jwks_uri":"http://127.0.0.1/"}`, `{"issuer":"https://id/"}`,
		`{"issuer":"https://id","issuer":"x","jwks_uri":"https://a@b"}`, `{"ISSUER":"https://id"}`, `[]`, `null`, ``, `{"issuer":null,"jwks_uri":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		address, err := keyset.ReadDiscovery(data, "https://id")
		if err != nil {
			return
		}
		if keyset.CheckURL(address) != nil || !strings.HasPrefix(address, "https:") {
			t.Errorf("%q gives %q", data, address)
		}
	})
}
