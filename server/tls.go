package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/claimpool/claimpool/wire"
)

// Mode says how much TLS a server connection needs: libpq's sslmode, with its meaning (libpq, "SSL Support").
type Mode string

// The modes. Over a unix socket there is never TLS, as in libpq.
const (
	ModeDefault    Mode = ""            // verify-full; prefer on loopback
	ModeDisable    Mode = "disable"     // never
	ModePrefer     Mode = "prefer"      // when the server offers it, whoever the server is
	ModeRequire    Mode = "require"     // always; who the server is counts only when there is a CA
	ModeVerifyCA   Mode = "verify-ca"   // always, with a certificate of the given CA
	ModeVerifyFull Mode = "verify-full" // always, with a certificate for this host
)

// TLS says how to reach a server over TLS. The files are read for each connection, so that a renewed one is used at once.
type TLS struct {
	Mode     Mode
	CAFile   string // PEM; empty means the system's
	CertFile string // our certificate for the server, PEM
	KeyFile  string // its private key

	// Config is the base instead of an empty one: it may hold RootCAs and Certificates. Mode decides what is verified.
	Config *tls.Config
}

// alpn is the protocol name of PostgreSQL in TLS (protocol-flow, "SSL Session Encryption"): it keeps another protocol's
// server with a matching certificate from being taken for ours (the ALPACA attack).
const alpn = "postgresql"

// mode gives the mode that counts for an address.
func (t *TLS) mode(a address) Mode {
	switch {
	case a.unix():
		return ModeDisable
	case t.Mode != ModeDefault:
		return t.Mode
	case a.loopback():
		return ModePrefer
	}
	return ModeVerifyFull
}

// check finds what can be found wrong without a connection.
func (t *TLS) check() error {
	switch t.Mode {
	case ModeDefault, ModeDisable, ModePrefer, ModeRequire, ModeVerifyFull:
	case ModeVerifyCA:
		if t.CAFile == "" && (t.Config == nil || t.Config.RootCAs == nil) {
			// Any certificate that anybody bought would do (libpq refuses this too).
			return errors.New("verify-ca needs a CA file")
		}
	default:
		return fmt.Errorf("unknown TLS mode %q", t.Mode)
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("a client certificate needs both the certificate and the key file")
	}
	return nil
}

// config builds the crypto/tls configuration for one host.
func (t *TLS) config(a address) (*tls.Config, error) {
	c := &tls.Config{}
	if t.Config != nil {
		c = t.Config.Clone()
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{alpn}
	c.ServerName = a.host
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file: %q has no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	switch t.mode(a) {
	case ModeVerifyFull:
		c.InsecureSkipVerify = false
	case ModeVerifyCA:
		verifyChainOnly(c)
	case ModeRequire:
		// libpq: with a CA at hand, require means verify-ca.
		if c.RootCAs != nil {
			verifyChainOnly(c)
		} else {
			c.InsecureSkipVerify = true
		}
	default: // prefer
		c.InsecureSkipVerify = true
	}
	return c, nil
}

// verifyChainOnly makes c check who signed the certificate, but not for which host.
func verifyChainOnly(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true // the built-in check includes the host name; ours replaces it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := cs.PeerCertificates[0].Verify(opts)
		return err
	}
}

// startTLS asks for TLS as the mode wants it (protocol-flow, "SSL Session Encryption"). It returns nil and no error when
// the connection stays plain.
func (t *TLS) startTLS(ctx context.Context, conn net.Conn, a address) (*tls.Conn, error) {
	mode := t.mode(a)
	if mode == ModeDisable {
		return nil, nil
	}
	config, err := t.config(a)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire.AppendSSLRequest(nil)); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	// Exactly one byte: whatever an attacker stuffs behind it goes into the handshake, which then fails
	// (CVE-2021-23222, CVE-2021-43767).
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	switch answer[0] {
	case 'S':
	case 'N':
		if mode == ModePrefer {
			return nil, nil
		}
		return nil, fmt.Errorf("the server does not offer TLS, but the mode is %q", mode)
	case 'E':
		// Its text is nobody's yet, so it is not read (CVE-2024-10977).
		return nil, errors.New("the server answered the request for TLS with an error")
	default:
		return nil, fmt.Errorf("the server answered the request for TLS with byte 0x%02x", answer[0])
	}
	tc := tls.Client(conn, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return tc, nil
}
