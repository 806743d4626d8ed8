package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// names checks what a rule asks of certificates and of the machine.
func (k *checker) names(key string, r Rule) {
	certificates := r.Method == "cert" || r.ClientCert != "none"
	authority := slices.ContainsFunc(k.c.Listen, func(l Listener) bool { return l.TLS.ClientCAFile != "" })
	switch {
	case certificates && (r.TLS == "off" || r.TLS == "local"):
		k.wrong(key+".tls", "leaves no client with a certificate", `Use "tls: required".`)
	case certificates && !authority:
		k.wrong(key, "asks for certificates of clients, but nothing says who signs them", "Set tls.client_ca_file.")
	case r.Method == "peer" && r.TLS != "local":
		k.wrong(key+".tls", "must be local for the method peer", "Only unix sockets tell who the client is.")
	case r.TLS == "local" && len(r.Addresses) > 0:
		k.wrong(key+".addresses", "do not go with unix sockets", "Remove them.")
	}
	if r.CertClaims != "none" && (r.Method != "cert" || len(r.ContextIssuers) > 0) {
		k.wrong(key+".cert_claims", `is only used with "method: cert", without context_issuers`, "")
	}
	if r.UserMap == "" {
		return
	}
	switch {
	case r.Method != "cert" && r.Method != "peer" && r.ClientCert != "verify-full":
		k.wrong(key+".user_map", "is only used with certificates, and with the method peer", "")
	case !slices.ContainsFunc(k.c.UserMaps, func(m UserMap) bool { return m.Map == r.UserMap }):
		k.wrong(key+".user_map", "there is no line of "+quote(r.UserMap)+" in user_maps", "Nobody could log in.")
	}
}

// userMaps checks the lines of the maps by themselves.
func (k *checker) userMaps() {
	for i, m := range k.c.UserMaps {
		key := fmt.Sprintf("user_maps[%d]", i)
		k.needed(key+".map", m.Map, "Rules refer to it.")
		k.needed(key+".from", m.From, "")
		k.needed(key+".to", m.To, "")
		text, expression := strings.CutPrefix(m.From, "/")
		if !expression {
			continue
		}
		p, err := regexp.Compile(text)
		switch {
		case err != nil:
			k.wrong(key+".from", "the regular expression cannot be understood", "It is of the kind RE2.")
		case !strings.HasPrefix(text, "^") || !strings.HasSuffix(text, "$") || strings.HasSuffix(text, `\$`):
			k.wrong(key+".from", "must match the whole name", "Begin it with ^ and end it with $: else strangers could choose names that match.")
		case strings.Contains(m.To, `\1`) && p.NumSubexp() == 0:
			k.wrong(key+".to", `\1 needs a group in the expression`, "")
		}
	}
}

// judges checks the rules whose passwords somebody else judges.
func (k *checker) judges(key string, r Rule) {
	if r.TLS == "off" && (r.Method == "ldap" || r.Method == "pam") {
		k.wrong(key+".tls", "would have passwords cross the network in the clear", `Use "tls: required".`)
	}
	switch {
	case r.Method == "pam" && r.PAMSocket == "":
		k.wrong(key+".pam_socket", "is missing", "As in: pam_socket: /run/claimpool-pam/socket")
	case r.Method != "pam" && r.PAMSocket != "":
		k.wrong(key+".pam_socket", `is only used with "method: pam"`, "")
	}
	given := len(r.LDAP.URLs) > 0 || r.LDAP.Template != "" || r.LDAP.Base != ""
	switch {
	case r.Method == "ldap":
		k.ldap(key+".ldap", r.LDAP)
	case given:
		k.wrong(key+".ldap", `is only used with "method: ldap"`, "")
	}
}

func (k *checker) ldap(key string, l LDAP) {
	if len(l.URLs) == 0 {
		k.wrong(key+".urls", "is missing", "As in: urls: ldaps://ldap.example.com")
	}
	for i, text := range l.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "ldaps" && u.Scheme != "ldap" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			k.wrong(fmt.Sprintf("%s.urls[%d]", key, i), quote(text)+" is no address of a directory", "As in ldaps://ldap.example.com, or ldap:// with STARTTLS.")
		}
	}
	k.file(key+".ca_file", l.CAFile)
	switch {
	case l.Template != "" && (l.Base != "" || l.Filter != "" || l.BindDN != ""):
		k.wrong(key+".template", "does not go with base, filter and bind_dn", "Users are either known by their names, or searched for.")
	case l.Template != "" && !strings.Contains(l.Template, "{user}"):
		k.wrong(key+".template", "holds no {user}: everybody would be the same entry", "")
	case l.Template == "" && l.Base == "":
		k.wrong(key+".template", "is missing, and base, too", `As in template: "uid={user},ou=people,dc=example,dc=com".`)
	case l.Filter != "" && !strings.Contains(l.Filter, "{user}"):
		k.wrong(key+".filter", "holds no {user}: everybody would be the same entry", "")
	case l.BindDN != "" && l.BindPassword.Empty():
		k.wrong(key+".bind_password", "is missing", "A login without a password succeeds as nobody.")
	}
	k.secret(key+".bind_password", l.BindPassword)
	if s := l.BindPassword; s.Client != "" || s.Vault.Path != "" || s.Cloud.From != "" {
		k.wrong(key+".bind_password", "comes from a file, the environment or a program", "")
	}
}
