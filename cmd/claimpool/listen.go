package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/proxy"
)

// listen opens the configured addresses. certs are the certificates that must be looked at for changes.
func listen(cfg *config.Config) (list []*proxy.Listener, certs []*certificate, err error) {
	defer func() {
		if err != nil {
			for _, l := range list {
				l.Close()
			}
		}
	}()
	var common *certificate
	if cfg.TLS.Enabled() {
		if common, err = loadCertificate(cfg.TLS); err != nil {
			return nil, nil, err
		}
		certs = append(certs, common)
	}
	for _, declared := range cfg.Listen {
		cert := common
		if declared.TLS.Enabled() {
			if cert, err = loadCertificate(declared.TLS); err != nil {
				return list, nil, err
			}
			certs = append(certs, cert)
		}
		l, err := listenOn(declared.Address)
		if err != nil {
			return list, nil, err
		}
		on := &proxy.Listener{Listener: l}
		if cert != nil && l.Addr().Network() != "unix" { // PostgreSQL has no TLS on unix sockets
			on.TLS = cert.config
		}
		list = append(list, on)
	}
	return list, certs, nil
}

// listenOn opens one address. A unix socket that a proxy which was killed has left behind is replaced; one that somebody
// still listens on is not.
func listenOn(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	// Like PostgreSQL's: who may log in is the rules' business.
	if err := os.Chmod(path, 0o777); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the socket to clients: %w", err)
	}
	return l, nil
}

func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
