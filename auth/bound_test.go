package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// TestAttackTokenOfACertificate: the attacker has stolen a token that is bound to its owner's certificate (RFC 8705), and has a good certificate of his
// own. He brings it with that, without one, as the context of an application, and in place of his own in a running session.
//
// Must: It is a wrong password to whoever has not shown this certificate in TLS, verified, and within its time.
func TestAttackTokenOfACertificate(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{From: token.RoleFixed, Value: "app"})
	mine, other := holder(t, nil), holder(t, nil)
	old := holder(t, func(c *x509.Certificate) { c.NotAfter = epoch.Add(-time.Minute) })
	bound := func(c *x509.Certificate) string {
		hash := sha256.Sum256(c.Raw)
		return iss.mint(t, "anna", `,"cnf":{"x5t#S256":"`+base64.RawURLEncoding.EncodeToString(hash[:])+`"}`)
	}
	rule := Rule{Name: "people", Method: claimpool.MethodJWT, Issuers: iss.set}
	a := newAuth(t, rule)
	der, _ := certificate(t)
	for _, test := range []struct {
		name  string
		req   Request
		token string
		ok    bool
	}{
		{"its owner", with("anna", mine, true), bound(mine), true},
		{"with another certificate", with("anna", other, true), bound(mine), false},
		{"with its own, which no authority has signed", with("anna", mine, false), bound(mine), false},
		{"with its own, too late", with("anna", old, true), bound(old), false},
		{"without a certificate", overTLS("anna", der), bound(mine), false},
		{"on a unix socket", overUnix("anna"), bound(mine), false},
		{"a bearer token, with a certificate", with("anna", other, true), iss.mint(t, "anna", ""), true},
	} {
		id, err := a.Authenticate(t.Context(), test.req, sends(test.token))
		if !test.ok {
			refused(t, err, claimpool.CodeInvalidPassword, "")
		} else if err != nil || id.Subject != "anna" {
			t.Errorf("%s: %v", test.name, err)
		}
	}

	owner, err := a.Authenticate(t.Context(), with("anna", mine, true), sends(bound(mine)))
	if err != nil {
		t.Fatal(err)
	}
	bearer, err := a.Authenticate(t.Context(), with("anna", other, true), sends(iss.mint(t, "anna", "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		id    *claimpool.Identity
		fresh string
		ok    bool
	}{
		{"its owner's next one", owner, bound(mine), true},
		{"another's", owner, bound(other), false},
		{"into a session without one", bearer, bound(mine), false},
		{"a bearer token after a bound one", owner, iss.mint(t, "anna", ""), true},
	} {
		next, err := a.Renew(test.id, Request{Database: "app"}, claimpool.Secret(test.fresh), unnoticed)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.ok && next.Proof.Certificate != nil {
			if _, err := a.Renew(next, Request{Database: "app"}, claimpool.Secret(bound(mine)), unnoticed); err != nil {
				t.Errorf("%s, and then bound again: %v", test.name, err)
			}
		}
	}

	app := newAuth(t, Rule{Name: "app", Method: claimpool.MethodSCRAM, Userlist: list(t), Contexts: iss.set})
	_, err = app.Authenticate(t.Context(), brought(with("anna", other, true), bound(mine)), sendsSCRAM("correct", nil))
	refused(t, err, claimpool.CodeInvalidAuthorization, "")
	if _, err = app.Authenticate(t.Context(), brought(with("anna", mine, true), bound(mine)), sendsSCRAM("correct", nil)); err != nil {
		t.Errorf("an application that the token is bound to: %v", err)
	}
}
