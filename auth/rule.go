package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// Transport says which connections a rule is for.
type Transport string

// The transports that a rule may name. A unix socket counts as safe from listeners.
const (
	TLSDefault  Transport = ""         // any, but a token only over TLS or a unix socket
	TLSRequired Transport = "required" // TLS, or a unix socket
	TLSAny      Transport = "any"      // all; tokens too, even where somebody may listen
	TLSOff      Transport = "off"      // without TLS
	TLSLocal    Transport = "local"    // unix sockets alone
)

// all, in a list of databases or users, stands for every one.
const all = "all"

// others, in a list of databases, stands for every one that is not known.
const others = "*"

// Verifier verifies a token of any of the rule's issuers. *token.Set is one.
type Verifier interface {
	Verify(raw []byte) (*token.Token, error)
}

// Rule says how the clients that it matches prove who they are. Empty lists match everything.
type Rule struct {
	Name      string
	Databases []string // names, "all", or "*" for those that are not known
	Users     []string // names, or "all"

	// Known are the names that "*" among the databases does not stand for.
	Known map[string]bool

	// Addresses are where a client may come from. A rule with addresses does not match unix sockets.
	Addresses []netip.Prefix

	TLS    Transport
	Method claimpool.Method

	Issuers  Verifier  // who verifies tokens; for MethodJWT and MethodOAuth
	OAuth    OAuth     // for MethodOAuth
	Userlist *Userlist // the passwords; for MethodSCRAM and MethodMD5
	Lookup   *Lookup   // or where they are looked up; it wins over Userlist
	Keys     *Keys     // keeps what clients prove their passwords with; nil: nobody needs it

	// Map says which users the names of certificates, and users of this machine, may be. Nil: the one of the same name.
	Map        *UserMap
	CertName   CertName   // which name of a certificate counts
	CertClaims bool       // the certificate's names become claims; for MethodCert
	ClientCert ClientCert // beside the method
	Check      Check      // who judges passwords; for MethodLDAP and MethodPAM

	// Contexts verifies the tokens that clients without a token of their own may bring as their context, on top of the proof that
	// the method asks for. Nil: none may.
	Contexts Verifier

	// Failed is the text of the answer to a failed proof. Empty means PostgreSQL's.
	Failed string

	// Role is the database role of whoever is let in without a token. Empty means the user name.
	Role string
}

// check finds what can be found wrong in a rule by itself.
func (r *Rule) check() error {
	switch r.TLS {
	case TLSDefault, TLSRequired, TLSAny, TLSOff, TLSLocal:
	default:
		return fmt.Errorf("unknown TLS setting %q", r.TLS)
	}
	for _, p := range r.Addresses {
		if !p.IsValid() {
			return errors.New("an address is not valid")
		}
	}
	if err := r.checkNames(); err != nil {
		return err
	}
	switch {
	case r.Contexts == nil:
	case r.takesTokens() || r.Method == claimpool.MethodReject || r.Method == claimpool.MethodJIT || missing(r.Contexts):
		return fmt.Errorf("method %s takes no contexts", r.Method)
	case r.TLS == TLSOff:
		return errors.New(`contexts with tls "off" would send tokens in the clear; tls "any" allows that`)
	}
	switch r.Method {
	case claimpool.MethodReject:
	case claimpool.MethodTrust:
		for _, p := range r.Addresses {
			if !onlyLoopback(p) {
				return fmt.Errorf("method trust is for loopback addresses and unix sockets, not for %s", p)
			}
		}
	case claimpool.MethodJWT, claimpool.MethodOAuth:
		if missing(r.Issuers) {
			return fmt.Errorf("method %s needs issuers", r.Method)
		}
		if r.TLS == TLSOff {
			return fmt.Errorf(`method %s with tls "off" would send tokens in the clear; tls "any" allows that`, r.Method)
		}
		if r.Role != "" {
			return fmt.Errorf("method %s takes the role from the issuer's rule, not from here", r.Method)
		}
		if r.Method == claimpool.MethodOAuth && r.OAuth.Issuer == "" {
			return errors.New("method oauth needs an issuer to send clients to")
		}
	case claimpool.MethodJIT:
		if r.TLS == TLSOff {
			return errors.New(`method jit with tls "off" would send tokens in the clear; tls "any" allows that`)
		}
	case claimpool.MethodSCRAM, claimpool.MethodMD5:
		if r.Userlist == nil && r.Lookup == nil {
			return fmt.Errorf("method %s needs a user list, or a look-up", r.Method)
		}
	case claimpool.MethodCert, claimpool.MethodPeer:
	case claimpool.MethodLDAP, claimpool.MethodPAM:
		if r.Check == nil {
			return fmt.Errorf("method %s has nobody to ask", r.Method)
		}
		if r.TLS == TLSOff {
			return fmt.Errorf(`method %s with tls "off" would send passwords in the clear; tls "any" allows that`, r.Method)
		}
	default:
		return fmt.Errorf("unknown method %q", r.Method)
	}
	return nil
}

// checkNames finds what is wrong with what a rule asks of certificates and of the machine.
func (r *Rule) checkNames() error {
	switch r.CertName {
	case CertCN, CertDN, CertEmail, CertDNS, CertURI:
	default:
		return fmt.Errorf("unknown name of a certificate %q", r.CertName)
	}
	switch {
	case r.ClientCert != ClientCertNone && r.ClientCert != ClientCertCA && r.ClientCert != ClientCertFull:
		return fmt.Errorf("unknown demand for a certificate %q", r.ClientCert)
	case (r.Method == claimpool.MethodCert || r.ClientCert != ClientCertNone) && (r.TLS == TLSOff || r.TLS == TLSLocal):
		return errors.New("client certificates need TLS")
	case r.Method == claimpool.MethodPeer && r.TLS != TLSLocal:
		return errors.New(`method peer is for unix sockets: it needs tls "local"`)
	case r.CertClaims && (r.Method != claimpool.MethodCert || r.Contexts != nil):
		return errors.New("claims of certificates are for method cert, without contexts")
	case r.TLS == TLSLocal && len(r.Addresses) > 0:
		return errors.New("a rule for unix sockets has no addresses")
	}
	return nil
}

// takesPasswords reports whether clients send their passwords as they are.
func (r *Rule) takesPasswords() bool {
	return r.Method == claimpool.MethodLDAP || r.Method == claimpool.MethodPAM
}

func (r *Rule) takesTokens() bool { return byToken(r.Method) }

// missing also finds the nil *token.Set inside of the interface: a check must not pass because the checker is nil.
func missing(v Verifier) bool {
	set, ok := v.(*token.Set)
	return v == nil || ok && set == nil
}

// onlyLoopback reports whether every address of p is one of this machine.
func onlyLoopback(p netip.Prefix) bool {
	p = unmap(p)
	if p.Addr().Is4() {
		return p.Bits() >= 8 && p.Addr().IsLoopback()
	}
	return p.Bits() == 128 && p.Addr().IsLoopback()
}

// unmap writes ::ffff:10.0.0.0/104 as 10.0.0.0/8, the form in which clients' addresses are compared.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// matches reports whether the rule is for this client.
func (r *Rule) matches(req *Request) bool {
	return r.names(req) && r.from(req) && r.over(req)
}

// names reports whether the rule is for a client of this user and database, wherever it comes from.
func (r *Rule) names(req *Request) bool {
	is := listed(r.Databases, req.Database) || !r.Known[req.Database] && slices.Contains(r.Databases, others)
	return is && listed(r.Users, req.User)
}

// anywhere reports whether the rule is for all clients of the network, or of unix sockets, whatever their addresses and TLS.
func (r *Rule) anywhere(onUnix bool) bool {
	if onUnix {
		return r.from(&Request{Unix: true}) && r.over(&Request{Unix: true})
	}
	every := func(addr netip.Addr) bool { return slices.Contains(r.Addresses, netip.PrefixFrom(addr, 0)) }
	return (len(r.Addresses) == 0 || every(netip.IPv4Unspecified()) && every(netip.IPv6Unspecified())) && (r.TLS == TLSDefault || r.TLS == TLSAny)
}

func listed(list []string, name string) bool {
	return len(list) == 0 || slices.Contains(list, all) || slices.Contains(list, name)
}

func (r *Rule) from(req *Request) bool {
	if len(r.Addresses) == 0 {
		return true
	}
	if req.Unix {
		return false
	}
	ip := req.Addr.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(r.Addresses, func(p netip.Prefix) bool { return unmap(p).Contains(ip) })
}

func (r *Rule) over(req *Request) bool {
	switch r.TLS {
	case TLSRequired:
		return req.private()
	case TLSOff:
		return req.TLS == nil
	case TLSLocal:
		return req.Unix
	}
	return true
}

// private reports whether nobody on the way can read what the client sends.
func (req *Request) private() bool { return req.TLS != nil || req.Unix }

// choose finds the rule that decides: the first that matches. What its method refuses unseen is refused here.
func (a *Authenticator) choose(req *Request) (*Rule, error) {
	if req.User == "" {
		return nil, &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: "no PostgreSQL user name specified in startup packet",
		}
	}
	i := slices.IndexFunc(a.rules, func(r Rule) bool { return r.matches(req) })
	if i < 0 {
		return nil, a.noRule(req)
	}
	rule := &a.rules[i]
	switch {
	case rule.Method == claimpool.MethodReject:
		return nil, refusal("connection rejected for "+req.describe(), fmt.Errorf("rule %q rejects", rule.Name))
	case rule.Method == claimpool.MethodTrust && !req.local():
		return nil, refusal("connection rejected for "+req.describe(), fmt.Errorf("rule %q trusts, but not from another machine", rule.Name))
	case (rule.takesTokens() || rule.takesPasswords() || req.Context != nil) && rule.TLS != TLSAny && !req.private():
		// Refused before the token is asked for, so that it never crosses the network in the clear. One in the startup packet has
		// done so already: it must not work, so that people notice.
		err := refusal("TLS required", fmt.Errorf("rule %q takes tokens and passwords only over TLS", rule.Name))
		err.Hint = "Connect with TLS, for instance with sslmode=verify-full."
		return nil, err
	}
	return rule, nil
}

// Admits reports whether the rule that has let somebody in is the rule for another request, too.
func (a *Authenticator) Admits(id *claimpool.Identity, req Request) bool {
	rule, err := a.choose(&req)
	return err == nil && rule.Name == id.Rule
}

// noRule is the refusal of a client that no rule is for. It tells when TLS would have changed that.
func (a *Authenticator) noRule(req *Request) error {
	err := refusal("no rule for "+req.describe(), nil)
	withTLS := *req
	withTLS.TLS = new(tls.ConnectionState)
	if req.TLS == nil && slices.ContainsFunc(a.rules, func(r Rule) bool { return r.matches(&withTLS) }) {
		err.Hint = "Connect with TLS, for instance with sslmode=verify-full."
	}
	return err
}

func refusal(message string, cause error) *claimpool.Error {
	return &claimpool.Error{Code: claimpool.CodeInvalidAuthorization, Message: message, Cause: cause}
}

// local reports whether the client is on this machine.
func (req *Request) local() bool {
	return req.Unix || !req.Relayed && req.Addr.Addr().Unmap().IsLoopback()
}

// describe names a client as PostgreSQL's messages about pg_hba.conf do.
func (req *Request) describe() string {
	host, encryption := "[local]", "no encryption"
	if !req.Unix {
		host = req.Addr.Addr().Unmap().String()
	}
	if req.TLS != nil {
		encryption = "SSL encryption"
	}
	return fmt.Sprintf(`host "%s", user "%s", database "%s", %s`, host, req.User, req.Database, encryption)
}
