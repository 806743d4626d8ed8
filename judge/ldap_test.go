package judge_test

import (
	"context"
	"strings"
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
	return &judge.LDAP{URLs: []string{d.address}, Template: "uid={user},ou=people,dc=x", Timeout: 5 * time.Second}
}

func searches(d *directory) *judge.LDAP {
	return &judge.LDAP{
		URLs: []string{d.address}, Base: "dc=x", Filter: "(&(uid={user})(active=1))", BindDN: searchDN, Timeout: 5 * time.Second,
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
			if err == nil || denied || dn != "" || strings.Contains(err.Error(), "correct") || time.Since(begin) > 5*time.Second {
				t.Errorf("%s, %s: %q %v %v after %v", name, way, dn, denied, err, time.Since(begin))
			}
		}
		d.change(func() { d.code, d.garbage, d.silent = 0, "", false })
	}
}
