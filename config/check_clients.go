package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claimpool/claimpool/mapping"
)

// maxSocketPath is the longest path of a unix socket (sun_path of Linux, without the final zero).
const maxSocketPath = 107

// listen checks the addresses and certificates of the listeners.
func (k *checker) listen() {
	if len(k.c.Listen) == 0 {
		k.wrong("listen", "there is no address to listen on", "As in: listen: 127.0.0.1:6432")
	}
	seen := map[string]bool{}
	for i, l := range k.c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		if err := CheckListen(l.Address); err != nil {
			k.wrong(key+".address", err.Error(), `Write "127.0.0.1:6432", ":6432" for all interfaces, or "unix:/run/claimpool/.s.PGSQL.6432".`)
		}
		if seen[l.Address] {
			k.wrong(key+".address", quote(l.Address)+" is listed twice", "Remove one of them.")
		}
		seen[l.Address] = true
		if strings.HasPrefix(l.Address, "unix:") && len(l.ProxyProtocol) > 0 {
			k.wrong(key+".proxy_protocol", "is for addresses of the network, not for unix sockets", "Remove it.")
		}
		if slices.ContainsFunc(l.ProxyProtocol, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
			k.warn(key+".proxy_protocol", "believes everybody who says whose connection it is", "Name the addresses of the load balancers.")
		}
		if l.TLS != k.c.TLS {
			k.certificate(key+".tls", l.TLS)
		}
	}
	k.certificate("tls", k.c.TLS)
	k.userMaps()
}

// CheckListen says what is wrong with an address to listen on.
func CheckListen(address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		switch {
		case !strings.HasPrefix(path, "/"):
			return fmt.Errorf("the path of a unix socket must begin with /, not %s", quote(path))
		case len(path) > maxSocketPath:
			return fmt.Errorf("the path of a unix socket has at most %d bytes, this one has %d", maxSocketPath, len(path))
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("cannot understand the address %s", quote(address))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the port must be a number up to 65535, not %s", quote(port))
	}
	return nil
}

// certificate checks that a certificate and its key can be used together.
func (k *checker) certificate(key string, t TLS) {
	if k.pair(key, t.CertFile, t.KeyFile) {
		k.usable(key, t.CertFile, t.KeyFile)
	}
	if t.ClientCAFile != "" && !t.Enabled() {
		k.wrong(key+".client_ca_file", "is of no use without a certificate of the proxy's own", "Set tls.cert_file and tls.key_file.")
	}
	k.file(key+".client_ca_file", t.ClientCAFile)
	if t.ClientCRLFile != "" && t.ClientCAFile == "" {
		k.wrong(key+".client_crl_file", "is of no use where no client is asked for a certificate", "Set tls.client_ca_file.")
	}
	k.file(key+".client_crl_file", t.ClientCRLFile)
}

func (k *checker) usable(key, certFile, keyFile string) {
	// The library's text may say what a file holds, but not its secrets.
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		k.wrong(key+".cert_file", "the certificate and its key cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "),
			"Both must be PEM, and the key must belong to the first certificate.")
	}
}

// issuers checks each issuer by itself, and that no two have the same "iss".
func (k *checker) issuers() {
	k.decryptionKeys()
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(k.c.Issuers)) {
		is, key := k.c.Issuers[name], "issuers."+name
		if k.needed(key+".issuer", is.Issuer, `It is compared with the token's "iss".`) {
			if other, ok := seen[is.Issuer]; ok {
				k.wrong(key+".issuer", "is the same as that of "+other, "One issuer may have several key files; put them together.")
			}
			seen[is.Issuer] = name
		}
		if len(is.Audience) == 0 {
			k.wrong(key+".audience", "is missing", `Without it a token that was made for another service would be accepted here. Use what your tokens have in "aud".`)
		}
		k.keySource(key, is)
		if slices.Contains(is.Audience, "*") {
			if len(is.Audience) > 1 {
				k.wrong(key+".audience", `"*" stands alone or not at all`, "")
			}
			k.warn(key+".audience", "accepts tokens that the issuer made for other services", `List what your tokens have in "aud".`)
		}
		for i, file := range is.Keys {
			k.keyFile(fmt.Sprintf("%s.keys[%d]", key, i), file)
		}
		k.roleRule(key+".role", is.Role)
		k.expressions(key, is)
	}
}

// Expressions gives the expressions of an issuer; none are left out.
func (is Issuer) Expressions() mapping.Spec {
	return mapping.Spec{Conditions: is.Conditions, Role: is.Role.Expression, Context: is.Context}
}

// expressions checks what CEL can know without a token: syntax, names and types.
func (k *checker) expressions(key string, is Issuer) {
	_, err := mapping.Compile(is.Expressions())
	var e *mapping.Error
	switch {
	case err == nil:
	case !errors.As(err, &e):
		k.wrong(key, err.Error(), "")
	case e.Field == "Conditions":
		k.wrong(fmt.Sprintf("%s.conditions[%d]", key, e.Index), e.Error(), "")
	case e.Field == "Role":
		k.wrong(key+".role.expression", e.Error(), "")
	default:
		k.wrong(key+".context", e.Error(), "")
	}
}

// keySource checks that an issuer has one place for its keys: files, its description, or an address.
func (k *checker) keySource(key string, is Issuer) {
	var given []string
	for _, place := range []struct {
		name string
		is   bool
	}{{"keys", len(is.Keys) > 0}, {"discovery", is.Discovery != ""}, {"jwks_url", is.JWKSURL != ""},
		{"introspection", is.Introspection.URL != ""}} {
		if place.is {
			given = append(given, place.name)
		}
	}
	switch {
	case len(given) == 0:
		k.wrong(key+".keys", "there are no keys", "As in: keys: issuer.jwks.json, or discovery: https://id.example.com")
	case len(given) > 1:
		k.wrong(key, "has "+strings.Join(given, " and "), "Keep one of them.")
	case is.Discovery != "" && is.Discovery != is.Issuer:
		k.wrong(key+".discovery", "is not the issuer "+quote(is.Issuer), `An issuer's description must be its own: write both exactly as the token's "iss", or leave "issuer" out.`)
	}
	k.introspection(key+".introspection", is.Introspection)
	for _, given := range [][2]string{{"discovery", is.Discovery}, {"jwks_url", is.JWKSURL}} {
		name, address := given[0], given[1]
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			k.wrong(key+"."+name, quote(address)+" is no address", "As in: https://id.example.com")
		} else if address != "" && u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() {
			k.wrong(key+"."+name, "must begin with https://", "Over http everybody on the way could change the keys; it is for loopback addresses alone.")
		}
	}
	if fetched := is.Discovery != "" || is.JWKSURL != ""; !fetched {
		k.onlyFetched(key, is)
	}
	if is.Fetch.StaleAfter < is.Fetch.Interval {
		k.wrong(key+".fetch.stale_after", "is shorter than the interval", "Keys would be too old before they are fetched again.")
	}
	k.file(key+".fetch.ca_file", is.Fetch.CAFile)
	k.file(key+".fetch.x5c_ca_file", is.Fetch.X5CCAFile)
}

// onlyFetched notes what is given for keys that are not fetched.
func (k *checker) onlyFetched(key string, is Issuer) {
	if len(is.Algorithms) > 0 {
		k.wrong(key+".algorithms", "is for fetched keys", "Files have their own, as in: keys: {file: issuer.pem, algorithms: RS256}")
	}
	for _, file := range [][2]string{{"ca_file", is.Fetch.CAFile}, {"x5c_ca_file", is.Fetch.X5CCAFile}} {
		if file[1] != "" {
			k.wrong(key+".fetch."+file[0], "is only used with discovery or jwks_url", "")
		}
	}
}

func (k *checker) keyFile(key string, f KeyFile) {
	if f.Env != "" {
		k.keyVariable(key, f)
		return
	}
	hmac := func(a string) bool { return strings.HasPrefix(a, "HS") }
	switch {
	case !k.needed(key+".file", f.File, "Name a PEM, JWK, JWKS or secret file."):
	case slices.ContainsFunc(f.Algorithms, hmac):
		k.secretFile(key+".file", f.File)
	default:
		k.file(key+".file", f.File)
	}
	if slices.ContainsFunc(f.Algorithms, hmac) && slices.ContainsFunc(f.Algorithms, func(a string) bool { return !hmac(a) }) {
		// CVE-2015-9235: a public key that is also taken for an HMAC secret lets anybody sign.
		k.wrong(key+".algorithms", "HS algorithms and others are mixed", "A key is either a secret or a public key; list the files apart.")
	}
}

func (k *checker) roleRule(key string, r RoleRule) {
	switch {
	case r.From == "claim" && r.Claim == "":
		k.wrong(key+".claim", "is missing", `Name the claim that holds the role, as in "claim: role".`)
	case r.From != "claim" && r.Claim != "":
		k.wrong(key+".claim", `is only used with "from: claim"`, "")
	}
	switch {
	case r.From == "fixed" && r.Value == "":
		k.wrong(key+".value", "is missing", `Name the role, as in "value: app_user".`)
	case r.From != "fixed" && r.Value != "":
		k.wrong(key+".value", `is only used with "from: fixed"`, "")
	}
	switch {
	case r.From == "expression" && r.Expression == "":
		k.wrong(key+".expression", "is missing", `As in "expression: claims.groups".`)
	case r.From != "expression" && r.Expression != "":
		k.wrong(key+".expression", `is only used with "from: expression"`, "")
	}
	if (r.From == "claim" || r.From == "expression") && len(r.Allow) == 0 {
		k.wrong(key+".allow", "is missing", "List the roles that tokens may ask for; else the issuer could choose any role, even a superuser.")
	}
}

// rules checks the rules, each by itself and in their order.
func (k *checker) rules() {
	if len(k.c.Rules) == 0 {
		k.wrong("rules", "there are no rules, so nobody can log in", "As in: rules: [{method: jwt}]")
	}
	seen, all := map[string]bool{}, ""
	for i, r := range k.c.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		if seen[r.Name] {
			k.wrong(key+".name", quote(r.Name)+" is used twice", "Names must tell rules apart in the log.")
		}
		seen[r.Name] = true
		if all != "" {
			k.warn(key, "is never reached", quote(all)+" matches every client before it. The first rule that matches decides.")
		}
		if r.matchesAll() {
			all = r.Name
		}
		for j, db := range r.Databases {
			if _, ok := k.c.Databases[db]; !ok && db != "all" && (db != k.c.Console.Database || db == "") {
				k.wrong(fmt.Sprintf("%s.databases[%d]", key, j), "there is no database "+quote(db), suggest(db, slices.Sorted(maps.Keys(k.c.Databases))))
			}
		}
		k.method(key, r)
	}
	if k.c.UsersFile != "" {
		k.secretFile("users_file", k.c.UsersFile)
	}
}

// matchesAll reports whether no client can get past the rule.
func (r Rule) matchesAll() bool {
	all := func(list []string) bool { return len(list) == 0 || slices.Contains(list, "all") }
	return all(r.Databases) && all(r.Users) && len(r.Addresses) == 0 && r.TLS == "any"
}

// matchesDatabase reports whether a client that asks for the database may meet the rule.
func (r Rule) matchesDatabase(name string) bool {
	return len(r.Databases) == 0 || slices.Contains(r.Databases, "all") || slices.Contains(r.Databases, name)
}

// method checks that a rule has what its method needs, and nothing that its method does not use.
func (k *checker) method(key string, r Rule) {
	switch r.Method {
	case "":
		k.wrong(key+".method", "is missing", "Say how clients prove who they are: jwt, oauth, jit, scram-sha-256, md5, cert, peer, ldap, pam, trust or reject.")
	case "jwt", "oauth":
		k.tokenRule(key, r)
	case "jit":
		k.jitRule(key, r)
	case "scram-sha-256", "md5":
		k.lookups(key, r)
		if k.c.UsersFile == "" && r.Passwords == "file" {
			k.wrong("users_file", "is missing", "The method "+r.Method+" of "+quote(r.Name)+" needs the users' passwords.")
		}
	case "trust":
		loopback := func(p netip.Prefix) bool {
			return p.Addr().IsLoopback() && (p.Addr().Is6() && p.Bits() == 128 || p.Addr().Is4() && p.Bits() >= 8)
		}
		for i, p := range r.Addresses {
			if !loopback(p) {
				k.wrong(fmt.Sprintf("%s.addresses[%d]", key, i), "the method trust is only for loopback addresses and unix sockets", `Use 127.0.0.0/8 or ::1, or another method.`)
			}
		}
		k.warn(key+".method", "trust lets everybody on this machine in as any user that the rule names", "Use it for trials only.")
	}
	if !r.takesTokens() && len(r.Issuers) > 0 {
		k.wrong(key+".issuers", `is only used with "method: jwt" and "method: oauth"`, "")
	}
	if r.Method != "oauth" && r.Scope != "" {
		k.wrong(key+".scope", `is only used with "method: oauth"`, "")
	}
	k.contextIssuers(key, r)
	k.names(key, r)
	k.judges(key, r)
	tcp := slices.ContainsFunc(k.c.Listen, func(l Listener) bool { return !strings.HasPrefix(l.Address, "unix:") })
	certificate := slices.ContainsFunc(k.c.Listen, func(l Listener) bool { return l.TLS.Enabled() })
	if r.TLS == "required" && tcp && !certificate && r.Method != "reject" {
		k.warn(key+".tls", "needs TLS, but there is no certificate, so no TCP client can use this rule", "Set tls.cert_file and tls.key_file.")
	}
}

func (r Rule) takesTokens() bool { return r.Method == "jwt" || r.Method == "oauth" }

// home is the name of the issuer that a rule with the method oauth sends clients to; empty when nothing says which.
func (c *Config) home(r Rule) string {
	switch {
	case len(r.Issuers) > 0:
		return r.Issuers[0]
	case len(c.Issuers) == 1:
		return slices.Collect(maps.Keys(c.Issuers))[0]
	}
	return ""
}

// OAuthIssuer is the URL of the issuer that a rule with the method oauth sends clients to.
func (c *Config) OAuthIssuer(r Rule) string { return c.Issuers[c.home(r)].Issuer }

func (k *checker) tokenRule(key string, r Rule) {
	if r.Method == "oauth" {
		k.oauthRule(key, r)
	}
	if len(k.c.Issuers) == 0 {
		k.wrong("issuers", "is missing", "The method "+r.Method+" of "+quote(r.Name)+" needs to know whose tokens to accept.")
	}
	if len(k.c.Issuers) > 0 {
		k.issuerNames(key+".issuers", r.Issuers)
		names := r.Issuers
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(k.c.Issuers))
		}
		k.introspecting(key+".issuers", names)
	}
	if r.Role != "" {
		k.wrong(key+".role", "is not used with the method "+r.Method, `Set the issuer's "role" instead.`)
	}
	if r.TLS == "off" {
		k.warn(key+".tls", "tokens cross the network in the clear, and whoever sees one can use it", `Prefer "tls: required".`)
	}
}

// oauthRule checks where clients are sent for a token: libpq takes nothing but https there.
func (k *checker) oauthRule(key string, r Rule) {
	name := k.c.home(r)
	issuer, ok := k.c.Issuers[name]
	switch {
	case name == "" && len(k.c.Issuers) > 1:
		k.wrong(key+".issuers", "is missing, and there are several issuers", "Name first the one that clients without a token are sent to.")
	case ok && !strings.HasPrefix(issuer.Issuer, "https://"):
		k.warn("issuers."+name+".issuer", "is not an https URL, so clients of rule "+quote(r.Name)+" cannot find out where to get a token",
			"They must have one when they connect.")
	}
}

// issuerNames checks that every name is that of an issuer.
func (k *checker) issuerNames(key string, names []string) {
	for i, name := range names {
		if _, ok := k.c.Issuers[name]; !ok {
			k.wrong(fmt.Sprintf("%s[%d]", key, i), "there is no issuer "+quote(name), suggest(name, slices.Sorted(maps.Keys(k.c.Issuers))))
		}
	}
}

// contextIssuers checks whose tokens clients may bring on top of a password.
func (k *checker) contextIssuers(key string, r Rule) {
	key += ".context_issuers"
	switch {
	case len(r.ContextIssuers) == 0:
	case r.takesTokens() || r.Method == "reject" || r.Method == "jit":
		k.wrong(key, "is not used with the method "+r.Method, "It is for clients with a password.")
	case r.TLS == "off":
		k.wrong(key, "would have tokens cross the network in the clear", `Use "tls: required".`)
	default:
		k.issuerNames(key, r.ContextIssuers)
	}
}
