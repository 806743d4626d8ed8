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

// unixPrefix marks the path of a unix socket in the configuration.
const unixPrefix = "unix:"

// listen opens the configured addresses. certs are the certificates that must be looked at for changes.
func listen(cfg *config.Config) (list []*proxy.Listener, certs []*certificate, err error) {
	loaded, err := loadCertificates(cfg)
	if err != nil {
		return nil, nil, err
	}
	for _, declared := range cfg.Listen {
		l, err := listenOn(declared.Address)
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, nil, err
		}
		c := &certificate{address: declared.Address}
		c.current.Store(loaded[declared.Address])
		certs = append(certs, c)
		list = append(list, &proxy.Listener{Listener: l, TLS: c.config, Balancers: declared.ProxyProtocol})
	}
	return list, certs, nil
}

// listenOn opens one address. A unix socket that a proxy which was killed has left behind is replaced; one that somebody
// still listens on is not.
func listenOn(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, unixPrefix)
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
