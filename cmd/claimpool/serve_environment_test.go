package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

func publicKey(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// mint writes a token as the README of jwt-postgresql-proxy does, with Python's spaces.
func mint(key ed25519.PrivateKey, header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	input := enc([]byte(header)) + "." + enc([]byte(claims))
	return input + "." + enc(ed25519.Sign(key, []byte(input)))
}

const theirHeader = `{"typ": "JWT", "alg": "EdDSA", "crv": "Ed25519"}`

// serveEnvironment starts the binary without arguments, in that environment.
func (s *stage) serveEnvironment(environ ...string) *process {
	t := s.t
	t.Helper()
	binary := filepath.Join(s.dir, "claimpool")
	if err := exec.Command("cp", os.Args[0], binary).Run(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: s.dir, ended: make(chan error, 1)}
	p.Cmd = exec.Command(binary, "serve")
	p.Env, p.Dir = append([]string{"PATH=" + os.Getenv("PATH")}, environ...), s.dir
	cred, err := cluster.Unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	p.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	read := make(chan struct{})
	go func() {
		defer close(read)
		text, _ = io.ReadAll(stderr)
		p.ended <- p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-read
		if t.Failed() {
			t.Logf("%s", text)
		}
	})
	return p
}

// The environment of a jwt-postgresql-proxy runs the program unchanged: the same tokens, the same users, any database.
func TestServeJWTPostgresqlProxy(t *testing.T) {
	ca := pgtest.NewCA(t) // nobody has told the proxy of it
	c := pgtest.Start(t, pgtest.Newest(t), pgtest.WithTLS(t, ca), pgtest.WithSetting("password_encryption", "md5"),
		pgtest.WithHBA("local all all trust\nhost all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 md5\n"))
	dir, err := os.MkdirTemp("", "claimpool-environment-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stage{t: t, dir: dir, cluster: c, ca: pgtest.NewCA(t)}
	s.certificate("server")
	c.Exec(t, "postgres", "create role anna login password 'one for all'; create role bert login password 'one for all'")
	dbs := []string{c.NewDatabase(t), c.NewDatabase(t)}
	old, oldPEM := publicKey(t)
	key, keyPEM := publicKey(t)
	port := strconv.Itoa(pgtest.FreePort(t))
	p := s.serveEnvironment("PUBLIC_KEYS__-1="+oldPEM, "PUBLIC_KEYS__10="+keyPEM,
		"UPSTREAM__HOST=127.0.0.1", fmt.Sprintf("UPSTREAM__PORT=%d", c.Port), "UPSTREAM__PASSWORD=one for all",
		"DOWNSTREAM__IP=", "DOWNSTREAM__PORT="+port, "DOWNSTREAM__CERTFILE=server.crt", "DOWNSTREAM__KEYFILE=server.key")
	login := func(user, database, password, mode string) (*pgx.Conn, error) {
		return pgx.Connect(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%s user=%s dbname=%s password='%s' sslmode=%s application_name=mine", port, user, database, password, mode))
	}
	soon(t, "the proxy listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	exp := time.Now().Add(time.Minute).Unix()
	claims := func(sub string) string { return fmt.Sprintf(`{"sub": %q, "exp": %d}`, sub, exp) }
	for _, k := range []ed25519.PrivateKey{old, key} {
		for i, user := range []string{"anna", "bert"} {
			conn, err := login(user, dbs[i], mint(k, theirHeader, claims(user)), "require")
			if err != nil {
				t.Fatal(err)
			}
			if got := s.one(conn, "select current_user || ' ' || current_database() || ' ' || current_setting('application_name')"); got != user+" "+dbs[i]+" mine" {
				t.Errorf("it is %s", got)
			}
			conn.Close(context.Background())
		}
	}
	stranger, _ := publicKey(t)
	good := mint(key, theirHeader, claims("anna"))
	for name, bad := range map[string]string{
		"of a stranger":       mint(stranger, theirHeader, claims("anna")),
		"of somebody else":    mint(key, theirHeader, claims("bert")),
		"ended":               mint(key, theirHeader, `{"sub": "anna", "exp": 1}`),
		"without an end":      mint(key, theirHeader, `{"sub": "anna"}`),
		"an end as a string":  mint(key, theirHeader, fmt.Sprintf(`{"sub": "anna", "exp": "%d"}`, exp)),
		"never ends":          mint(key, theirHeader, `{"sub": "anna", "exp": NaN}`),
		"nobody's":            mint(key, theirHeader, fmt.Sprintf(`{"exp": %d}`, exp)),
		"not yet":             mint(key, theirHeader, fmt.Sprintf(`{"sub": "anna", "exp": %d, "nbf": %d}`, exp, exp-1)),
		"without a signature": mint(key, `{"alg": "none"}`, claims("anna")),
		"two subjects":        mint(key, theirHeader, fmt.Sprintf(`{"sub": "bert", "sub": "anna", "exp": %d}`, exp)),
		"a password":          "one for all",
	} {
		_, err := login("anna", dbs[0], bad, "require")
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "28P01" || e.Message != "Authentication failed" || e.Severity != "FATAL" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := login("anna", dbs[0], good, "disable"); err == nil || !strings.Contains(err.Error(), "28000") {
		t.Errorf("without TLS: %v", err)
	}
	p.signal(syscall.SIGTERM)
	p.exits()
}

func TestInheritedConfiguration(t *testing.T) {
	_, keyPEM := publicKey(t)
	dir := t.TempDir()
	certFile, keyFile := pgtest.NewCA(t).Server(t, "server.test").Files(t)
	whole := []string{
		"PUBLIC_KEYS__0=" + keyPEM, "UPSTREAM__HOST=db", "UPSTREAM__PORT=5432", "UPSTREAM__PASSWORD=x",
		"DOWNSTREAM__IP=127.0.0.1", "DOWNSTREAM__PORT=7777", "DOWNSTREAM__CERTFILE=" + certFile, "DOWNSTREAM__KEYFILE=" + keyFile,
	}
	t.Setenv("UPSTREAM__PASSWORD", "x")
	t.Setenv("PUBLIC_KEYS__0", keyPEM)
	cfg, err := inheritedConfiguration(whole)
	if err != nil {
		t.Fatal(err)
	}
	if db := cfg.Databases["*"]; !slices.Equal(db.Hosts, []string{"db:5432"}) || db.TLS.Mode != "require" || db.Pool.Mode != "session" || cfg.Listen[0].Address != "127.0.0.1:7777" {
		t.Errorf("%+v", cfg)
	}
	ca := pgtest.WriteFile(t, dir, "ca.pem", pgtest.NewCA(t).PEM)
	if cfg, err := inheritedConfiguration(append(whole, "UPSTREAM__CAFILE="+ca)); err != nil || cfg.Databases["*"].TLS.Mode != "verify-full" {
		t.Errorf("with a CA: %v", err)
	}
	for i, v := range whole {
		name, _, _ := strings.Cut(v, "=")
		if _, err := inheritedConfiguration(slices.Delete(slices.Clone(whole), i, i+1)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if inherited([]string{"PATH=x", "UPSTREAM=x"}) || !inherited(whole[:1]) {
		t.Error("it does not know whose environment it is")
	}
}
