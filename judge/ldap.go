package judge

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/claimpool/claimpool"
)

// LDAP is a directory that judges passwords: a login with a user's name and password (a bind, RFC 4511, section 4.2) succeeds there or
// not.
type LDAP struct {
	URLs     []string       // ldaps://host or ldap://host, tried in their order; ldap:// goes over to TLS, but on loopback addresses without Roots
	Roots    *x509.CertPool // sign the servers' certificates; nil means those of the system
	Template string         // the distinguished name of a user, with {user}; empty: it is searched for
	Base     string         // where
	Filter   string         // with {user}; it must find one entry
	BindDN   string         // who searches; empty: nobody
	Password func(ctx context.Context) (claimpool.Secret, error)
	Timeout  time.Duration
}

const (
	placeholder = "{user}"
	// maxUser bounds a user name that goes to a directory or an authenticator; PostgreSQL's have at most 63 bytes.
	maxUser = 255
)

// Check reports whether a password is a user's, and gives the user's distinguished name. denied says that an error is the directory's
// own answer. Names that are not there get a login, too, so that they take as long.
func (l *LDAP) Check(ctx context.Context, user string, password claimpool.Secret) (dn string, denied bool, err error) {
	switch {
	case len(password) == 0: // a login as nobody, which always succeeds (RFC 4513, section 5.1.2)
		return "", true, errors.New("the password is empty")
	case user == "" || len(user) > maxUser || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", true, errors.New("the user name is no name for a directory")
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	c, err := l.connect(ctx)
	if err != nil {
		return "", false, err
	}
	defer c.Close()
	dn, known := strings.ReplaceAll(l.Template, placeholder, ldap.EscapeDN(user)), true
	if l.Template == "" {
		if dn, known, err = l.search(ctx, c.Conn, user); err != nil {
			return "", false, err
		}
	}
	err = c.Bind(dn, string(password))
	switch {
	case err == nil && known:
		return dn, false, nil
	case err != nil && (known || !isAnswer(err)): // no answer is none for anybody: else it would tell who is there
		return "", isAnswer(err), fmt.Errorf("login at the directory: %w", err)
	}
	return "", true, errors.New("the directory has not exactly one entry for the user")
}

// search finds the user's entry. For one that is not there it gives a name that nobody has.
func (l *LDAP) search(ctx context.Context, c *ldap.Conn, user string) (dn string, known bool, err error) {
	if l.BindDN != "" {
		secret, err := l.Password(ctx)
		if err != nil {
			return "", false, fmt.Errorf("get the password of the search: %w", err)
		}
		defer secret.Clear()
		if len(secret) == 0 {
			return "", false, errors.New("the password of the search is empty")
		}
		if err := c.Bind(l.BindDN, string(secret)); err != nil {
			return "", false, fmt.Errorf("login of the search at the directory: %w", err)
		}
	}
	filter := l.Filter
	if filter == "" {
		filter = "(uid=" + placeholder + ")"
	}
	found, err := c.Search(&ldap.SearchRequest{
		BaseDN: l.Base, Scope: ldap.ScopeWholeSubtree, DerefAliases: ldap.NeverDerefAliases, SizeLimit: 2,
		TimeLimit: max(1, int(l.Timeout.Seconds())), Filter: strings.ReplaceAll(filter, placeholder, ldap.EscapeFilter(user)), Attributes: []string{"1.1"},
	})
	switch {
	case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", false, fmt.Errorf("search the directory: %w", err)
	case err == nil && len(found.Entries) == 1 && found.Entries[0].DN != "":
		return found.Entries[0].DN, true, nil
	}
	return "cn=" + rand.Text() + "," + l.Base, false, nil
}

// isAnswer reports whether a failed login is the directory's judgement of the password, and not a fault of its own.
func isAnswer(err error) bool {
	for _, code := range []uint16{
		ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultInsufficientAccessRights,
	} {
		if ldap.IsErrorWithCode(err, code) {
			return true
		}
	}
	return false
}
