package proxy_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// balanced is a proxy behind a load balancer on this machine, and lets in who comes from 192.0.2.0/24.
func balanced(t *testing.T, rules ...auth.Rule) *plain {
	return startPlain(t, func(o *pgtest.ProxyOptions) {
		o.Balancers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		users, err := auth.ParseUserlist([]byte(`"ann" "secret"`))
		if err != nil {
			t.Fatal(err)
		}
		o.Rules = append(rules, auth.Rule{
			Name: "office", Method: claimpool.MethodMD5, TLS: auth.TLSAny, Userlist: users, Role: o.Role,
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		})
		o.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 10, LoginTimeout: patience, ClientsPerAddress: 1}
	})
}

func TestProxyProtocol(t *testing.T) {
	f := balanced(t)
	hello := func(header string) *peer {
		p := f.dial(t)
		p.send([]byte(header))
		return p.start(wire.Version30, "ann")
	}
	if got, _ := hello("PROXY TCP4 192.0.2.7 198.51.100.1 56324 5432\r\n").message(); got != "R" { // the password is asked for
		t.Errorf("from the office: %s", got)
	}
	if got := hello("PROXY TCP4 203.0.113.7 198.51.100.1 56324 5432\r\n").answer(); got != "E(28000 fatal) EOF" {
		t.Errorf("from elsewhere: %s", got)
	}
	soon(t, "the log names the clients' addresses", func() bool { return strings.Contains(f.Log.String(), "addr=203.0.113.7:56324") })
	if got := hello("").answer(); got != "EOF" {
		t.Errorf("without a header: %s", got)
	}
	tls := f.dial(t)
	tls.send([]byte("PROXY TCP4 192.0.2.8 198.51.100.1 56324 5432\r\n"))
	if got, _ := tls.secure(f).start(wire.Version30, "ann").message(); got != "R" {
		t.Errorf("with TLS: %s", got)
	}
	first := hello("PROXY TCP4 192.0.2.9 198.51.100.1 56324 5432\r\n")
	first.message()
	if got := hello("PROXY TCP4 192.0.2.9 198.51.100.1 56325 5432\r\n").answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("the second from one address: %s", got)
	}
}

// TestAttackProxyHeader: the attacker is anywhere in the network, and wants to count as a client of this machine, whom a rule
// trusts: by a header of his own where no balancer is expected, by one that the balancer passes on for him, or because the balancer does not
// know who he is.
//
// Must: He counts as who he is, or is refused.
// Dialects: none
func TestAttackProxyHeader(t *testing.T) {
	trust := auth.Rule{Name: "local", Method: claimpool.MethodTrust, TLS: auth.TLSAny, Users: []string{"root"}}
	header := []byte("PROXY TCP4 127.0.0.1 127.0.0.1 56324 5432\r\n")

	direct := startPlain(t, nil)
	p := direct.dial(t)
	p.Write(wire.AppendStartup(bytes.Clone(header), wire.Version30, [][2]string{{"user", "root"}, {"database", "postgres"}}))
	if got := p.answer(); strings.Contains(got, "Z(") {
		t.Errorf("a header where none is expected: %s", got)
	}
	f := balanced(t, trust)
	const v2 = "\r\n\r\n\x00\r\nQUIT\n"
	for name, test := range map[string]struct{ header, want string }{
		"of this machine":              {string(header), "E(28000 fatal) EOF"},
		"unknown":                      {"PROXY UNKNOWN\r\n", "E(28000 fatal) EOF"},
		"unknown, with an address":     {"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n", "E(28000 fatal) EOF"},
		"unspecified":                  {v2 + "\x21\x00\x00\x00", "E(28000 fatal) EOF"},
		"nobody: the balancer's check": {v2 + "\x20\x00\x00\x00", "R Z(I)"},
	} {
		p = f.dial(t)
		p.send([]byte(test.header))
		if got := p.start(wire.Version30, "root").answer(); got != test.want {
			t.Errorf("a client behind the balancer, %s: %s", name, got)
		}
		p.Close()
		soon(t, "he is gone", func() bool { return f.Clients() == 0 })
	}
}
