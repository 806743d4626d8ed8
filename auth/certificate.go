package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/claimpool/claimpool"
)

// CertName says which name in a client's certificate is its user.
type CertName string

// The names of a certificate. One may have several addresses, hosts or URIs: any may match.
const (
	CertCN    CertName = ""      // the common name of the subject
	CertDN    CertName = "dn"    // the whole subject (RFC 2253)
	CertEmail CertName = "email" // an e-mail address among the subject alternative names
	CertDNS   CertName = "dns"   // a host name there
	CertURI   CertName = "uri"   // a URI there, such as a SPIFFE id
)

// ClientCert says what a rule asks of a client's certificate beside its method (clientcert in pg_hba.conf).
type ClientCert string

// What a rule may ask.
const (
	ClientCertNone ClientCert = ""
	ClientCertCA   ClientCert = "verify-ca"   // one that an authority of ours has signed
	ClientCertFull ClientCert = "verify-full" // one that also names the user
)

// leaf is the client's certificate, if it has one that an authority of ours has signed. crypto/tls has verified it, but a session
// that is resumed may be older than its end.
func (x *exchange) leaf() (*x509.Certificate, error) {
	if x.req.TLS == nil || len(x.req.TLS.VerifiedChains) == 0 || len(x.req.TLS.VerifiedChains[0]) == 0 {
		return nil, &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: "connection requires a valid client certificate",
			Hint: "Connect with TLS and a certificate, for instance with sslcert and sslkey.",
		}
	}
	leaf := x.req.TLS.VerifiedChains[0][0]
	if now := x.auth.clock(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return nil, errors.New("the certificate is out of its time")
	}
	return leaf, nil
}

// names are the names of a certificate that count. An empty one never does.
func (n CertName) names(c *x509.Certificate) []string {
	switch n {
	case CertCN:
		return []string{c.Subject.CommonName}
	case CertDN:
		return []string{c.Subject.String()}
	case CertEmail:
		return c.EmailAddresses
	case CertDNS:
		return c.DNSNames
	case CertURI:
		list := make([]string, len(c.URIs))
		for i, u := range c.URIs {
			list[i] = u.String()
		}
		return list
	}
	return nil
}

// named finds the name of a certificate that may be the requested user.
func (x *exchange) named(c *x509.Certificate) (string, error) {
	for _, name := range x.rule.CertName.names(c) {
		if name != "" && x.rule.Map.allows(name, x.req.User) {
			return name, nil
		}
	}
	return "", fmt.Errorf("no name of the certificate %q may be the user", c.Subject.String())
}

// certified asks for the certificate that the rule wants beside its method.
func (x *exchange) certified() error {
	if x.rule.ClientCert == ClientCertNone {
		return nil
	}
	leaf, err := x.leaf()
	if err == nil && x.rule.ClientCert == ClientCertFull {
		_, err = x.named(leaf)
	}
	return err
}

// certificate takes the client's certificate for its proof: whoever has come this far with TLS holds its key.
func (x *exchange) certificate() (*claimpool.Identity, error) {
	leaf, err := x.leaf()
	if err != nil {
		return nil, err
	}
	name, err := x.named(leaf)
	if err != nil {
		return nil, err
	}
	role, err := x.role()
	if err != nil {
		return nil, err
	}
	var claims claimpool.Claims
	var fingerprint []byte
	if x.rule.CertClaims {
		if claims, fingerprint, err = certClaims(leaf, name); err != nil {
			return nil, err
		}
	}
	return claimpool.NewIdentity(claimpool.MethodCert, "", name, role, claims, fingerprint, leaf.NotAfter), nil
}

// certNames are the claims of a certificate that say who its holder is.
type certNames struct {
	Issuer  string   `json:"iss"` // the distinguished name of the authority
	Subject string   `json:"sub"` // the name that has matched
	DN      string   `json:"dn"`
	CN      string   `json:"cn,omitempty"`
	Unit    []string `json:"ou,omitempty"`
	Org     []string `json:"o,omitempty"`
	Email   []string `json:"email,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	URI     []string `json:"uri,omitempty"`
}

// certClaims makes claims of a certificate. The fingerprint leaves out what a renewed certificate has anew.
func certClaims(c *x509.Certificate, name string) (claims claimpool.Claims, fingerprint []byte, err error) {
	names := certNames{
		Issuer: c.Issuer.String(), Subject: name, DN: c.Subject.String(), CN: c.Subject.CommonName, Unit: c.Subject.OrganizationalUnit,
		Org: c.Subject.Organization, Email: c.EmailAddresses, DNS: c.DNSNames, URI: CertURI.names(c),
	}
	sum := sha256.Sum256(c.Raw)
	all := struct {
		certNames
		NotBefore    int64             `json:"nbf"`
		Expires      int64             `json:"exp"`
		Confirmation map[string]string `json:"cnf"` // RFC 8705, section 3.1
	}{names, c.NotBefore.Unix(), c.NotAfter.Unix(), map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}}
	if fingerprint, err = json.Marshal(names); err == nil {
		claims, err = json.Marshal(all)
	}
	return claims, fingerprint, err
}
