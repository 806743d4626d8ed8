package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// defaultPort is PostgreSQL's port.
const defaultPort = "5432"

// address is one parsed entry of Config.Hosts.
type address struct {
	network string // "tcp" or "unix"
	dial    string // what net.Dial wants
	host    string // the name that a certificate must carry; empty for a unix socket
}

// ParseHost reports whether s is a host as Config.Hosts wants it.
func ParseHost(s string) error {
	_, err := parseHost(s)
	return err
}

// parseHost reads an entry of Config.Hosts (libpq, "Connection Parameters", host and port).
func parseHost(s string) (address, error) {
	if strings.HasPrefix(s, "/") {
		return parseSocket(s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, defaultPort // no port, or an IPv6 address without brackets
		if _, e := netip.ParseAddr(s); e != nil && strings.ContainsAny(s, ":[]") {
			return address{}, fmt.Errorf("host %q: %w", s, err)
		}
	}
	if host == "" {
		return address{}, fmt.Errorf("host %q has no name", s)
	}
	if err := checkPort(port); err != nil {
		return address{}, fmt.Errorf("host %q: %w", s, err)
	}
	return address{network: "tcp", dial: net.JoinHostPort(host, port), host: host}, nil
}

// parseSocket reads "/folder", "/folder:port" or the path of the socket itself, "/folder/.s.PGSQL.port".
func parseSocket(s string) (address, error) {
	if strings.HasPrefix(filepath.Base(s), ".s.PGSQL.") {
		return address{network: "unix", dial: s}, nil
	}
	dir, port := s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		dir, port = s[:i], s[i+1:]
	}
	if err := checkPort(port); err != nil {
		return address{}, fmt.Errorf("host %q: %w", s, err)
	}
	return address{network: "unix", dial: filepath.Join(dir, ".s.PGSQL."+port)}, nil
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return errors.New("the port must be a number from 1 to 65535")
	}
	return nil
}

func (a address) unix() bool { return a.network == "unix" }

// loopback reports whether the address stays on this machine without asking a name server.
func (a address) loopback() bool {
	if a.host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.Unmap().IsLoopback()
}
