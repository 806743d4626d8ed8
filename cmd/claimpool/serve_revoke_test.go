package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
)

// withRevocations puts the pack into the stage's database and the settings into its configuration, and gives the connection string
// of an administrator.
func (s *stage) withRevocations() (dsn string) {
	s.t.Helper()
	_, door, password, settings := s.withPack("revocation", "door.password")
	s.settings["more"] += "revocation: {" + settings + "}\n"
	s.settings["lifetime"] = ", max_lifetime: 1h"
	return s.cluster.DSN(s.database, door, password)
}

// withPack installs a pack, makes a role that may use it, with its password in a file, and gives the settings that name both.
func (s *stage) withPack(name, file string) (admin *pgx.Conn, role, password, settings string) {
	s.t.Helper()
	admin = s.cluster.Connect(s.t, s.database, cluster.Superuser, "")
	plan, err := database.PlanInstall(s.t.Context(), admin, database.Options{With: []string{name}})
	if err == nil {
		_, err = plan.Run(s.t.Context(), admin)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	role, password = s.cluster.NewRole(s.t)
	s.cluster.Exec(s.t, s.database, "GRANT claimpool_"+name+" TO "+pgx.Identifier{role}.Sanitize())
	s.put(file, []byte(password+"\n"))
	host, port, _ := strings.Cut(s.cluster.Address(), ":")
	return admin, role, password, fmt.Sprintf("dsn: 'host=%s port=%s dbname=%s user=%s', password: {file: %s}", host, port, s.database, role, file)
}

// sibling is the same stage in a folder of its own, for one more proxy.
func (s *stage) sibling() *stage {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "claimpool-serve-")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	next := *s
	next.dir = dir
	for _, name := range []string{"password", "server.key", "server.crt", "issuer.pem", "context.key", "door.password"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			s.t.Fatal(err)
		}
		next.put(name, data)
	}
	return &next
}

// Two proxies follow one table: a command signs a person out at both, and a third that starts later knows it too.
func TestServeRevocations(t *testing.T) {
	s := newStage(t)
	dsn := s.withRevocations()
	a, b := s.serve(), s.sibling().serve()
	ada, neighbour := s.login(a, "t1"), s.login(b, "t2")
	before := s.issuer.Mint("someone", nil) // a token of a later second is not revoked
	other, err := s.dial(b, s.role, s.issuer.Mint("other", nil), "server.test")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	env := &environment{ctx: t.Context(), out: &out, err: &errs}
	if status := run(env, []string{"revoke", "subject", "someone", "--issuer", "https://issuer.test", "--reason", "a test", "--dsn", dsn}); status != statusOK {
		t.Fatal(errs.String())
	}
	for i, p := range []*process{a, b} {
		if line := p.await("connection ended", 1); line["sqlstate"] != "28000" || line["reason"] != "you have been signed out" {
			t.Errorf("proxy %d: %v", i, line)
		}
	}
	for _, c := range []*pgx.Conn{ada, neighbour} {
		if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
			t.Error("still served")
		}
	}
	if got := s.one(other, "SELECT 'here'"); got != "here" {
		t.Error(got)
	}
	a.signal(syscall.SIGHUP) // a reload forgets nobody
	c := s.sibling().serve()
	for i, p := range []*process{a, b, c} {
		if _, err := s.dial(p, s.role, before, "server.test"); err == nil || !strings.Contains(err.Error(), "28P01") {
			t.Errorf("proxy %d: %v", i, err)
		}
		if line := p.await("connection refused", 1); !strings.Contains(fmt.Sprint(line["reason"]), "revoked") {
			t.Errorf("proxy %d: %v", i, line)
		}
	}
	if status := run(env, []string{"revoke", "list", "--dsn", dsn}); status != statusOK || !strings.Contains(out.String(), `by `) || !strings.Contains(out.String(), `"a test"`) {
		t.Errorf("%s%s", out.String(), errs.String())
	}
	for _, args := range [][]string{{"token"}, {"token", "j"}, {"token", "--hash", "ab"}, {"session", "s"}} {
		if status := run(env, append(append([]string{"revoke"}, args...), "--dsn", dsn)); status != statusUsage {
			t.Errorf("%v: %d", args, status)
		}
	}
}

// What was revoked by mistake is taken back at both of two proxies, by a command or by HTTP, and stays so over a restart. The audit stream
// of each has it.
func TestServeUndo(t *testing.T) {
	s := newStage(t)
	dsn := s.withRevocations()
	const secret = "0123456789abcdef0123456789abcdef"
	s.put("admin.token", []byte(secret+"\n"))
	s.settings["more"] += "audit: {to: file, file: audit.jsonl}\n"
	other := s.sibling()
	s.settings["more"] += "admin: {listen: '127.0.0.1:0', token: {file: admin.token}}\n"
	a := s.serve()
	other.settings = maps.Clone(s.settings)
	other.settings["more"] = strings.Split(s.settings["more"], "admin:")[0]
	b := other.serve()
	endpoint := a.await("listening for admin", 1)["addr"].(string)
	mine := s.issuer.Mint("someone", nil)
	comesIn := func(p *process, want bool) {
		t.Helper()
		soon(t, fmt.Sprintf("the login succeeds: %t", want), func() bool {
			c, err := s.dial(p, s.role, mine, "server.test")
			if err == nil {
				c.Close(t.Context())
			}
			return (err == nil) == want
		})
	}
	command := func(args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if status := run(&environment{ctx: t.Context(), out: &out, err: &errs}, append(args, "--dsn", dsn)); status != statusOK {
			t.Fatal(errs.String())
		}
		return out.String()
	}
	for i, undo := range []func(){
		func() { command("revoke", "undo", "1", "--reason", "the wrong one") },
		func() {
			for _, status := range []int{204, 409} {
				if got, text := call(t, "DELETE", endpoint, "/revocations/3?reason=again", "", "", secret); got != status {
					t.Errorf("%d %s", got, text)
				}
			}
		},
	} {
		command("revoke", "subject", "someone", "--issuer", "https://issuer.test")
		comesIn(a, false)
		comesIn(b, false)
		undo()
		comesIn(a, true)
		comesIn(b, true)
		if list := command("revoke", "list"); strings.Count(list, "(taken back by ") != i+1 {
			t.Error(list)
		}
	}
	if status, text := call(t, "GET", endpoint, "/revocations", "", "", secret); status != 200 || !strings.Contains(text, `"undone_by":4`) {
		t.Errorf("%d %s", status, text)
	}
	comesIn(other.sibling().serve(), true)
	for _, dir := range []string{s.dir, other.dir} {
		soon(t, "it is recorded", func() bool {
			stream, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
			return err == nil && strings.Contains(string(stream), `"event":"undo","iss":"https://issuer.test","sub":"someone","reason":"of revocation 1 by `) &&
				strings.Contains(string(stream), `of revocation 3 by `)
		})
	}
}

// While the table cannot be read nobody logs in, and the log says why.
func TestServeWithoutItsRevocations(t *testing.T) {
	s := newStage(t)
	s.withRevocations()
	s.put("door.password", []byte("wrong\n"))
	p := s.serve()
	_, err := s.dial(p, s.role, s.issuer.Mint("someone", nil), "server.test")
	if err == nil || !strings.Contains(err.Error(), "57P03") {
		t.Errorf("got %v", err)
	}
	p.await("the revocations cannot be read: logins are refused when that lasts, unless revocation.when_stale is serve", 1)
	if line := p.await("connection refused", 1); !strings.Contains(fmt.Sprint(line["reason"]), "could not be read") {
		t.Error(line)
	}
}
