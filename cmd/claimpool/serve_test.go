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
	"regexp"
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

const patience = 30 * time.Second

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
  test: {issuer: "https://issuer.test", audience: claimpool, keys: [{file: issuer.pem, kid: k1}], role: {from: fixed, value: %[2]s}}
rules:
  - {method: jwt, users: %[2]s}
  - {method: trust, users: [nobody], tls: any, role: %[2]s}
databases:
  app:
    hosts: ["%[3]s"]
    dbname: %[4]s
    role: %[2]s
    password: {file: password}
    context: {dialect: sql, key_file: context.key}
    pool: {size: %[5]s}
limits: {drain_timeout: %[6]s}
log: {format: json, level: %[7]s}
watch_interval: 100ms
%[8]s
`, s.dir, s.role, s.cluster.Address(), s.database, s.settings["size"], s.settings["drain"], s.settings["level"], s.settings["more"]))
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
	go func() {
		p.read(stderr)
		p.ended <- p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
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
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%s dbname=app user=%s password='%s' sslmode=require default_query_exec_mode=exec", port, user, password))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.TLSConfig.InsecureSkipVerify, cfg.TLSConfig.RootCAs, cfg.TLSConfig.ServerName = false, s.ca.Pool, host
	return pgx.ConnectConfig(s.t.Context(), cfg)
}

// login logs in with a token of a tenant.
func (s *stage) login(p *process, tenant string) *pgx.Conn {
	s.t.Helper()
	c, err := s.dial(p, s.role, s.issuer.Mint("someone", map[string]any{"tenant_id": tenant}), "server.test")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(context.Background()) })
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

const whoAmI = "SELECT jwt('tenant_id')"

func TestServeReloads(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	c := s.login(p, "t1")
	reason := func() string {
		return fmt.Sprint(p.await("configuration reloaded", len(p.lines("configuration reloaded")))["reason"])
	}
	check := func(t *testing.T) {
		t.Helper()
		if got := s.one(c, whoAmI); got != "t1" {
			t.Errorf("the tenant is %s", got)
		}
	}
	check(t)

	t.Run("a changed size", func(t *testing.T) {
		s.settings["size"] = "1"
		s.configure()
		p.signal(syscall.SIGHUP)
		if got := reason(); !strings.Contains(got, "pool.size") {
			t.Errorf("reloaded: %s", got)
		}
		check(t)
	})
	t.Run("nothing", func(t *testing.T) {
		pid := s.one(c, "SELECT pg_backend_pid()::text")
		p.signal(syscall.SIGHUP)
		if got := reason(); got != "nothing has changed" {
			t.Errorf("reloaded: %s", got)
		}
		if got := s.one(c, "SELECT pg_backend_pid()::text"); got != pid {
			t.Error("a server was replaced")
		}
	})
	t.Run("broken files", func(t *testing.T) {
		for name, tt := range map[string]struct{ more, want string }{
			"not YAML":            {"rules: [", "claimpool.yaml:"},
			"unknown key":         {"limit: {max_clients: 1}", `claimpool.yaml:20:1: limit: unknown key. Did you mean "limits"?`},
			"bad value":           {"throttle: {failures: many}", "claimpool.yaml:20:22:"},
			"a key that is away":  {"users_file: nowhere.txt", "nowhere.txt"},
			"an issuer of no key": {"", "issuer.pem"},
		} {
			s.settings["more"] = tt.more
			s.configure()
			if name == "an issuer of no key" {
				s.put("issuer.pem", []byte("rubbish"))
			}
			failed := len(p.lines("the configuration was not reloaded: the old one stays"))
			p.signal(syscall.SIGHUP)
			line := p.await("the configuration was not reloaded: the old one stays", failed+1)
			if got := fmt.Sprint(line["err"]); !strings.Contains(got, tt.want) {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
			check(t)
			s.login(p, "t2").Close(t.Context())
		}
		s.settings["more"] = ""
		s.copyKey("issuer.pem", s.issuer)
		s.configure()
		p.signal(syscall.SIGHUP)
		reason()
	})
	t.Run("what needs a restart", func(t *testing.T) {
		s.settings["more"] = "loops: 2"
		s.configure()
		p.signal(syscall.SIGHUP)
		if got := fmt.Sprint(p.await("some changes need a restart", 1)["reason"]); got != "loops" {
			t.Errorf("these need a restart: %s", got)
		}
		s.settings["more"] = ""
		s.configure()
		p.signal(syscall.SIGHUP)
	})
	t.Run("a new certificate in the same file", func(t *testing.T) {
		cert := s.ca.Server(t, "renewed.test")
		s.put("server.key", cert.KeyPEM)
		s.put("server.crt", cert.CertPEM)
		soon(t, "the new certificate", func() bool {
			c, err := s.dial(p, "nobody", "", "renewed.test")
			if err == nil {
				c.Close(t.Context())
			}
			return err == nil
		})
		check(t)
	})
	t.Run("a certificate in another file", func(t *testing.T) {
		s.certificate("other")
		path := filepath.Join(s.dir, "claimpool.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.put("claimpool.yaml", []byte(strings.ReplaceAll(string(text), "server.", "other.")))
		p.signal(syscall.SIGHUP)
		c, err := s.dial(p, "nobody", "", "other.test")
		if err != nil {
			t.Fatal(err)
		}
		c.Close(t.Context())
		s.certificate("server")
		s.configure()
		p.signal(syscall.SIGHUP)
	})
	t.Run("a new key of the issuer", func(t *testing.T) {
		old := s.issuer
		s.issuer = pgtest.NewIssuer(t, old.Name)
		s.copyKey("issuer.pem", s.issuer)
		soon(t, "the new key", func() bool {
			c, err := s.dial(p, s.role, s.issuer.Mint("someone", nil), "server.test")
			if err == nil {
				c.Close(t.Context())
			}
			return err == nil
		})
		if _, err := s.dial(p, s.role, old.Mint("someone", nil), "server.test"); err == nil {
			t.Error("a token of the old key was accepted")
		}
		check(t) // who is in stays in
	})
	t.Run("a new context key", func(t *testing.T) {
		pid := s.one(c, "SELECT pg_backend_pid()::text")
		admin := s.cluster.Connect(t, s.database, cluster.Superuser, "")
		plan, err := database.PlanAddKey(t.Context(), admin, "k2")
		if err != nil {
			t.Fatal(err)
		}
		s.contextKey(plan, admin)
		soon(t, "the servers are replaced", func() bool { return s.one(c, "SELECT pg_backend_pid()::text") != pid })
		if plan, err = database.PlanRemoveKey(t.Context(), admin, "k1"); err == nil {
			_, err = plan.Run(t.Context(), admin)
		}
		if err != nil {
			t.Fatal(err)
		}
		check(t)
		check(t)
	})
	t.Run("a database that is gone", func(t *testing.T) {
		path := filepath.Join(s.dir, "claimpool.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.put("claimpool.yaml", regexp.MustCompile(`(?m)^  app:$`).ReplaceAll(text, []byte("  other:")))
		p.signal(syscall.SIGHUP)
		if _, err := s.dial(p, "nobody", "", "server.test"); err == nil || !strings.Contains(err.Error(), "3D000") {
			t.Errorf("a new client got %v", err)
		}
		if err := c.QueryRow(t.Context(), whoAmI).Scan(new(string)); err == nil || !strings.Contains(err.Error(), "57P01") {
			t.Errorf("an old client got %v", err)
		}
	})
	p.signal(syscall.SIGTERM)
	p.exits()
}

// TestServeEnds: SIGTERM lets a transaction end, SIGINT does not, and systemd hears of everything.
func TestServeEnds(t *testing.T) {
	s := newStage(t)
	begin := func(p *process) *pgx.Conn {
		c := s.login(p, "t1")
		if _, err := c.Exec(t.Context(), "BEGIN"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("SIGTERM", func(t *testing.T) {
		notified := systemd(t, s)
		p := s.serve("NOTIFY_SOCKET=" + filepath.Join(s.dir, "notify"))
		await(t, notified, "READY=1")
		p.signal(syscall.SIGHUP)
		await(t, notified, "RELOADING=1")
		await(t, notified, "READY=1")
		c := begin(p)
		p.signal(syscall.SIGTERM)
		await(t, notified, "STOPPING=1")
		if err := p.Process.Signal(syscall.SIGHUP); err != nil { // no reason to hurry
			t.Fatal(err)
		}
		if _, err := s.dial(p, "nobody", "", "server.test"); err == nil {
			t.Error("a new client came in")
		}
		if got := s.one(c, whoAmI); got != "t1" {
			t.Errorf("in the transaction: %s", got)
		}
		if _, err := c.Exec(t.Context(), "COMMIT"); err != nil {
			t.Error(err)
		}
		p.exits()
		if _, err := os.Lstat(filepath.Join(s.dir, "sock")); err == nil {
			t.Error("the socket is still there")
		}
		if in, out := len(p.lines("connection authenticated")), len(p.lines("connection closed")); in != 1 || out != 1 {
			t.Errorf("%d clients were authenticated and %d closed", in, out)
		}
	})
	t.Run("SIGTERM and no patience", func(t *testing.T) {
		s.settings["drain"] = "50ms"
		p := s.serve()
		c := begin(p)
		p.signal(syscall.SIGTERM)
		p.exits()
		if err := c.QueryRow(t.Context(), whoAmI).Scan(new(string)); err == nil {
			t.Error("the client goes on")
		}
		p.await("clients were cut off", 1)
		s.settings["drain"] = "1h"
	})
	t.Run("SIGTERM twice", func(t *testing.T) {
		p := s.serve()
		begin(p)
		p.signal(syscall.SIGTERM)
		p.await("draining: transactions may end", 1)
		p.signal(syscall.SIGTERM)
		p.exits()
	})
	t.Run("SIGINT", func(t *testing.T) {
		p := s.serve()
		begin(p)
		p.signal(syscall.SIGINT)
		p.exits()
	})
	t.Run("killed, and a socket left behind", func(t *testing.T) {
		p := s.serve()
		p.signal(syscall.SIGKILL)
		<-p.ended
		p = s.serve()
		c, err := net.Dial("unix", filepath.Join(s.dir, "sock"))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		p.signal(syscall.SIGINT)
		p.exits()
	})
}

// systemd listens as systemd does for its services (sd_notify(3)).
func systemd(t *testing.T, s *stage) <-chan string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(s.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chmod(filepath.Join(s.dir, "notify"), 0o777); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 100)
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	return said
}

func await(t *testing.T, said <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-said:
			if strings.HasPrefix(got, want) {
				return
			}
		case <-time.After(patience):
			t.Fatalf("systemd did not hear %s", want)
		}
	}
}

// TestServeRefusesRoot: it talks to strangers.
func TestServeRefusesRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	s := newStage(t)
	s.configure()
	binary := filepath.Join(s.dir, "claimpool")
	if err := exec.Command("cp", os.Args[0], binary).Run(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "serve", "-c", filepath.Join(s.dir, "claimpool.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "does not run as root") {
		t.Errorf("%v: %s", err, out)
	}
}
