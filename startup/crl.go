package startup

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// ErrCertificate says that a client's certificate was signed by one of our authorities, and is not accepted all the same.
var ErrCertificate = errors.New("client certificate not accepted")

// CRLs are lists of certificates that their authorities have taken back (RFC 5280, section 5).
type CRLs struct {
	lists []crl
}

type crl struct {
	*x509.RevocationList
	serials map[string]bool // of what is revoked
}

// ParseCRLs reads lists in PEM, one after the other, as PostgreSQL's ssl_crl_file has them. All of them must be understood: what is
// skipped might be the one that revokes the attacker's.
func ParseCRLs(text []byte) (*CRLs, error) {
	blocks := bytes.Count(text, []byte("-----BEGIN "))
	c := &CRLs{}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("it holds %q, and not only lists of revoked certificates", block.Type)
		}
		list, err := parseCRL(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", len(c.lists)+1, err)
		}
		c.lists = append(c.lists, list)
	}
	switch {
	case blocks == 0:
		return nil, errors.New("it holds no list of revoked certificates in PEM")
	case blocks != len(c.lists):
		return nil, fmt.Errorf("%d of its %d lists are not PEM", blocks-len(c.lists), blocks)
	}
	return c, nil
}

func parseCRL(der []byte) (crl, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return crl{}, errors.New("it cannot be read")
	}
	// RFC 5280, section 5.2: a list with a critical extension that is not understood must not be used. That of a delta list (5.2.4) or
	// of a list of some certificates only (5.2.5) says that others are missing from it.
	for _, e := range list.Extensions {
		if e.Critical {
			return crl{}, fmt.Errorf("it has the critical extension %v; delta lists and lists of a part of the certificates are not supported", e.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		return crl{}, errors.New("it does not say until when it is good (nextUpdate)")
	}
	serials := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical { // section 5.3.3: it may be the certificate of another authority
				return crl{}, fmt.Errorf("an entry has the critical extension %v", e.Id)
			}
		}
		serials[string(entry.SerialNumber.Bytes())] = true
	}
	return crl{list, serials}, nil
}

// Verify is for tls.Config.VerifyConnection: a client's certificate, and those between it and the authority, must be on the lists of their
// issuers as not revoked. Where there is no list of an issuer, or it has ended, nobody knows, and nobody is let in. A client without a
// certificate goes on: rules say who needs one.
func (c *CRLs) Verify(state tls.ConnectionState, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	err := errors.New("it is not verified")
	for _, chain := range state.VerifiedChains {
		if err = c.chain(chain, now); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrCertificate, err)
}

// chain checks all of a chain but its last certificate, which is ours. One that we trust directly must be its own issuer.
func (c *CRLs) chain(chain []*x509.Certificate, now time.Time) error {
	for i := range max(1, len(chain)-1) {
		if err := c.certificate(chain[i], chain[min(i+1, len(chain)-1)], now); err != nil {
			return err
		}
	}
	return nil
}

func (c *CRLs) certificate(cert, issuer *x509.Certificate, now time.Time) error {
	current := false
	var ended time.Time
	for _, list := range c.lists {
		if !bytes.Equal(list.RawIssuer, cert.RawIssuer) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		if list.serials[string(cert.SerialNumber.Bytes())] { // also by a list that has ended
			return fmt.Errorf("%q has revoked the certificate with the serial number %x", issuer.Subject, cert.SerialNumber)
		}
		if now.Before(list.NextUpdate) && !now.Before(list.ThisUpdate) {
			current = true
		} else {
			ended = list.NextUpdate
		}
	}
	switch {
	case current:
		return nil
	case !ended.IsZero():
		return fmt.Errorf("the list of revoked certificates of %q is not good now: its next one was due at %s", issuer.Subject, ended.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("there is no list of revoked certificates of %q", issuer.Subject)
}
