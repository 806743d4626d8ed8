package scram_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	xdg "github.com/xdg-go/scram"

	"github.com/claimpool/claimpool/scram"
)

// oracleServer is a server of xdg-go/scram that knows one password.
func oracleServer(t testing.TB, password, salt string, iterations int) *xdg.Server {
	t.Helper()
	c, err := xdg.SHA256.NewClient("", password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := c.GetStoredCredentialsWithError(xdg.KeyFactors{Salt: salt, Iters: iterations})
	if err != nil {
		t.Fatal(err)
	}
	s, err := xdg.SHA256.NewServer(func(string) (xdg.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var oracleBinding = xdg.ChannelBinding{Type: xdg.ChannelBindingTLSServerEndpoint, Data: binding[scram.TLSServerEndPoint]}

// passwords are some for which the two libraries must come to the same keys.
var passwords = []string{
	"pencil", "with space", "ümläut", "I\u00adX", "\u00aa", "\u2168", "non\u00a0breaking", "日本語のパスワード", "a,b=c", "e\u0301",
}

// TestProverAgainstOracle logs in to xdg-go/scram.
func TestProverAgainstOracle(t *testing.T) {
	for _, password := range passwords {
		for _, plus := range []bool{false, true} {
			server := oracleServer(t, password, "saltsalt", 4096)
			conv, mech, b := server.NewConversation(), scram.Mechanism, (*scram.Binding)(nil)
			if plus {
				conv = server.NewConversationWithChannelBindingRequired(oracleBinding)
				mech, b = scram.MechanismPlus, &scram.Binding{Type: scram.TLSServerEndPoint, Data: oracleBinding.Data}
			}
			p := prover(t, password, mech, b)
			first, err := p.First()
			if err != nil {
				t.Fatal(err)
			}
			m, err := conv.Step(string(first))
			if err != nil {
				t.Fatalf("%q: oracle: %v", password, err)
			}
			final, err := p.Final([]byte(m))
			if err != nil {
				t.Fatalf("%q: %v", password, err)
			}
			if m, err = conv.Step(string(final)); err != nil || !conv.Valid() {
				t.Fatalf("%q, plus %v: the oracle refuses: %v", password, plus, err)
			}
			if err := p.Verify([]byte(m)); err != nil || !p.Done() {
				t.Errorf("%q, plus %v: %v", password, plus, err)
			}
		}
	}
}

// TestAskerAgainstOracle lets xdg-go/scram log in to us, user name and all.
func TestAskerAgainstOracle(t *testing.T) {
	for _, password := range passwords {
		for _, plus := range []bool{false, true} {
			client, err := xdg.SHA256.NewClient("some=user,name", password, "")
			if err != nil {
				t.Fatal(err)
			}
			conv, mech, bindings := client.NewConversation(), scram.Mechanism, map[string][]byte(nil)
			if plus {
				conv, mech, bindings = client.NewConversationWithChannelBinding(oracleBinding), scram.MechanismPlus, binding
			}
			v, err := scram.NewVerifier([]byte(password), []byte("saltsalt"), 4096)
			if err != nil {
				t.Fatal(err)
			}
			a, err := scram.NewAsker(v, rfcServerNonce, mech, bindings)
			if err != nil {
				t.Fatal(err)
			}
			m, err := conv.Step("")
			if err != nil {
				t.Fatal(err)
			}
			first, err := a.First([]byte(m))
			if err != nil {
				t.Fatalf("%q: %v", password, err)
			}
			if m, err = conv.Step(string(first)); err != nil {
				t.Fatalf("%q: oracle: %v", password, err)
			}
			final, err := a.Final([]byte(m))
			if err != nil {
				t.Fatalf("%q, plus %v: %v", password, plus, err)
			}
			if _, err := conv.Step(string(final)); err != nil || !conv.Valid() {
				t.Errorf("%q, plus %v: the oracle refuses: %v", password, plus, err)
			}
		}
	}
}

// TestServerEndPoint compares the binding of certificates with the oracle's, and with the hash itself.
func TestServerEndPoint(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		key  crypto.Signer
		alg  x509.SignatureAlgorithm
		want func([]byte) []byte
	}{
		{"SHA-256", p256, x509.ECDSAWithSHA256, func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
		{"SHA-384", p256, x509.ECDSAWithSHA384, func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
		{"SHA-512", p256, x509.ECDSAWithSHA512, func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
		{"Ed25519 has no hash", ed, x509.PureEd25519, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, SignatureAlgorithm: tt.alg,
				NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, tt.key.Public(), tt.key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := scram.ServerEndPoint(der)
			if tt.want == nil {
				if err == nil {
					t.Error("accepted")
				}
				return
			}
			if err != nil || string(got) != string(tt.want(der)) {
				t.Fatalf("got %x, %v", got, err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := xdg.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}})
			if err != nil || string(ref.Data) != string(got) {
				t.Errorf("oracle %x, %v", ref.Data, err)
			}
		})
	}
	if _, err := scram.ServerEndPoint([]byte("no certificate")); err == nil {
		t.Error("garbage accepted")
	}
}
