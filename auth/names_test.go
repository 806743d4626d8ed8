package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/url"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// holder is a client's certificate as crypto/tls hands it on.
func holder(t testing.TB, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse("spiffe://example.com/shop")
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "anna", Organization: []string{"Example"}}, NotBefore: epoch.Add(-time.Hour),
		NotAfter: epoch.Add(time.Hour), EmailAddresses: []string{"anna@example.com", "a@example.org"}, DNSNames: []string{"shop.example.com"}, URIs: []*url.URL{uri},
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// with is a client that has shown a certificate; verified says whether an authority of ours has signed it.
func with(user string, c *x509.Certificate, verified bool) Request {
	r := overTCP(user)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{c}}
	if verified {
		r.TLS.VerifiedChains = [][]*x509.Certificate{{c}}
	}
	return r
}

func mapped(t testing.TB, lines ...string) *UserMap {
	t.Helper()
	m := new(UserMap)
	for i := 0; i < len(lines); i += 2 {
		if err := m.Add(lines[i], lines[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestCertificates(t *testing.T) {
	anna := holder(t, nil)
	staff := mapped(t, `/^(.*)@example\.com$`, `\1`, "spiffe://example.com/shop", "shop")
	for _, test := range []struct {
		name, user, subject string
		rule                Rule
	}{
		{"common name", "anna", "anna", Rule{}},
		{"whole subject", "CN=anna,O=Example", "CN=anna,O=Example", Rule{CertName: CertDN}},
		{"second address", "a@example.org", "a@example.org", Rule{CertName: CertEmail}},
		{"host", "shop.example.com", "shop.example.com", Rule{CertName: CertDNS}},
		{"address, mapped", "anna", "anna@example.com", Rule{CertName: CertEmail, Map: staff}},
		{"URI, mapped", "shop", "spiffe://example.com/shop", Rule{CertName: CertURI, Map: staff}},
		{"somebody else", "bert", "", Rule{}},
		{"another case", "Anna", "", Rule{}},
		{"an address of another domain, mapped", "a", "", Rule{CertName: CertEmail, Map: staff}},
		{"an empty map", "anna", "", Rule{Map: new(UserMap)}},
	} {
		test.rule.Method = claimpool.MethodCert
		id, err := newAuth(t, test.rule).Authenticate(t.Context(), with(test.user, anna, true), new(client))
		if test.subject == "" {
			refused(t, err, claimpool.CodeInvalidAuthorization, `certificate authentication failed for user "`+test.user+`"`)
			continue
		}
		if err != nil || id.Subject != test.subject || id.Role != test.user || id.Claims != nil || !id.Expires.Equal(anna.NotAfter) {
			t.Errorf("%s: %+v %v", test.name, id, err)
		}
	}
}

func TestClaimsOfCertificates(t *testing.T) {
	login := func(c *x509.Certificate) *claimpool.Identity {
		id, err := newAuth(t, Rule{Method: claimpool.MethodCert, CertClaims: true}).Authenticate(t.Context(), with("anna", c, true), new(client))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := login(holder(t, nil))
	var claims map[string]any
	if err := json.Unmarshal(id.Claims, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "anna" || claims["iss"] != "CN=anna,O=Example" || claims["exp"] != float64(epoch.Unix()+3600) || len(claims["email"].([]any)) != 2 {
		t.Errorf("%v", claims)
	}
	renewed := login(holder(t, func(c *x509.Certificate) { c.SerialNumber, c.NotAfter = big.NewInt(2), epoch.Add(2*time.Hour) }))
	if renewed.Key() != id.Key() {
		t.Error("a renewed certificate is another identity")
	}
	if login(holder(t, func(c *x509.Certificate) { c.DNSNames = nil })).Key() == id.Key() {
		t.Error("other names are the same identity")
	}
}

// TestAttackCertificate: the attacker has a certificate, but not one that counts.
//
// Must: He is not let in, whatever the method beside it: not signed by our authorities, out of its time, on a session older than its end,
// with an empty name, or with the user's name in a place that the rule does not look at.
// Dialects: none
func TestAttackCertificate(t *testing.T) {
	good := holder(t, nil)
	nobody := holder(t, func(c *x509.Certificate) { c.Subject.CommonName = "" })
	for _, test := range []struct {
		name string
		req  Request
	}{
		{"not verified", with("anna", good, false)},
		{"none", overTLS("anna", nil)},
		{"without TLS", overTCP("anna")},
		{"a unix socket", overUnix("anna")},
		{"expired", with("anna", holder(t, func(c *x509.Certificate) { c.NotAfter = epoch.Add(-time.Second) }), true)},
		{"not yet valid", with("anna", holder(t, func(c *x509.Certificate) { c.NotBefore = epoch.Add(time.Second) }), true)},
		{"the name is elsewhere", with("shop.example.com", good, true)},
		{"part of the name", with("ann", good, true)},
		{"more than the name", with("anna\x00", good, true)},
		{"no name", with("anna", nobody, true)},
	} {
		for _, rule := range []Rule{
			{Method: claimpool.MethodCert},
			{Method: claimpool.MethodTrust, ClientCert: ClientCertFull},
			{Method: claimpool.MethodSCRAM, ClientCert: ClientCertFull, Userlist: parse(t, `"anna" "correct" `)},
		} {
			c := new(client)
			if id, err := newAuth(t, rule).Authenticate(t.Context(), test.req, c); err == nil || len(c.sent) > 0 {
				t.Errorf("%s, %s: %v, was sent %q", test.name, rule.Method, id, c.sent)
			}
		}
	}
	if _, err := newAuth(t, Rule{Method: claimpool.MethodSCRAM, ClientCert: ClientCertCA, Userlist: parse(t, `"bert" "correct"`)}).
		Authenticate(t.Context(), with("bert", good, true), sendsSCRAM("correct", nil)); err != nil {
		t.Errorf("verify-ca with another name: %v", err)
	}
}

func TestUserMaps(t *testing.T) {
	m := mapped(t, "root", "admin", `/^(\w+)\.(\w+)$`, `\1`, `/^.*@ops$`, "ops", `/^(x?)y$`, `\1`)
	for _, test := range []struct {
		name, user string
		want       bool
	}{
		{"root", "admin", true}, {"root", "root", false}, {"anna.b", "anna", true}, {"anna.b", "b", false}, {"a@ops", "ops", true},
		{"a@ops\nx", "ops", false}, {"a@opsx", "ops", false}, {"y", "", false}, {"xy", "x", true}, {"", "admin", false},
	} {
		if got := m.allows(test.name, test.user); got != test.want {
			t.Errorf("%q as %q: %v", test.name, test.user, got)
		}
	}
	for _, line := range [][2]string{{"/a", "x"}, {"/^a", "x"}, {"/a$", "x"}, {`/^a\$`, "x"}, {"/^($", "x"}, {"", "x"}, {"a", ""}, {"a", `\1`}, {"/^a$", `\1`}} {
		if err := new(UserMap).Add(line[0], line[1]); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// TestAttackPeer: somebody who is not the user of this machine that he says.
//
// Must: He is refused: over the network, with a load balancer's header, when the system does not say who he is, and as another user.
// Dialects: none
func TestAttackPeer(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	rule := Rule{Method: claimpool.MethodPeer, TLS: TLSLocal, Map: mapped(t, me.Username, "admin")}
	uid := uint32(os.Getuid())
	mine, other, unknown := overUnix("admin"), uid+1, uint32(4_000_000_000)
	mine.Peer = &uid
	w := &waiter{client: new(client)}
	id, err := newAuth(t, rule).Authenticate(t.Context(), mine, w)
	if err != nil || w.told != 1 || w.waits != 0 { // the system may have to ask a directory for the name
		t.Fatalf("told of %d waits, and %d wait on (%v)", w.told, w.waits, err)
	}
	if id.Subject != me.Username || id.Role != "admin" || id.Method != claimpool.MethodPeer {
		t.Fatalf("%+v", id)
	}
	for name, change := range map[string]func(*Request){
		"another user asked for": func(r *Request) { r.User = me.Username },
		"nobody knows who":       func(r *Request) { r.Peer = nil },
		"another user":           func(r *Request) { r.Peer = &other },
		"a number without name":  func(r *Request) { r.Peer = &unknown },
		"over the network":       func(r *Request) { r.Unix, r.Addr = false, overLoopback("").Addr },
	} {
		req := mine
		change(&req)
		_, err := newAuth(t, rule).Authenticate(t.Context(), req, new(client))
		refused(t, err, claimpool.CodeInvalidAuthorization, "")
		if err != nil && name != "over the network" && !strings.Contains(err.Error(), "Peer authentication failed for user") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Rules: []Rule{{Method: claimpool.MethodPeer, TLS: TLSAny}}}); err == nil {
		t.Error("a rule with peer for the network was taken")
	}
}
