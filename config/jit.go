package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// jit checks just-in-time access to a database.
func (k *checker) jit(key string, j JIT) {
	if j.APIURL == "" {
		if j.Lifetime != 0 || j.HandOn != "never" || j.CAFile != "" {
			k.wrong(key+".api_url", "is missing", "As in: jit: https://api.example.com/database/jit")
		}
		return
	}
	k.address(key+".api_url", j.APIURL, "everybody on the way could read the tokens")
	k.file(key+".ca_file", j.CAFile)
}

// address checks the address of somebody who decides who may log in.
func (k *checker) address(key, address, danger string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		k.wrong(key, quote(address)+" is no address", "As in: https://id.example.com")
	case u.User != nil || u.Fragment != "":
		k.wrong(key, "holds more than an address", "Leave out what stands before @ and behind #.")
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		k.wrong(key, "must begin with https://", "Over http "+danger+"; it is for loopback addresses alone.")
	}
}

// jitRule checks that every database of a rule has an API.
func (k *checker) jitRule(key string, r Rule) {
	has := func(name string) bool { return k.c.Databases[name].JIT.APIURL != "" }
	if len(r.Databases) == 0 || slices.Contains(r.Databases, "all") {
		k.wrong(key+".databases", "is missing", `Name the databases that have "jit".`)
	}
	for _, name := range r.Databases {
		if _, ok := k.c.Databases[name]; ok && !has(name) {
			k.wrong("databases."+name+".jit", "is missing", "The method jit of "+quote(r.Name)+" needs an API to ask.")
		}
	}
	if strings.EqualFold(r.TLS, "off") {
		k.wrong(key+".tls", "would have tokens cross the network in the clear", `Use "tls: required".`)
	}
}
