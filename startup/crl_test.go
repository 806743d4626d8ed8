package startup_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/startup"
)

var crlTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// authority signs certificates and lists.
type authority struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate; issuer nil signs itself.
func issue(t *testing.T, name string, serial int64, issuer *authority, usage x509.KeyUsage) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, KeyUsage: usage, IsCA: usage&x509.KeyUsageCertSign != 0,
		BasicConstraintsValid: true, NotBefore: crlTime.Add(-time.Hour), NotAfter: crlTime.Add(time.Hour),
	}
	if issuer == nil {
		issuer = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// list is an authority's list of revoked serial numbers, good from an hour ago for so long.
func (a *authority) list(t *testing.T, good time.Duration, change func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: crlTime.Add(-time.Hour), NextUpdate: crlTime.Add(good)}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: crlTime})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

const signsAll = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

// TestAttackRevokedCertificate: the attacker has the key of a certificate that was taken back, or whose authority was. He hopes for a list
// that has ended, that is another authority's of the same name, or that is missing.
//
// Must: He is refused unless a list that is good now, of each issuer and signed by it, does not name the certificate.
func TestAttackRevokedCertificate(t *testing.T) {
	root, twin := issue(t, "root", 1, nil, signsAll), issue(t, "root", 1, nil, signsAll)
	between := issue(t, "between", 2, root, signsAll)
	ann, eve := issue(t, "ann", 3, between, x509.KeyUsageDigitalSignature), issue(t, "eve", 4, between, x509.KeyUsageDigitalSignature)
	mute := issue(t, "mute", 5, nil, x509.KeyUsageCertSign) // may not sign lists
	ben := issue(t, "ben", 6, mute, x509.KeyUsageDigitalSignature)
	far := time.Hour
	muteList := (&authority{&x509.Certificate{Subject: mute.Subject, RawSubject: mute.RawSubject, SubjectKeyId: []byte{1}, KeyUsage: signsAll, PublicKey: mute.PublicKey}, mute.key}).list(t, far, nil)
	annsChain := []*x509.Certificate{ann.Certificate, between.Certificate, root.Certificate}
	for _, test := range []struct {
		name  string
		lists [][]byte
		chain []*x509.Certificate
		want  string // what is wrong; "" is nothing
	}{
		{"nobody is revoked", [][]byte{root.list(t, far, nil), between.list(t, far, nil)}, annsChain, ""},
		{"somebody else is", [][]byte{root.list(t, far, nil, 99), between.list(t, far, nil, 4)}, annsChain, ""},
		{"it is", [][]byte{root.list(t, far, nil), between.list(t, far, nil, 4)}, []*x509.Certificate{eve.Certificate, between.Certificate, root.Certificate}, "revoked the certificate with the serial number 4"},
		{"its authority is", [][]byte{root.list(t, far, nil, 2), between.list(t, far, nil)}, annsChain, "serial number 2"},
		{"the same number of another issuer is", [][]byte{root.list(t, far, nil, 3), between.list(t, far, nil)}, annsChain, ""},
		{"the list has ended", [][]byte{root.list(t, far, nil), between.list(t, 0, nil)}, annsChain, "is not good now"},
		{"the list has ended and names it", [][]byte{root.list(t, far, nil), between.list(t, 0, nil, 3)}, annsChain, "serial number 3"},
		{"an old list names it, and a new one does not", [][]byte{root.list(t, far, nil), between.list(t, 0, nil, 3), between.list(t, far, nil)}, annsChain, "serial number 3"},
		{"an old list and a new one", [][]byte{root.list(t, far, nil), between.list(t, 0, nil), between.list(t, far, nil)}, annsChain, ""},
		{"the list is of tomorrow", [][]byte{root.list(t, far, nil), between.list(t, far, func(l *x509.RevocationList) { l.ThisUpdate = crlTime.Add(time.Minute) })}, annsChain, "is not good now"},
		{"no list of its issuer", [][]byte{root.list(t, far, nil)}, annsChain, `no list of revoked certificates of "CN=between"`},
		{"no list of the issuer's issuer", [][]byte{between.list(t, far, nil)}, annsChain, `no list of revoked certificates of "CN=root"`},
		{"a list of another authority of the same name", [][]byte{twin.list(t, far, nil), between.list(t, far, nil)}, annsChain, `no list of revoked certificates of "CN=root"`},
		{"an issuer that may not sign lists", [][]byte{muteList}, []*x509.Certificate{ben.Certificate, mute.Certificate}, `no list of revoked certificates of "CN=mute"`},
		{"trusted itself, without a list", [][]byte{between.list(t, far, nil)}, []*x509.Certificate{ann.Certificate}, "no list"},
		{"an authority itself, with its list", [][]byte{root.list(t, far, nil)}, []*x509.Certificate{root.Certificate}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			crls, err := startup.ParseCRLs(bytes.Join(test.lists, nil))
			if err != nil {
				t.Fatal(err)
			}
			err = crls.Verify(tls.ConnectionState{PeerCertificates: test.chain, VerifiedChains: [][]*x509.Certificate{test.chain}}, crlTime)
			if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, startup.ErrCertificate) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	crls, err := startup.ParseCRLs(root.list(t, far, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := crls.Verify(tls.ConnectionState{}, crlTime); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if err := crls.Verify(tls.ConnectionState{PeerCertificates: annsChain}, crlTime); err == nil {
		t.Error("a certificate that nobody has verified is taken")
	}
}

// A file of which a part is not understood is not taken: that part may be what revokes the attacker.
func TestParseCRLs(t *testing.T) {
	root := issue(t, "root", 1, nil, signsAll)
	good := root.list(t, time.Hour, nil, 3)
	extension := func(id asn1.ObjectIdentifier) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: true, Value: []byte{5, 0}}}
		}
	}
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"two lists":         {append(bytes.Clone(good), good...), ""},
		"with words around": {append([]byte("of the authority\n"), good...), ""},
		"nothing":           {nil, "no list"},
		"no PEM":            {[]byte("x"), "no list"},
		"a certificate":     {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), `it holds "CERTIFICATE"`},
		"a certificate too": {append(bytes.Clone(good), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...), "list"},
		"half a list":       {append(bytes.Clone(good), good[:len(good)/2]...), "1 of its 2 lists are not PEM"},
		"damaged":           {pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}), "cannot be read"},
		"a delta":           {root.list(t, time.Hour, extension(asn1.ObjectIdentifier{2, 5, 29, 27})), "critical extension 2.5.29.27"},
		"a part":            {root.list(t, time.Hour, extension(asn1.ObjectIdentifier{2, 5, 29, 28})), "critical extension 2.5.29.28"},
		"an entry of another authority": {root.list(t, time.Hour, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(9), RevocationTime: crlTime,
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{5, 0}}}}}
		}), "critical extension 2.5.29.29"},
	} {
		if _, err := startup.ParseCRLs(test.text); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseCRLs: whatever is in the file, it is taken or refused, and a certificate is checked against it without a panic.
func FuzzParseCRLs(f *testing.F) {
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		crls, err := startup.ParseCRLs(text)
		if err != nil {
			return
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(1)}
		chain := []*x509.Certificate{cert}
		if crls.Verify(tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}, crlTime) == nil {
			t.Error("taken")
		}
	})
}
