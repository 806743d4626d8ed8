package judge_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/judge"
	"github.com/claimpool/claimpool/pgtest"
)

const (
	annaDN   = "uid=anna,ou=people,dc=x"
	searchDN = "cn=search,dc=x"
)

// binds and searches are the two ways to a user's entry, at one directory.
func binds(d *directory) *judge.LDAP {
	return &judge.LDAP{URLs: []string{d.address}, Template: "uid={user},ou=people,dc=x", Timeout: 30 * time.Second}
}

func searches(d *directory) *judge.LDAP {
	return &judge.LDAP{
		URLs: []string{d.address}, Base: "dc=x", Filter: "(&(uid={user})(active=1))", BindDN: searchDN, Timeout: 30 * time.Second,
		Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret("search!"), nil },
	}
}

func people(d *directory) {
	d.change(func() {
		d.entries = map[string]string{annaDN: "correct", searchDN: "search!"}
		d.found = map[string][]string{"(&(uid=anna)(active=1))": {annaDN}, "(&(uid=twin)(active=1))": {annaDN, searchDN}}
	})
}

func TestLDAP(t *testing.T) {
	d := startDirectory(t, nil, false)
	for name, l := range map[string]*judge.LDAP{"bind": binds(d), "search": searches(d)} {
		for _, test := range []struct {
			user, password string
			good           bool
		}{{"anna", "correct", true}, {"anna", "wrong", false}, {"evey", "correct", false}, {"twin", "correct", false}} {
			people(d)
			dn, denied, err := l.Check(t.Context(), test.user, claimpool.Secret(test.password))
			if (err == nil) != test.good || denied == test.good || test.good && dn != annaDN {
				t.Errorf("%s: %s %s: %q %v %v", name, test.user, test.password, dn, denied, err)
			}
			if n, want := strings.Count(d.told(), "\n")+1, map[string]int{"bind": 1, "search": 3}[name]; n != want {
				t.Errorf("%s: %s %s: %d questions:\n%s", name, test.user, test.password, n, d.told())
			}
		}
	}
}

func TestLDAPOverTLS(t *testing.T) {
	ca := pgtest.NewCA(t)
	secure := ca.Server(t, "localhost").Config(ca, "localhost")
	wrong := ca.Server(t, "elsewhere.test").Config(ca, "localhost")
	for _, test := range []struct {
		name string
		d    *directory
		good bool
	}{
		{"ldaps", startDirectory(t, secure, true), true},
		{"start TLS", startDirectory(t, secure, false), true},
		{"a certificate of another", startDirectory(t, wrong, true), false},
		{"start TLS with a certificate of another", startDirectory(t, wrong, false), false},
		{"TLS refused", startDirectory(t, nil, false), false},
	} {
		people(test.d)
		l := binds(test.d)
		l.Roots = ca.Pool
		_, denied, err := l.Check(t.Context(), "anna", claimpool.Secret("correct"))
		if (err == nil) != test.good || denied || !test.good && strings.Contains(test.d.told(), "bind") {
			t.Errorf("%s: %v %v\n%s", test.name, denied, err, test.d.told())
		}
	}
	down := startDirectory(t, secure, true)
	people(down)
	l := binds(down)
	l.Roots, l.URLs = ca.Pool, []string{"ldaps://localhost:1", down.address}
	if _, _, err := l.Check(t.Context(), "anna", claimpool.Secret("correct")); err != nil {
		t.Errorf("the second server: %v", err)
	}
}

// TestAttackLDAPNames: the attacker writes user names and passwords that would mean more to a directory: other entries, wildcards, or a
// login as nobody, which every directory lets in.
//
// Must: The name is one value in the question, an empty password is never sent, and he is not let in.
// Dialects: none
func TestAttackLDAPNames(t *testing.T) {
	d := startDirectory(t, nil, false)
	for _, user := range []string{
		"*", "anna)(uid=*", "anna))(|(uid=*", "a*", "anna,ou=people,dc=x", "anna+cn=x", `anna\2c`, `\61nna`, " anna", "anna ", "#anna", "", "anna\x00", "an\nna", strings.Repeat("a", 300),
	} {
		for name, l := range map[string]*judge.LDAP{"bind": binds(d), "search": searches(d)} {
			people(d)
			if dn, denied, err := l.Check(t.Context(), user, claimpool.Secret("correct")); err == nil || !denied {
				t.Errorf("%s: %q became %q (%v)", name, user, dn, err)
			}
			for _, line := range strings.Split(d.told(), "\n") {
				parsed, err := ldap.ParseDN(strings.TrimPrefix(line, "bind "))
				switch {
				case strings.HasPrefix(line, "search") && (strings.Count(line, "(") != 3 || strings.Contains(line, "*")):
					t.Errorf("%q asked %s", user, line)
				case strings.HasPrefix(line, "bind uid") && (err != nil || len(parsed.RDNs) != 3 || len(parsed.RDNs[0].Attributes) != 1):
					t.Errorf("%q logged in as %s", user, line)
				}
			}
		}
	}
	for name, l := range map[string]*judge.LDAP{"bind": binds(d), "search": searches(d)} {
		people(d)
		if _, denied, err := l.Check(t.Context(), "anna", nil); err == nil || !denied || d.told() != "" {
			t.Errorf("%s: an empty password: %v, %s", name, err, d.told())
		}
	}
	l := searches(d)
	l.Password = func(context.Context) (claimpool.Secret, error) { return nil, nil }
	if _, _, err := l.Check(t.Context(), "anna", claimpool.Secret("correct")); err == nil {
		t.Error("the search logged in as nobody")
	}
}

// TestAttackLDAPAnswers: the directory, or whoever stands in its place, answers nonsense, late, or not at all.
//
// Must: Nobody is let in, nobody is blamed for it, it does not take longer than the timeout, and no error shows the password.
// Dialects: none
func TestAttackLDAPAnswers(t *testing.T) {
	d := startDirectory(t, nil, false)
	for name, change := range map[string]func(){
		"busy":              func() { d.entries, d.code = nil, ldap.LDAPResultBusy },
		"unavailable":       func() { d.entries, d.code = nil, ldap.LDAPResultUnavailable },
		"a referral":        func() { d.entries, d.code = nil, ldap.LDAPResultReferral },
		"an unknown result": func() { d.entries, d.code = nil, 4711 },
		"no LDAP":           func() { d.garbage = "HTTP/1.1 400 Bad Request\r\n\r\n" },
		"a broken message":  func() { d.garbage = "\x30\x84\xff\xff\xff\xff" },
		"silence":           func() { d.silent = true },
	} {
		people(d)
		d.change(change)
		for way, l := range map[string]*judge.LDAP{"bind": binds(d), "search": searches(d)} {
			l.Timeout = 300 * time.Millisecond
			begin := time.Now()
			dn, denied, err := l.Check(t.Context(), "anna", claimpool.Secret("correct"))
			if err == nil || denied || dn != "" || strings.Contains(err.Error(), "correct") || time.Since(begin) > 20*time.Second {
				t.Errorf("%s, %s: %q %v %v after %v", name, way, dn, denied, err, time.Since(begin))
			}
		}
		d.change(func() { d.code, d.garbage, d.silent = 0, "", false })
	}
}

// TestAttackLDAPAsleep: a directory agrees to begin TLS, and then says nothing more; or it is silent from the beginning.
//
// Must: A login must not wait for longer than the timeout, and the next directory must be asked in that time.
// Dialects: none
func TestAttackLDAPAsleep(t *testing.T) {
	ca := pgtest.NewCA(t)
	secure := ca.Server(t, "localhost").Config(ca, "localhost")
	for name, asleep := range map[string]*directory{
		"in STARTTLS": startDirectory(t, secure, false), "before it": startDirectory(t, secure, false), "in TLS": mute(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asleep.change(func() { asleep.asleep, asleep.silent = true, name == "before it" })
			l := binds(asleep)
			l.Roots, l.Timeout = ca.Pool, 300*time.Millisecond
			ended := make(chan error, 1)
			go func() {
				_, denied, err := l.Check(context.Background(), "anna", claimpool.Secret("correct"))
				if denied {
					err = nil
				}
				ended <- err
			}()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("somebody was let in, or blamed")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the login waits for ever")
			}
			awake := startDirectory(t, secure, true)
			people(awake)
			l.URLs, l.Timeout = append(l.URLs, awake.address), 10*time.Second
			if _, _, err := l.Check(t.Context(), "anna", claimpool.Secret("correct")); err != nil {
				t.Errorf("the next directory was not asked: %v", err)
			}
		})
	}
}

// mute is a directory that should speak TLS from the beginning, but never says a word.
func mute(t *testing.T) *directory {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // until the other side goes
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return &directory{address: "ldaps://" + l.Addr().String()}
}

// TestAttackLDAPFlood: somebody on the way to a directory answers in its place, before TLS, with a message that has no end.
//
// Must: It must be hung up on after a bounded number of bytes.
// Dialects: none
func TestAttackLDAPFlood(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan int, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n, _ := c.Write([]byte("\x30\x84\x7f\xff\xff\xf0\x04\x84\x7f\xff\xff\xe0"))
		for part, err := make([]byte, 64<<10), error(nil); err == nil && n < 512<<20; {
			var more int
			more, err = c.Write(part)
			n += more
		}
		sent <- n
	}()
	check := binds(&directory{address: "ldap://" + l.Addr().String()})
	if _, denied, err := check.Check(t.Context(), "anna", claimpool.Secret("correct")); err == nil || denied {
		t.Errorf("%v %v", denied, err)
	}
	if n := <-sent; n > 64<<20 { // with what the kernel keeps for both
		t.Errorf("it took %d bytes", n)
	}
}

// A directory that dies between the search and the login says nothing about anybody: not even that nobody is there.
func TestLDAPThatDies(t *testing.T) {
	d := startDirectory(t, nil, false)
	people(d)
	d.change(func() { d.dies = true })
	for _, user := range []string{"anna", "evey"} {
		if _, denied, err := searches(d).Check(t.Context(), user, claimpool.Secret("correct")); err == nil || denied {
			t.Errorf("%s: %v %v", user, denied, err)
		}
	}
}
