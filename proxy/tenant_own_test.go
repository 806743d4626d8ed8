package proxy

import (
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// What the claims of a certificate say is not what an issuer says of a tenant.
func TestCertificatesAreNoTokens(t *testing.T) {
	tenants := Tenants{Databases: map[string]string{"abc": "app"}, Claim: "tenant"}
	id := claimpool.NewIdentity(claimpool.MethodCert, "", "ann", "web", claimpool.Claims(`{"tenant":"abc"}`), nil, time.Time{})
	if name, bound := tenants.ownDatabase(id); !bound || name != "app" {
		t.Errorf("with a token beside the certificate: %q %t", name, bound)
	}
	id.Proof.Login = true
	if name, bound := tenants.ownDatabase(id); bound {
		t.Errorf("bound to %q", name)
	}
}
