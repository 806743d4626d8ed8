package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
