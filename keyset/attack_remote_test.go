package keyset_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/pgtest"
)

// TestAttackUnknownKIDStorm: the attacker sends tokens with kids that nobody knows, many at once, to make us hammer the issuer
// or hold all logins; the issuer is slow on top.
//
// Must: One fetch is all that he gets, few logins wait, all others are answered at once, and honest ones never wait.
func TestAttackUnknownKIDStorm(t *testing.T) {
	p := pgtest.StartProvider(t)
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
	r, err := keyset.NewRemote(discovering(t, p)) // no background work: what is counted is what logins cost
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.Fetched(t.Context())
	release := make(chan struct{})
	p.Instead(pgtest.JWKSPath, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	before := p.Hits(pgtest.JWKSPath)
	var all sync.WaitGroup
	var waited atomic.Int64
	for i := range 500 {
		all.Go(func() {
			began := time.Now()
			if keys, err := r.Keys(fmt.Sprint("made up ", i)); err != nil || len(keys) != 0 {
				t.Errorf("keys %v, %v", keys, err)
			}
			if time.Since(began) > 2*time.Second {
				waited.Add(1)
			}
			if time.Since(began) > 20*time.Second { // the fetch takes longer
				t.Errorf("waited %v", time.Since(began))
			}
		})
	}
	eventually(t, "the fetch", func() bool { return p.Hits(pgtest.JWKSPath) > before })
	began := time.Now()
	if !verifies(t, r, signer("ES256", "a", ecKey())) || time.Since(began) > 2*time.Second {
		t.Errorf("an honest token took %v", time.Since(began))
	}
	all.Wait()
	close(release)
	if n := waited.Load(); n > 32 {
		t.Errorf("%d logins waited", n)
	}
	for i := range 100 {
		if _, err := r.Keys(fmt.Sprint("another ", i)); err != nil {
			t.Error(err)
		}
	}
	if n := p.Hits(pgtest.JWKSPath) - before; n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAttackStormDuringAnOutage: the attacker's tokens meet an issuer that is down from the start.
//
// Must: They cost one fetch, too.
func TestAttackStormDuringAnOutage(t *testing.T) {
	p := pgtest.StartProvider(t)
	p.Instead(pgtest.DiscoveryPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	r, err := keyset.NewRemote(discovering(t, p)) // no background work: what is counted is what logins cost
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for range 100 {
		if _, err := r.Keys("a"); err == nil || !strings.Contains(err.Error(), "503") {
			t.Fatalf("keys: %v", err)
		}
	}
	if n := p.Hits(pgtest.DiscoveryPath); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAttackKeepARemovedKey: the attacker has stolen a key, the issuer has removed it, and the attacker keeps us from hearing
// of it.
//
// Must: That helps him until stale_after, and no longer; and not at all where we can reach the issuer.
func TestAttackKeepARemovedKey(t *testing.T) {
	p := pgtest.StartProvider(t)
	p.Publish(jwk(&ecKey().PublicKey, "stolen", "", ""))
	spec := discovering(t, p)
	spec.Interval, spec.StaleAfter = 10*time.Millisecond, 2*time.Second
	r, _ := started(t, spec)
	stolen := signer("ES256", "stolen", ecKey())
	eventually(t, "the start", func() bool { return verifies(t, r, stolen) })
	p.Instead(pgtest.JWKSPath, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	eventually(t, "the end of it", func() bool { return !verifies(t, r, stolen) })
	if _, err := r.Keys("stolen"); err == nil {
		t.Error("an outage looks like an unknown key")
	}
	p.Publish(jwk(edKey().Public(), "new", "", ""))
	p.Instead(pgtest.JWKSPath, nil)
	eventually(t, "the new key", func() bool { return verifies(t, r, signer("EdDSA", "new", edKey())) })
	if verifies(t, r, stolen) {
		t.Error("the stolen key works again")
	}
}

// TestAttackRedirectedKeys: the attacker controls another server, or the way to one, and gets the issuer's to send us there.
//
// Must: No redirect leads to another origin, and nothing is taken from there.
func TestAttackRedirectedKeys(t *testing.T) {
	evil, plain := pgtest.StartProvider(t), pgtest.StartPlainProvider(t)
	for _, other := range []*pgtest.Provider{evil, plain} {
		other.Publish(jwk(edKey().Public(), "evil", "", ""))
	}
	for name, to := range map[string]string{"another port": evil.URL + pgtest.JWKSPath, "http": plain.URL + pgtest.JWKSPath,
		"another host": "https://id.example.org/jwks", "a file": "file:///etc/passwd", "a password": "https://a:b@127.0.0.1/jwks"} {
		for _, path := range []string{pgtest.JWKSPath, pgtest.DiscoveryPath} {
			p := pgtest.StartProvider(t)
			p.Instead(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
			r, _ := started(t, discovering(t, p))
			if _, err := r.Keys("evil"); err == nil || !strings.Contains(err.Error(), "redirect") && !strings.Contains(err.Error(), "unsupported protocol") {
				t.Errorf("%s, for %s: %v", name, path, err)
			}
		}
	}
	if n := evil.Hits(pgtest.JWKSPath) + plain.Hits(pgtest.JWKSPath); n != 0 {
		t.Errorf("the other servers were asked %d times", n)
	}
}

// TestAttackDiscoveryOfAnother: the attacker's issuer describes itself as another, or the issuer's description names keys that
// cannot be believed.
//
// Must: Such a description is refused.
func TestAttackDiscoveryOfAnother(t *testing.T) {
	for want, document := range map[string]string{
		"that of the issuer \"https://id.example.com\"": `{"issuer":"https://id.example.com","jwks_uri":"URL/jwks"}`,
		"that of the issuer \"URL/\"":                   `{"issuer":"URL/","jwks_uri":"URL/jwks"}`,
		"that of the issuer \"url\"":                    `{"issuer":"url","jwks_uri":"URL/jwks"}`,
		`no "issuer"`:                                   `{"issuer":["URL"],"jwks_uri":"URL/jwks"}`,
		`no "jwks_uri"`:                                 `{"issuer":"URL","JWKS_URI":"URL/jwks"}`,
		"must begin with https":                         `{"issuer":"URL","jwks_uri":"http://id.example.com/jwks"}`,
		"is not https":                                  `{"issuer":"URL","jwks_uri":"http://127.0.0.1/jwks"}`,
		`"jwks_uri" "file:///etc/passwd"`:               `{"issuer":"URL","jwks_uri":"file:///etc/passwd"}`,
		"no user and no password":                       `{"issuer":"URL","jwks_uri":"https://a:b@id.example.com/jwks"}`,
	} {
		p := pgtest.StartProvider(t)
		p.Publish(jwk(edKey().Public(), "evil", "", ""))
		p.Instead(pgtest.DiscoveryPath, send("application/json", strings.ReplaceAll(document, "URL", p.URL)))
		r, _ := started(t, discovering(t, p))
		if _, err := r.Keys("evil"); err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "URL", p.URL)) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestAttackInTheMiddle: the attacker stands in the way to the issuer, with a certificate of his own.
//
// Must: No key of his is taken.
func TestAttackInTheMiddle(t *testing.T) {
	p, other := pgtest.StartProvider(t), pgtest.StartProvider(t)
	p.Publish(jwk(edKey().Public(), "evil", "", ""))
	spec := discovering(t, p)
	for name, roots := range map[string]*x509.CertPool{"the authorities of the system": nil, "another authority": discovering(t, other).Roots} {
		spec.Roots = roots
		r, _ := started(t, spec)
		if _, err := r.Keys("evil"); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, good := range map[string]bool{
		"https://id.example.com/jwks": true, "https://id.example.com:8443/a/b?c=d": true, "http://127.0.0.1:80/jwks": true, "http://localhost/jwks": true, "http://[::1]/": true,
		"http://id.example.com/jwks": false, "http://127.0.0.1.example.com/": false, "http://localhost.example.com/": false, "http://0.0.0.0/": false, "http://10.0.0.1/": false,
		"HTTPS://id.example.com/": true, "ftp://id.example.com/": false, "id.example.com/jwks": false, "https:///jwks": false, "https:id.example.com": false,
		"https://user@id.example.com/": false, "https://id.example.com/#x": false, "": false, "https://id example.com/": false, "//id.example.com/": false,
	} {
		if err := keyset.CheckURL(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestAttackKeysWithoutAuthority: the attacker can change what the issuer's web server publishes, but not what its authority
// signs: he puts a key of his own beside, or under, certificates that are not for it.
//
// Must: Only a key with the certificate of the authority for it is taken.
func TestAttackKeysWithoutAuthority(t *testing.T) {
	ca, other := pgtest.NewCA(t), pgtest.NewCA(t)
	good, his := ca.Server(t, "issuer"), other.Server(t, "issuer")
	key := func(c *pgtest.Cert) *ecdsa.PrivateKey { return c.TLS.PrivateKey.(*ecdsa.PrivateKey) }
	entry := func(kid string, public *ecdsa.PublicKey, chain ...[]byte) string {
		text := strings.TrimSuffix(jwk(public, kid, "", "sig"), "}")
		var list []string
		for _, der := range chain {
			list = append(list, `"`+base64.StdEncoding.EncodeToString(der)+`"`)
		}
		return text + `,"x5c":[` + strings.Join(list, ",") + `]}`
	}
	short := must(x509.ParseCertificate(good.TLS.Certificate[0]))
	expired := func() []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
		return must(x509.CreateCertificate(rand.Reader, template, template, &key(good).PublicKey, key(good)))
	}
	p := pgtest.StartProvider(t)
	p.Publish(
		entry("good", &key(good).PublicKey, good.TLS.Certificate[0]),
		entry("other authority", &key(his).PublicKey, his.TLS.Certificate[0]),
		entry("borrowed", &key(his).PublicKey, good.TLS.Certificate[0]),
		entry("expired", &key(good).PublicKey, expired()),
		entry("broken", &key(good).PublicKey, []byte("x")),
		jwk(&key(his).PublicKey, "bare", "", "sig"),
	)
	spec := discovering(t, p)
	spec.Authorities = ca.Pool
	r, seen := started(t, spec)
	keys, err := r.Keys("")
	if err != nil || len(keys) != 1 || keys[0].ID != "good" || !keys[0].NotAfter.Equal(short.NotAfter) {
		t.Errorf("keys %v, %v", keys, err)
	}
	seen.await(t, "why not", func(rep keyset.Report) bool { return len(rep.Skipped) == 5 })
	for _, s := range seen.list[0].Skipped {
		if !strings.Contains(s.Reason, "certificate") && !strings.Contains(s.Reason, "x5c") {
			t.Errorf("%s: %s", s.KID, s.Reason)
		}
	}
}

// TestAttackPastTheProxy: the attacker waits for requests to the issuer that go past the proxy which the environment names; or
// he is that proxy.
//
// Must: Where the environment names a proxy, nothing goes past it; and the proxy, which is not the issuer, sees only TLS. The
// environment counts from the start of a program, so this runs in a process of its own.
func TestAttackPastTheProxy(t *testing.T) {
	if where := os.Getenv("KEYSET_TEST_DISCOVERY"); where != "" {
		p := &pgtest.Provider{URL: where, CAFile: os.Getenv("KEYSET_TEST_CA")}
		r, _ := started(t, discovering(t, p))
		if keys, err := r.Keys("a"); err != nil || len(keys) != 1 {
			t.Errorf("keys %v, %v", keys, err)
		}
		return
	}
	p := pgtest.StartProvider(t)
	p.Publish(jwk(&ecKey().PublicKey, "a", "", ""))
	p.Instead(pgtest.DiscoveryPath, send("application/json", `{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/jwks"}`))
	var connects []string
	var mu sync.Mutex
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connects = append(connects, r.Method+" "+r.Host)
		mu.Unlock()
		tunnel(t, w, strings.TrimPrefix(p.URL, "https://"))
	})}
	go proxy.Serve(l)
	t.Cleanup(func() { proxy.Close() })
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAttackPastTheProxy$")
	cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://"+l.Addr().String(), "NO_PROXY=",
		"KEYSET_TEST_DISCOVERY=https://id.example.com", "KEYSET_TEST_CA="+p.CAFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(connects, ", "); got != "CONNECT id.example.com:443, CONNECT id.example.com:443" {
		t.Errorf("the proxy was asked for %s", got)
	}
}

// tunnel answers CONNECT with a connection to an address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	out, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	in, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer in.Close()
	fmt.Fprint(in, "HTTP/1.1 200 OK\r\n\r\n")
	go func(r *bufio.Reader) { io.Copy(out, r); out.Close() }(buffered.Reader)
	io.Copy(in, out)
}
