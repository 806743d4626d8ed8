package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

const whoAmI = "SELECT jwt('tenant_id')"

// reloads is a proxy that is reloaded under a client of tenant t1.
type reloads struct {
	*stage
	*process
	client *pgx.Conn
}

// check holds that the client is served.
func (r *reloads) check(t *testing.T) {
	t.Helper()
	if got := r.one(r.client, whoAmI); got != "t1" {
		t.Errorf("the tenant is %s", got)
	}
}

// reason is what the last reload has changed.
func (r *reloads) reason() string {
	return fmt.Sprint(r.await("configuration reloaded", len(r.lines("configuration reloaded")))["reason"])
}

// rewrite changes the text of the configuration, and reloads it.
func (r *reloads) rewrite(t *testing.T, change func(string) string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.stage.dir, "claimpool.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.put("claimpool.yaml", []byte(change(string(text))))
	r.signal(syscall.SIGHUP)
}

func TestServeReloads(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	r := &reloads{s, p, s.login(p, "t1")}
	r.check(t)
	t.Run("a changed size", r.size)
	t.Run("nothing", r.nothing)
	t.Run("broken files", r.broken)
	t.Run("what needs a restart", r.restart)
	t.Run("a new certificate in the same file", r.renew)
	t.Run("a certificate in another file", r.certificates)
	t.Run("a new key of the issuer", r.issuerKey)
	t.Run("a new context key", r.sealKey)
	t.Run("a database that is gone", r.gone)
	p.signal(syscall.SIGTERM)
	p.exits()
}

func (r *reloads) size(t *testing.T) {
	r.settings["size"] = "1"
	r.configure()
	r.signal(syscall.SIGHUP)
	if got := r.reason(); !strings.Contains(got, "pool.size") {
		t.Errorf("reloaded: %s", got)
	}
	r.check(t)
}

func (r *reloads) nothing(t *testing.T) {
	pid := r.one(r.client, "SELECT pg_backend_pid()::text")
	r.signal(syscall.SIGHUP)
	if got := r.reason(); got != "nothing has changed" {
		t.Errorf("reloaded: %s", got)
	}
	if got := r.one(r.client, "SELECT pg_backend_pid()::text"); got != pid {
		t.Error("a server was replaced")
	}
}

func (r *reloads) broken(t *testing.T) {
	for name, tt := range map[string]struct{ more, want string }{
		"not YAML":            {"rules: [", "claimpool.yaml:"},
		"unknown key":         {"limit: {max_clients: 1}", `claimpool.yaml:20:1: limit: unknown key. Did you mean "limits"?`},
		"bad value":           {"throttle: {failures: many}", "claimpool.yaml:20:22:"},
		"a key that is away":  {"users_file: nowhere.txt", "nowhere.txt"},
		"an issuer of no key": {"", "issuer.pem"},
	} {
		r.settings["more"] = tt.more
		r.configure()
		if name == "an issuer of no key" {
			r.put("issuer.pem", []byte("rubbish"))
		}
		failed := len(r.lines("the configuration was not reloaded: the old one stays"))
		r.signal(syscall.SIGHUP)
		line := r.await("the configuration was not reloaded: the old one stays", failed+1)
		if got := fmt.Sprint(line["err"]); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		r.check(t)
		r.login(r.process, "t2").Close(t.Context())
	}
	r.settings["more"] = ""
	r.copyKey("issuer.pem", r.issuer)
	r.configure()
	r.signal(syscall.SIGHUP)
	r.reason()
}

func (r *reloads) restart(t *testing.T) {
	r.settings["more"] = "loops: 2"
	r.configure()
	r.signal(syscall.SIGHUP)
	if got := fmt.Sprint(r.await("some changes need a restart", 1)["reason"]); got != "loops" {
		t.Errorf("these need a restart: %s", got)
	}
	r.settings["more"] = ""
	r.configure()
	r.signal(syscall.SIGHUP)
}

func (r *reloads) renew(t *testing.T) {
	cert := r.ca.Server(t, "renewed.test")
	r.put("server.key", cert.KeyPEM)
	r.put("server.crt", cert.CertPEM)
	soon(t, "the new certificate", func() bool {
		c, err := r.dial(r.process, "nobody", "", "renewed.test")
		if err == nil {
			c.Close(t.Context())
		}
		return err == nil
	})
	r.check(t)
}

func (r *reloads) certificates(t *testing.T) {
	r.certificate("other")
	r.rewrite(t, func(text string) string { return strings.ReplaceAll(text, "server.", "other.") })
	c, err := r.dial(r.process, "nobody", "", "other.test")
	if err != nil {
		t.Fatal(err)
	}
	c.Close(t.Context())
	r.certificate("server")
	r.configure()
	r.signal(syscall.SIGHUP)
}

func (r *reloads) issuerKey(t *testing.T) {
	old := r.issuer
	r.issuer = pgtest.NewIssuer(t, old.Name)
	r.copyKey("issuer.pem", r.issuer)
	soon(t, "the new key", func() bool {
		c, err := r.dial(r.process, r.role, r.issuer.Mint("someone", nil), "server.test")
		if err == nil {
			c.Close(t.Context())
		}
		return err == nil
	})
	if _, err := r.dial(r.process, r.role, old.Mint("someone", nil), "server.test"); err == nil {
		t.Error("a token of the old key was accepted")
	}
	r.check(t) // who is in stays in
}

func (r *reloads) sealKey(t *testing.T) {
	pid := r.one(r.client, "SELECT pg_backend_pid()::text")
	admin := r.cluster.Connect(t, r.database, cluster.Superuser, "")
	plan, err := database.PlanAddKey(t.Context(), admin, "k2")
	if err != nil {
		t.Fatal(err)
	}
	r.contextKey(plan, admin)
	soon(t, "the servers are replaced", func() bool { return r.one(r.client, "SELECT pg_backend_pid()::text") != pid })
	if plan, err = database.PlanRemoveKey(t.Context(), admin, "k1"); err == nil {
		_, err = plan.Run(t.Context(), admin)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.check(t)
	r.check(t)
}

func (r *reloads) gone(t *testing.T) {
	r.rewrite(t, func(text string) string { return strings.Replace(text, "\n  app:\n", "\n  other:\n", 1) })
	if _, err := r.dial(r.process, "nobody", "", "server.test"); err == nil || !strings.Contains(err.Error(), "3D000") {
		t.Errorf("a new client got %v", err)
	}
	if err := r.client.QueryRow(t.Context(), whoAmI).Scan(new(string)); err == nil || !strings.Contains(err.Error(), "57P01") {
		t.Errorf("an old client got %v", err)
	}
}

// begin is a client in a transaction.
func (s *stage) begin(p *process) *pgx.Conn {
	s.t.Helper()
	c := s.login(p, "t1")
	if _, err := c.Exec(s.t.Context(), "BEGIN"); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestServeEnds: SIGTERM lets a transaction end, SIGINT does not, and systemd hears of everything.
func TestServeEnds(t *testing.T) {
	s := newStage(t)
	t.Run("SIGTERM", s.drains)
	t.Run("SIGTERM and no patience", func(t *testing.T) {
		s.settings["drain"] = "50ms"
		p := s.serve()
		c := s.begin(p)
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
		s.begin(p)
		p.signal(syscall.SIGTERM)
		p.await("draining: transactions may end", 1)
		p.signal(syscall.SIGTERM)
		p.exits()
	})
	t.Run("SIGINT", func(t *testing.T) {
		p := s.serve()
		s.begin(p)
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

func (s *stage) drains(t *testing.T) {
	notified := systemd(t, s)
	p := s.serve("NOTIFY_SOCKET=" + filepath.Join(s.dir, "notify"))
	await(t, notified, "READY=1")
	p.signal(syscall.SIGHUP)
	await(t, notified, "RELOADING=1")
	await(t, notified, "READY=1")
	c := s.begin(p)
	p.signal(syscall.SIGTERM)
	await(t, notified, "STOPPING=1")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil { // no reason to hurry
		t.Fatal(err)
	}
	soon(t, "the listeners are closed", func() bool { _, err := os.Lstat(filepath.Join(s.dir, "sock")); return err != nil })
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
	if in, out := len(p.lines("connection authenticated")), len(p.lines("connection closed")); in != 1 || out != 1 {
		t.Errorf("%d clients were authenticated and %d closed", in, out)
	}
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
