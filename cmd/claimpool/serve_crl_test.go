package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServeCRL: a certificate that its authority takes back is turned away as soon as the list is there, without a restart; a list that
// cannot be read changes nothing, and one that has ended lets nobody in.
func TestServeCRL(t *testing.T) {
	s := newStage(t)
	s.put("clients.crt", s.ca.PEM)
	s.put("clients.crl", s.ca.CRL(t, time.Hour))
	p := s.serve()
	s.put("claimpool.yaml", fmt.Appendf(nil, `
listen: ["127.0.0.1:0"]
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt, client_crl_file: clients.crl}
rules: [{method: cert, cert_claims: names}, {method: reject}]
databases:
  app: {hosts: ["%s"], dbname: %s, role: %s, password: {file: password}, context: {dialect: sql, key_file: context.key}, pool: {size: 2}}
log: {format: json, level: debug}
watch_interval: 1h
`, s.cluster.Address(), s.database, s.role))
	p.signal(syscall.SIGHUP)
	anna, eve := s.ca.Client(t, "anna"), s.ca.Client(t, "eve")
	enters := func(what string, want bool) {
		t.Helper()
		if _, err := s.come(p, false, "anna", "", anna); err != nil && want {
			t.Errorf("%s: anna: %v", what, err)
		} else if err == nil && !want {
			t.Errorf("%s: anna is in", what)
		}
	}
	enters("nobody is revoked", true)
	if _, err := s.come(p, false, "eve", "", eve); err != nil {
		t.Errorf("before she is revoked: %v", err)
	}
	s.put("clients.crl", s.ca.CRL(t, time.Hour, eve))
	p.signal(syscall.SIGHUP)
	enters("somebody else is revoked", true)
	if _, err := s.come(p, false, "eve", "", eve); err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("a revoked certificate: %v", err)
	}
	if line := p.await("connection refused", 1); line["sqlstate"] != "28000" || !strings.Contains(fmt.Sprint(line["reason"]), "revoked the certificate with the serial number") {
		t.Errorf("logged: %v", line)
	}
	s.put("clients.crl", []byte("-----BEGIN X509 CRL-----\nbroken\n"))
	p.signal(syscall.SIGHUP)
	if line := p.await("the configuration was not reloaded: the old one stays", 1); !strings.Contains(fmt.Sprint(line["err"]), "not PEM") {
		t.Errorf("logged: %v", line)
	}
	enters("a list that cannot be read", true)
	if _, err := s.come(p, false, "eve", "", eve); err == nil {
		t.Error("a list that cannot be read has let her in again")
	}
	s.put("clients.crl", s.ca.CRL(t, -time.Minute))
	p.signal(syscall.SIGHUP)
	enters("a list that has ended", false)
}
