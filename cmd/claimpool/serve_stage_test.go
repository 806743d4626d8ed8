package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

const patience = time.Minute

// process is a running "claimpool serve", as an unprivileged user when the test runs as root.
type process struct {
	*exec.Cmd
	t     *testing.T
	dir   string
	ended chan error

	mu  sync.Mutex
	log []map[string]any // guarded by mu
}

// stage is what a proxy needs: a database with the SQL dialect, an issuer and a certificate. Its files are in dir.
type stage struct {
	t        *testing.T
	dir      string
	cluster  *pgtest.Cluster
	database string
	role     string
	issuer   *pgtest.Issuer
	ca       *pgtest.CA
	settings map[string]string // lines of the configuration that tests change
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "claimpool-serve-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := pgtest.Shared(t, pgtest.Newest(t))
	s := &stage{t: t, dir: dir, cluster: c, database: c.NewDatabase(t), issuer: pgtest.NewIssuer(t, "https://issuer.test"), ca: pgtest.NewCA(t)}
	var secret string
	s.role, secret = c.NewRole(t)
	s.put("password", []byte(secret+"\n"))
	s.certificate("server")
	s.copyKey("issuer.pem", s.issuer)
	admin := c.Connect(t, s.database, cluster.Superuser, "")
	plan, err := database.PlanInstall(t.Context(), admin, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.contextKey(plan, admin)
	s.settings = map[string]string{"size": "2", "drain": "10s", "level": "debug", "more": ""}
	return s
}

// put writes a file that only the proxy's user can read.
func (s *stage) put(name string, data []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	cred, err := cluster.Unprivileged()
	if err != nil {
		s.t.Fatal(err)
	}
	if cred != nil {
		for _, p := range []string{s.dir, path + ".new"} {
			if err := os.Chown(p, int(cred.Uid), int(cred.Gid)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) certificate(name string) {
	s.t.Helper()
	cert := s.ca.Server(s.t, name+".test", "localhost", "127.0.0.1")
	s.put(name+".key", cert.KeyPEM)
	s.put(name+".crt", cert.CertPEM)
}

func (s *stage) copyKey(name string, issuer *pgtest.Issuer) {
	s.t.Helper()
	pem, err := os.ReadFile(issuer.KeyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(name, pem)
}

// contextKey runs a plan that makes a key, and writes the key's file.
func (s *stage) contextKey(plan *database.Plan, admin *pgx.Conn) {
	s.t.Helper()
	key, err := plan.Run(s.t.Context(), admin)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("context.key", key.File())
}

// configure writes the configuration file.
func (s *stage) configure() {
	s.t.Helper()
	s.put("claimpool.yaml", fmt.Appendf(nil, `
listen: ["127.0.0.1:0", "unix:%[1]s/sock"]
tls: {cert_file: server.crt, key_file: server.key}
issuers:
  test: {issuer: "https://issuer.test", audience: claimpool, keys: [{file: issuer.pem, kid: k1}], role: {from: fixed, value: %[2]s}%[12]s}
%[9]srules:
%[11]s  - {method: jwt, users: %[2]s}
  - {method: trust, users: [nobody], tls: any, role: %[2]s}
databases:
  app:
    hosts: ["%[3]s"]
    dbname: %[4]s
    role: %[2]s
    password: {file: password}
    context: {dialect: sql, key_file: context.key}
    pool: {size: %[5]s}
%[10]slimits: {drain_timeout: %[6]s}
log: {format: json, level: %[7]s}
watch_interval: 100ms
%[8]s
`, s.dir, s.role, s.cluster.Address(), s.database, s.settings["size"], s.settings["drain"], s.settings["level"], s.settings["more"], s.settings["issuers"],
		s.settings["database"], s.settings["rules"], s.settings["lifetime"]))
}

// serve starts the proxy and waits until it listens.
func (s *stage) serve(environ ...string) *process {
	t := s.t
	t.Helper()
	s.configure()
	binary := filepath.Join(s.dir, "claimpool") // the name makes the test binary the command (see TestMain)
	if err := exec.Command("cp", os.Args[0], binary).Run(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: s.dir, ended: make(chan error, 1)}
	p.Cmd = exec.Command(binary, "serve", "-c", filepath.Join(s.dir, "claimpool.yaml"))
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
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(stderr)
		p.ended <- p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-read // nothing is said for a test that is over
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, line := range p.log {
				t.Log(line)
			}
		}
	})
	p.await("listening", 2)
	return p
}

var logKeys = map[string]bool{
	"time": true, "level": true, "msg": true,
	claimpool.LogClient: true, claimpool.LogAddr: true, claimpool.LogDB: true, claimpool.LogRole: true, claimpool.LogMethod: true,
	claimpool.LogIdentity: true, claimpool.LogIssuer: true, claimpool.LogKID: true, claimpool.LogPool: true, claimpool.LogServer: true,
	claimpool.LogSQLState: true, claimpool.LogReason: true, claimpool.LogWait: true, claimpool.LogHeld: true, claimpool.LogErr: true,
}

// read takes the log apart: every line is JSON with the keys of the closed list.
func (p *process) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			p.t.Errorf("not a line of the log: %s", lines.Text())
			continue
		}
		for key := range line {
			if !logKeys[key] {
				p.t.Errorf("log key %q is not in the list: %s", key, lines.Text())
			}
		}
		p.mu.Lock()
		p.log = append(p.log, line)
		p.mu.Unlock()
	}
}

// lines gives the log lines with a message.
func (p *process) lines(msg string) (list []map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if line["msg"] == msg {
			list = append(list, line)
		}
	}
	return list
}

// await waits for the nth line with a message.
func (p *process) await(msg string, n int) map[string]any {
	p.t.Helper()
	soon(p.t, fmt.Sprintf("%d × %q in the log", n, msg), func() bool { return len(p.lines(msg)) >= n })
	return p.lines(msg)[n-1]
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// signal sends a signal and, when it is SIGHUP, waits for the answer to it.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	const good, bad = "configuration reloaded", "the configuration was not reloaded: the old one stays"
	before := len(p.lines(good)) + len(p.lines(bad))
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	if sig == syscall.SIGHUP {
		soon(p.t, "the reload", func() bool { return len(p.lines(good))+len(p.lines(bad)) > before })
	}
}

// exits waits for the end with status 0.
func (p *process) exits() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("does not end")
	}
}

func (p *process) address() string {
	for _, line := range p.lines("listening") {
		if a := line["addr"].(string); strings.HasPrefix(a, "127.") {
			return a
		}
	}
	return ""
}

// dial logs in over TLS, trusting the stage's authority for a host name.
func (s *stage) dial(p *process, user, password, host string) (*pgx.Conn, error) {
	_, port, _ := net.SplitHostPort(p.address())
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%s dbname=app user=x password='%s' sslmode=require default_query_exec_mode=exec", port, password))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.User = user // whatever is in it
	cfg.TLSConfig.InsecureSkipVerify, cfg.TLSConfig.RootCAs, cfg.TLSConfig.ServerName = false, s.ca.Pool, host
	c, err := pgx.ConnectConfig(s.t.Context(), cfg)
	if err == nil {
		s.t.Cleanup(func() { c.Close(context.Background()) }) // and so it is not collected before
	}
	return c, err
}

// login logs in with a token of a tenant.
func (s *stage) login(p *process, tenant string) *pgx.Conn {
	s.t.Helper()
	c, err := s.dial(p, s.role, s.issuer.Mint("someone", map[string]any{"tenant_id": tenant}), "server.test")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *stage) one(c *pgx.Conn, sql string) string {
	s.t.Helper()
	var v string
	if err := c.QueryRow(s.t.Context(), sql).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
}
