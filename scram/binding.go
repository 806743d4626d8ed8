package scram

import (
	"crypto"
	_ "crypto/sha256" // for ServerEndPoint
	_ "crypto/sha512" // for ServerEndPoint
	"crypto/x509"
	"errors"
	"fmt"
)

// Types of channel bindings.
const (
	TLSServerEndPoint = "tls-server-end-point" // RFC 5929, section 4; PostgreSQL's only one
	TLSExporter       = "tls-exporter"         // RFC 9266
)

// ServerEndPoint gives the data of the binding tls-server-end-point: the hash of the server's certificate (in DER form),
// made with the hash of the certificate's own signature; SHA-256 takes the place of MD5 and SHA-1. A signature without a
// hash, as Ed25519, has no such binding: that is an error, and -PLUS cannot be offered, just as PostgreSQL does not.
func ServerEndPoint(der []byte) ([]byte, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate for channel binding: %w", err)
	}
	var h crypto.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil, errors.New("the signature of the certificate has no hash for channel binding")
	}
	sum := h.New()
	sum.Write(der)
	return sum.Sum(nil), nil
}

// validBindingType checks cb-name of RFC 5802, section 7: 1*(ALPHA / DIGIT / "." / "-").
func validBindingType(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !isAlpha(c) && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return name != ""
}
