package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// hbaWord is one word of a line. A quoted one has no special meaning (PostgreSQL, "The pg_hba.conf File").
type hbaWord struct {
	text   string
	quoted bool
}

// hbaField is what stands between spaces: words with commas between them.
type hbaField []hbaWord

// readHBA reads the rules of hba_file. What a line says and the proxy cannot do is an error: a rule that was left out could let the next
// one let somebody in.
func (c *Config) readHBA() Problems {
	text, err := os.ReadFile(c.HBAFile)
	var problems Problems
	wrong := func(line int, message string) {
		problems = append(problems, Problem{File: c.HBAFile, Line: line, Column: 1, Message: message})
	}
	switch {
	case err != nil:
		return Problems{{File: c.file, Key: "hba_file", Message: "cannot read " + c.HBAFile, Hint: "Relative paths begin in the folder of the configuration file."}}
	case len(c.Rules) > 0:
		return Problems{{File: c.file, Key: "rules", Message: "there are rules here and in hba_file", Hint: "Keep one of them: their order decides."}}
	case len(text) > maxFile:
		wrong(1, fmt.Sprintf("larger than %d MiB", maxFile>>20))
		return problems
	}
	number, joined := 0, ""
	for line := range strings.Lines(string(text)) {
		number++
		line = joined + strings.TrimRight(line, "\r\n")
		if joined = ""; strings.HasSuffix(line, `\`) {
			joined = strings.TrimSuffix(line, `\`)
			continue
		}
		fields, err := hbaFields(line)
		if err == nil && len(fields) > 0 {
			var r *Rule
			if r, err = c.hbaRule(fields); err == nil && r != nil {
				r.Name = fmt.Sprintf("%s line %d", "hba_file", number)
				c.Rules = append(c.Rules, *r)
			}
		}
		if err != nil {
			wrong(number, err.Error())
		}
	}
	if joined != "" {
		wrong(number, "the last line goes on, and there is no next one")
	}
	return problems
}

// hbaFields splits a line. A # outside of quotes begins a comment.
func hbaFields(line string) (fields []hbaField, err error) {
	var field hbaField
	var word strings.Builder
	inWord, inQuotes, wasQuoted := false, false, false
	endWord := func() {
		if inWord {
			field = append(field, hbaWord{word.String(), wasQuoted})
		}
		word.Reset()
		inWord, wasQuoted = false, false
	}
	endField := func() {
		if endWord(); field != nil {
			fields = append(fields, field)
		}
		field = nil
	}
	comma := false
	for _, r := range line {
		switch {
		case r == '"' && !inQuotes && wasQuoted:
			return nil, errors.New("a word with two pairs of quotes")
		case r == '"':
			inQuotes, inWord, wasQuoted, comma = !inQuotes, true, true, false
		case inQuotes:
			word.WriteRune(r)
		case r == '#':
			endField()
			return fields, nil
		case r == ',':
			if !inWord {
				return nil, errors.New("a comma without a word before it")
			}
			endWord()
			comma = true
		case r == ' ' || r == '\t':
			if !comma { // "a, b" is one field
				endField()
			}
		default:
			inWord, comma = true, false
			word.WriteRune(r)
		}
	}
	if inQuotes {
		return nil, errors.New("a quote does not end")
	}
	endField()
	return fields, nil
}

// hbaRule makes a rule of one line; nil for a line that is for replication alone: the settings of the database say who may replicate.
func (c *Config) hbaRule(fields []hbaField) (*Rule, error) {
	kind := fields[0][0].text
	r := c.NewRule()
	need := 4
	switch kind {
	case "local":
		r.TLS = "local"
	case "host":
		r.TLS = "" // both, but no tokens or passwords in the clear
		need = 5
	case "hostssl":
		r.TLS = "required"
		need = 5
	case "hostnossl":
		r.TLS = "off"
		need = 5
	case "hostgssenc", "hostnogssenc":
		return nil, fmt.Errorf("%s is not supported: the proxy does not speak GSSAPI", kind)
	case "include", "include_if_exists", "include_dir":
		return nil, fmt.Errorf("%s is not supported: put the lines into one file", kind)
	default:
		return nil, fmt.Errorf("unknown type of connection %s", quote(kind))
	}
	if len(fields) < need {
		return nil, errors.New("the line ends too early: TYPE DATABASE USER ADDRESS METHOD, without ADDRESS for local")
	}
	var err error
	if replication := fields[1]; len(replication) == 1 && replication[0] == (hbaWord{"replication", false}) {
		return nil, nil
	}
	if r.Databases, err = hbaNames(fields[1], "database", "sameuser", "samerole", "samegroup", "replication"); err != nil {
		return nil, err
	}
	if r.Users, err = hbaNames(fields[2], "user"); err != nil {
		return nil, err
	}
	rest := fields[3:]
	if kind != "local" {
		if r.Addresses, rest, err = hbaAddresses(rest); err != nil {
			return nil, err
		}
	}
	if len(rest) == 0 || len(rest[0]) != 1 {
		return nil, errors.New("the method is missing")
	}
	return &r, hbaMethod(&r, kind, rest[0][0].text, rest[1:])
}

// hbaNames reads databases or users. Words with a meaning that the proxy cannot give them are refused.
func hbaNames(f hbaField, what string, keywords ...string) (names []string, err error) {
	for _, w := range f {
		switch {
		case w.quoted && w.text == "all":
			return nil, fmt.Errorf("a %s of the name all cannot be told from all of them", what)
		case w.text == "*" && what == "database":
			return nil, errors.New("a database of the name * cannot be told from those that are not listed")
		case w.quoted:
		case slices.Contains(keywords, w.text):
			return nil, fmt.Errorf("%s is not supported", w.text)
		case strings.HasPrefix(w.text, "+"):
			return nil, fmt.Errorf("%s is not supported: the proxy does not know who is a member of which role", quote(w.text))
		case strings.HasPrefix(w.text, "@"):
			return nil, fmt.Errorf("%s is not supported: write the names out", quote(w.text))
		case strings.HasPrefix(w.text, "/"):
			return nil, fmt.Errorf("%s is not supported: write the names out", quote(w.text))
		}
		if w.text == "" {
			return nil, fmt.Errorf("an empty name of a %s", what)
		}
		names = append(names, w.text)
	}
	return names, nil
}

// hbaAddresses reads the address: a network, an address and its mask, or all. all must not match unix sockets, so it is written out.
func hbaAddresses(fields []hbaField) (list []netip.Prefix, rest []hbaField, err error) {
	if len(fields[0]) != 1 {
		return nil, nil, errors.New("there must be one address")
	}
	text, rest := fields[0][0].text, fields[1:]
	switch {
	case text == "all" && !fields[0][0].quoted:
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, rest, nil
	case text == "samehost" || text == "samenet":
		return nil, nil, fmt.Errorf("%s is not supported: write the networks out", text)
	case strings.Contains(text, "/"):
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Zone() != "" {
			return nil, nil, fmt.Errorf("%s is no network", quote(text))
		}
		return []netip.Prefix{p.Masked()}, rest, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return nil, nil, fmt.Errorf("%s is no address: names of hosts are not supported, because who answers for a name decides who may log in", quote(text))
	}
	if len(rest) == 0 || len(rest[0]) != 1 {
		return nil, nil, errors.New("an address needs a mask: 10.0.0.0/8, or 10.0.0.0 255.0.0.0")
	}
	bits, err := maskBits(rest[0][0].text, a)
	if err != nil {
		return nil, nil, err
	}
	return []netip.Prefix{netip.PrefixFrom(a, bits).Masked()}, rest[1:], nil
}

// maskBits counts the bits of a mask such as 255.255.0.0. Ones behind a zero are refused.
func maskBits(text string, a netip.Addr) (int, error) {
	m, err := netip.ParseAddr(text)
	if err != nil || m.Is4() != a.Is4() {
		return 0, fmt.Errorf("%s is no mask of this address", quote(text))
	}
	bits, ended := 0, false
	for _, b := range m.AsSlice() {
		for i := 7; i >= 0; i-- {
			one := b>>i&1 == 1
			if one && ended {
				return 0, fmt.Errorf("%s is no mask: it has ones behind zeros", quote(text))
			}
			if ended = !one; one {
				bits++
			}
		}
	}
	return bits, nil
}

// hbaMethod reads the method and its options.
func hbaMethod(r *Rule, kind, method string, options []hbaField) error {
	r.Method = method
	switch method {
	case "trust", "reject", "scram-sha-256", "md5", "jwt":
	case "password":
		return errors.New("the method password is not supported: use scram-sha-256, which takes the same passwords")
	case "cert":
		if kind != "hostssl" {
			return errors.New("the method cert needs hostssl")
		}
	case "peer":
		if kind != "local" {
			return errors.New("the method peer needs local")
		}
	case "gss", "sspi", "ident", "radius", "bsd", "ldap", "pam", "oauth":
		return fmt.Errorf("the method %s is not supported in this file; ldap, pam and oauth are in rules", method)
	default:
		return fmt.Errorf("unknown method %s", quote(method))
	}
	for _, field := range options {
		if len(field) != 1 {
			return errors.New("an option has a comma in it")
		}
		name, value, ok := strings.Cut(field[0].text, "=")
		switch {
		case !ok:
			return fmt.Errorf("%s is no option: NAME=VALUE", quote(field[0].text))
		case name == "map" && (method == "cert" || method == "peer"):
			r.UserMap = value
		case name == "clientcert" && kind == "hostssl" && (value == "verify-ca" || value == "verify-full"):
			r.ClientCert = value
		case name == "clientname" && kind == "hostssl" && (value == "CN" || value == "DN"):
			r.CertName = strings.ToLower(value)
		case name == "issuers" && method == "jwt": // ours
			r.Issuers = strings.Split(value, "+")
		default:
			return fmt.Errorf("the option %s is not supported here", quote(field[0].text))
		}
	}
	return nil
}
