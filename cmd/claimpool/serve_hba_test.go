package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/pgtest"
)

// come logs in through the unix socket, or with TLS and perhaps a certificate, and asks PostgreSQL for the claims.
func (s *stage) come(p *process, unix bool, name, password string, cert *pgtest.Cert) (string, error) {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(p.address())
	mode := "require"
	if unix {
		mode = "disable"
	}
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%s dbname=app user='%s' password='%s' sslmode=%s default_query_exec_mode=exec", port, name, password, mode))
	if err != nil {
		s.t.Fatal(err)
	}
	if unix {
		cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "sock"))
		}
	}
	if cert != nil {
		cfg.TLSConfig.Certificates = []tls.Certificate{cert.TLS}
	}
	c, err := pgx.ConnectConfig(s.t.Context(), cfg)
	if err != nil {
		return "", err
	}
	defer c.Close(context.Background())
	var who string
	err = c.QueryRow(s.t.Context(), "select session_user || ' ' || coalesce(jwt('sub'), '-') || ' ' || coalesce(jwt()->'cnf'->>'x5t#S256', '-')").Scan(&who)
	return who, err
}

// TestServeHBA: rules in the format of pg_hba.conf: certificates, users of this machine, and passwords; then a file that is wrong, which
// changes nothing; then claims of a certificate by a rule.
func TestServeHBA(t *testing.T) {
	s := newStage(t)
	s.put("users", []byte("\"anna\" \"correct\"\n"))
	s.put("clients.crt", s.ca.PEM)
	p := s.serve()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	file := func(rules string) {
		s.put("claimpool.yaml", fmt.Appendf(nil, `
listen: ["127.0.0.1:0", "unix:%[1]s/sock"]
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt}
users_file: users
user_maps:
  - {map: machine, from: %[6]q, to: operator}
  - {map: staff, from: '/^(.*)@example\.com$', to: '\1'}
%[5]s
databases:
  app: {hosts: ["%[2]s"], dbname: %[3]s, role: %[4]s, password: {file: password}, context: {dialect: sql, key_file: context.key}, pool: {size: 2}}
log: {format: json, level: debug}
watch_interval: 100ms
`, s.dir, s.cluster.Address(), s.database, s.role, rules, me.Username))
		p.signal(syscall.SIGHUP)
	}
	s.put("pg_hba.conf", []byte(`# TYPE DATABASE USER ADDRESS METHOD
local  all  operator           peer map=machine
local  all  all                reject
hostssl all "cert user" all    cert
hostssl app anna 127.0.0.1 255.255.255.255 scram-sha-256 clientcert=verify-full
host   replication all all     trust
host   all  all  0.0.0.0/0     reject
`))
	file("hba_file: pg_hba.conf")
	anna, other := s.ca.Client(t, "anna"), s.ca.Client(t, "cert user")
	strange := pgtest.NewCA(t).Client(t, "cert user")
	for _, test := range []struct {
		name     string
		unix     bool
		user     string
		password string
		cert     *pgtest.Cert
		want     string
	}{
		{"a user of this machine", true, "operator", "", nil, s.role + " - -"},
		{"no user of this machine", true, "anna", "correct", nil, `28000 connection rejected`},
		{"a certificate", false, "cert user", "", other, s.role + " - -"},
		{"no certificate", false, "cert user", "", nil, "28000 connection requires a valid client certificate"},
		{"a certificate of somebody else", false, "cert user", "", anna, `28000 certificate authentication failed for user "cert user"`},
		{"a certificate of another authority", false, "cert user", "", strange, "tls: unknown certificate authority"},
		{"a password with a certificate", false, "anna", "correct", anna, s.role + " - -"},
		{"a password alone", false, "anna", "correct", nil, "28000 connection requires a valid client certificate"},
		{"a password with another certificate", false, "anna", "correct", other, `28P01 password authentication failed for user "anna"`},
		{"a wrong password with a certificate", false, "anna", "wrong", anna, `28P01 password authentication failed for user "anna"`},
		{"somebody else", false, "evey", "", other, "28000 connection rejected"},
	} {
		got, err := s.come(p, test.unix, test.user, test.password, test.cert)
		if err != nil {
			got = plain(err)
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	s.put("pg_hba.conf", []byte("host all all samenet trust\n"))
	p.signal(syscall.SIGHUP)
	if line := p.await("the configuration was not reloaded: the old one stays", 1); !strings.Contains(line["err"].(string), "pg_hba.conf:1:1: samenet is not supported") {
		t.Errorf("%v", line)
	}
	if got, err := s.come(p, true, "operator", "", nil); err != nil {
		t.Errorf("after a file that was wrong: %s %v", got, err)
	}
	file("rules: [{method: cert, cert_name: dns, cert_claims: names}, {method: reject}]")
	host := s.ca.Server(t, "pod.example.com") // any use of the key
	got, err := s.come(p, false, "pod.example.com", "", host)
	if err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("a server's certificate was taken for a client's: %s %v", got, err)
	}
	file("rules: [{method: cert, cert_claims: names}, {method: reject}]")
	if got, err := s.come(p, false, "anna", "", anna); err != nil || !strings.HasPrefix(got, s.role+" anna ") || strings.HasSuffix(got, " -") {
		t.Errorf("with claims: %s %v", got, err)
	}
}

// plain is the SQLSTATE and the text of a server's error, or the text of any other.
func plain(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code + " " + e.Message
	}
	return err.Error()
}
