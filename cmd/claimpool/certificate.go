package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/startup"
)

// certificate is what a listener shows to its clients: read again when the files change, and replaced when a reload names
// other files or none.
type certificate struct {
	address string // of the listener
	current atomic.Pointer[loadedCertificate]
}

type loadedCertificate struct {
	files  config.TLS
	tls    *tls.Config
	stamps []os.FileInfo
}

// config is what the next client sees; nil when there is no TLS.
func (c *certificate) config() *tls.Config {
	if now := c.current.Load(); now != nil {
		return now.tls
	}
	return nil
}

// refresh reads the files again when one of them has changed; while they do not fit together the old ones stay.
func (c *certificate) refresh() (changed bool, err error) {
	before := c.current.Load()
	if before == nil {
		return false, nil
	}
	stamps, err := stampsOf(before.files)
	if err != nil {
		return false, err
	}
	same := true
	for i, info := range stamps {
		was := before.stamps[i]
		same = same && os.SameFile(was, info) && was.ModTime().Equal(info.ModTime()) && was.Size() == info.Size()
	}
	if same {
		return false, nil
	}
	next, err := loadCertificate(before.files)
	if err != nil {
		return false, err
	}
	return c.current.CompareAndSwap(before, next), nil // a reload may have been faster
}

func stampsOf(files config.TLS) (stamps []os.FileInfo, err error) {
	names := []string{files.CertFile, files.KeyFile}
	for _, more := range []string{files.ClientCAFile, files.ClientCRLFile} {
		if more != "" {
			names = append(names, more)
		}
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		stamps = append(stamps, info)
	}
	return stamps, nil
}

// loadCertificate reads a certificate and its key; nil when none is configured.
func loadCertificate(files config.TLS) (*loadedCertificate, error) {
	if !files.Enabled() {
		return nil, nil
	}
	stamps, err := stampsOf(files)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	next := &loadedCertificate{files: files, stamps: stamps, tls: &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{startup.ALPN},
		// Small records at the start of a connection are for browsers; here they only cost.
		DynamicRecordSizingDisabled: true,
		// As PostgreSQL: libpq resumes no session, and a session that is resumed would not look at a certificate again.
		SessionTicketsDisabled: true,
	}}
	if files.MinVersion == "1.3" {
		next.tls.MinVersion = tls.VersionTLS13
	}
	return next, next.askClients()
}

// askClients makes clients be asked for a certificate. Whoever has none may go on: the rules say who needs one.
func (l *loadedCertificate) askClients() error {
	if l.files.ClientCAFile == "" {
		return nil
	}
	text, err := os.ReadFile(l.files.ClientCAFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	l.tls.ClientCAs = x509.NewCertPool()
	if !l.tls.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("tls: %s holds no certificate", l.files.ClientCAFile)
	}
	l.tls.ClientAuth = tls.VerifyClientCertIfGiven
	return l.askLists()
}

// askLists makes certificates of clients be looked for in the lists of those that were taken back.
func (l *loadedCertificate) askLists() error {
	if l.files.ClientCRLFile == "" {
		return nil
	}
	text, err := os.ReadFile(l.files.ClientCRLFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	crls, err := startup.ParseCRLs(text)
	if err != nil {
		return fmt.Errorf("tls: %s: %w", l.files.ClientCRLFile, err)
	}
	l.tls.VerifyConnection = func(state tls.ConnectionState) error { return crls.Verify(state, time.Now()) }
	return nil
}

// loadCertificates reads what each listener is to show, by its address.
func loadCertificates(cfg *config.Config) (map[string]*loadedCertificate, error) {
	loaded := map[string]*loadedCertificate{}
	for _, l := range cfg.Listen {
		files := l.TLS
		if strings.HasPrefix(l.Address, unixPrefix) { // PostgreSQL has no TLS on unix sockets
			files = config.TLS{}
		}
		var err error
		if loaded[l.Address], err = loadCertificate(files); err != nil {
			return nil, err
		}
	}
	return loaded, nil
}
