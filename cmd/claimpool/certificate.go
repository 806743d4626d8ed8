package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/startup"
)

// certificate is what a listener shows to clients, read again when the files change.
type certificate struct {
	files   config.TLS
	current atomic.Pointer[loadedCertificate]
}

type loadedCertificate struct {
	tls    *tls.Config
	stamps [2]os.FileInfo
}

// loadCertificate reads a certificate and its key.
func loadCertificate(files config.TLS) (*certificate, error) {
	c := &certificate{files: files}
	_, err := c.refresh()
	return c, err
}

// config is what the next client sees.
func (c *certificate) config() *tls.Config { return c.current.Load().tls }

// refresh reads the files again when one of them has changed; while they do not fit together the old ones stay.
func (c *certificate) refresh() (changed bool, err error) {
	var next loadedCertificate
	before := c.current.Load()
	same := before != nil
	for i, name := range []string{c.files.CertFile, c.files.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("tls: %w", err)
		}
		next.stamps[i] = info
		same = same && os.SameFile(before.stamps[i], info) && before.stamps[i].ModTime().Equal(info.ModTime()) && before.stamps[i].Size() == info.Size()
	}
	if same {
		return false, nil
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return false, fmt.Errorf("tls: %w", err)
	}
	next.tls = &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{startup.ALPN},
		// Small records at the start of a connection are for browsers; here they only cost.
		DynamicRecordSizingDisabled: true,
	}
	if c.files.MinVersion == "1.3" {
		next.tls.MinVersion = tls.VersionTLS13
	}
	c.current.Store(&next)
	return true, nil
}
