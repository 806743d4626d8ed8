package keyset

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/token"
)

// certified holds that a key comes with a chain of certificates ("x5c", RFC 7517, section 4.7) that leads to one of the
// authorities, and that the first one is the key's. The key lives as long as its certificate.
func certified(key *token.Key, jwk *jose.JSONWebKey, authorities *x509.CertPool, now time.Time) error {
	if len(jwk.Certificates) == 0 {
		return errors.New(`the key has no certificate ("x5c"), and one of an authority is asked for`)
	}
	leaf, between := jwk.Certificates[0], x509.NewCertPool()
	for _, cert := range jwk.Certificates[1:] {
		between.AddCert(cert)
	}
	if public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public) {
		return errors.New("the key's certificate is that of another key")
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("the key's certificate is not meant for signatures")
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("the key's certificate is not good: %w", err)
	}
	key.NotBefore, key.NotAfter = leaf.NotBefore, leaf.NotAfter
	return nil
}
