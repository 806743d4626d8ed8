package auth

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestRuleMatches(t *testing.T) {
	from := func(addr string) Request {
		return Request{Database: "app", User: "anna", Addr: netip.MustParseAddrPort(addr)}
	}
	withTLS := func(r Request) Request { r.TLS = &tls.ConnectionState{}; return r }
	tcp := from("192.0.2.7:5000")
	for _, test := range []struct {
		name string
		rule Rule
		req  Request
		want bool
	}{
		{"empty rule", Rule{}, tcp, true},
		{"database named", Rule{Databases: []string{"other", "app"}}, tcp, true},
		{"database not named", Rule{Databases: []string{"other"}}, tcp, false},
		{"database in other case", Rule{Databases: []string{"App"}}, tcp, false},
		{"all databases", Rule{Databases: []string{"all"}}, tcp, true},
		{"user named", Rule{Users: []string{"anna"}}, tcp, true},
		{"user not named", Rule{Users: []string{"bert"}}, tcp, false},
		{"part of the user's name", Rule{Users: []string{"ann", "annabel"}}, tcp, false},
		{"all users", Rule{Users: []string{"all"}}, tcp, true},
		{"user but not database", Rule{Users: []string{"anna"}, Databases: []string{"other"}}, tcp, false},

		{"address inside", Rule{Addresses: prefixes("10.0.0.0/8", "192.0.2.0/24")}, tcp, true},
		{"address outside", Rule{Addresses: prefixes("192.0.3.0/24")}, tcp, false},
		{"IPv4 in IPv6 form", Rule{Addresses: prefixes("192.0.2.0/24")}, from("[::ffff:192.0.2.7]:5000"), true},
		{"prefix in IPv6 form", Rule{Addresses: prefixes("::ffff:192.0.2.0/120")}, tcp, true},
		{"IPv6 inside", Rule{Addresses: prefixes("2001:db8::/32")}, from("[2001:db8::1]:5000"), true},
		{"IPv6 outside", Rule{Addresses: prefixes("2001:db8::/32")}, from("[2001:db9::1]:5000"), false},
		{"IPv6 with a zone", Rule{Addresses: prefixes("fe80::/10")}, from("[fe80::1%eth0]:5000"), true},
		{"all of IPv6 is not IPv4", Rule{Addresses: prefixes("::/0")}, tcp, false},
		{"a unix socket has no address", Rule{Addresses: prefixes("0.0.0.0/0", "::/0")}, overUnix("anna"), false},
		{"a unix socket matches without addresses", Rule{}, overUnix("anna"), true},

		{"TLS required, with TLS", Rule{TLS: TLSRequired}, withTLS(tcp), true},
		{"TLS required, without", Rule{TLS: TLSRequired}, tcp, false},
		{"TLS required, unix socket", Rule{TLS: TLSRequired}, overUnix("anna"), true},
		{"TLS off, without", Rule{TLS: TLSOff}, tcp, true},
		{"TLS off, with TLS", Rule{TLS: TLSOff}, withTLS(tcp), false},
		{"TLS any, with TLS", Rule{TLS: TLSAny}, withTLS(tcp), true},
		{"TLS any, without", Rule{TLS: TLSAny}, tcp, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.rule.matches(&test.req); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestFirstRuleDecides(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	l := list(t)
	rules := []Rule{
		{Name: "no eve", Users: []string{"eve"}, Method: claimpool.MethodReject},
		{Name: "tokens", TLS: TLSRequired, Users: []string{"anna"}, Method: claimpool.MethodJWT, Issuers: iss.set},
		{Name: "app", Databases: []string{"app"}, Method: claimpool.MethodSCRAM, Userlist: l},
		{Name: "local", Databases: []string{"local"}, Method: claimpool.MethodTrust},
		{Name: "tokens again", Databases: []string{"plain"}, Method: claimpool.MethodJWT, Issuers: iss.set},
		{Name: "behind TLS", Databases: []string{"tls"}, TLS: TLSRequired, Method: claimpool.MethodSCRAM, Userlist: l},
	}
	in := func(database string, r Request) Request { r.Database = database; return r }
	for _, test := range []struct {
		name    string
		req     Request
		rule    string
		code    claimpool.Code
		message string
		hint    string
	}{
		{"rejected", overTCP("eve"), "", "28000", `connection rejected for host "192.0.2.7", user "eve", database "app", no encryption`, ""},
		{"rejected over TLS", overTLS("eve", nil), "", "28000", `connection rejected for host "192.0.2.7", user "eve", database "app", SSL encryption`, ""},
		{"anna over TLS has a token", overTLS("anna", nil), "tokens", "", "", ""},
		{"anna over a unix socket has a token", overUnix("anna"), "tokens", "", "", ""},
		{"anna without TLS has a password", overTCP("anna"), "app", "", "", ""},
		{"bert has a password", overTLS("bert", nil), "app", "", "", ""},
		{"trusted on loopback", in("local", overLoopback("bert")), "local", "", "", ""},
		{"trusted from afar", in("local", overTCP("bert")), "", "28000", `connection rejected for host "192.0.2.7"`, ""},
		{"token without TLS", in("plain", overTCP("bert")), "", "28000", "TLS required", "Connect with TLS"},
		{"no rule", in("other", overTCP("bert")), "", "28000", `no rule for host "192.0.2.7", user "bert", database "other", no encryption`, ""},
		{"no rule on a unix socket", in("other", overUnix("bert")), "", "28000", `no rule for host "[local]", user "bert"`, ""},
		{"no rule but for TLS", in("tls", overTCP("bert")), "", "28000", `no rule for host`, "Connect with TLS"},
		{"no user", overTCP(""), "", "28000", "no PostgreSQL user name specified in startup packet", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			rule, err := newAuth(t, rules...).choose(&test.req)
			if test.code != "" {
				refused(t, err, test.code, test.message)
				if hint := claimpool.AsError(err).Hint; !strings.HasPrefix(hint, test.hint) || (hint == "") != (test.hint == "") {
					t.Errorf("hint %q", hint)
				}
				return
			}
			if err != nil || rule.Name != test.rule {
				t.Errorf("got %v, %v", rule, err)
			}
		})
	}
}

func TestNewRefusesRules(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	for _, test := range []struct {
		name string
		rule Rule
		want string // empty: accepted
	}{
		{"reject", Rule{Method: claimpool.MethodReject}, ""},
		{"jwt", Rule{Method: claimpool.MethodJWT, Issuers: iss.set}, ""},
		{"scram", Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, ""},
		{"trust", Rule{Method: claimpool.MethodTrust}, ""},
		{"trust on loopback", Rule{Method: claimpool.MethodTrust, Addresses: prefixes("127.0.0.0/8", "127.0.0.1/32", "::1/128", "::ffff:127.0.0.0/104")}, ""},
		{"no method", Rule{}, "unknown method"},
		{"unknown method", Rule{Method: "Trust"}, "unknown method"},
		{"unknown TLS setting", Rule{Method: claimpool.MethodReject, TLS: "on"}, "unknown TLS setting"},
		{"invalid address", Rule{Method: claimpool.MethodReject, Addresses: []netip.Prefix{{}}}, "not valid"},
		{"jwt without issuers", Rule{Method: claimpool.MethodJWT}, "needs issuers"},
		{"jwt with a nil set", Rule{Method: claimpool.MethodJWT, Issuers: (*token.Set)(nil)}, "needs issuers"},
		{"jwt with TLS off", Rule{Method: claimpool.MethodJWT, Issuers: iss.set, TLS: TLSOff}, "in the clear"},
		{"jwt with a role", Rule{Method: claimpool.MethodJWT, Issuers: iss.set, Role: "app"}, "role"},
		{"scram with contexts", Rule{Method: claimpool.MethodSCRAM, Userlist: list(t), Contexts: iss.set}, ""},
		{"jwt with contexts", Rule{Method: claimpool.MethodJWT, Issuers: iss.set, Contexts: iss.set}, "takes no contexts"},
		{"reject with contexts", Rule{Method: claimpool.MethodReject, Contexts: iss.set}, "takes no contexts"},
		{"contexts of nobody", Rule{Method: claimpool.MethodTrust, Contexts: (*token.Set)(nil)}, "takes no contexts"},
		{"contexts with TLS off", Rule{Method: claimpool.MethodTrust, Contexts: iss.set, TLS: TLSOff}, "in the clear"},
		{"scram without users", Rule{Method: claimpool.MethodSCRAM}, "needs a user list"},
		{"md5 without users", Rule{Method: claimpool.MethodMD5}, "needs a user list"},
		{"trust for everybody", Rule{Method: claimpool.MethodTrust, Addresses: prefixes("0.0.0.0/0")}, "loopback"},
		{"trust for a network with loopback in it", Rule{Method: claimpool.MethodTrust, Addresses: prefixes("127.0.0.0/7")}, "loopback"},
		{"trust for all of IPv6", Rule{Method: claimpool.MethodTrust, Addresses: prefixes("::1/0")}, "loopback"},
		{"trust for half of IPv6", Rule{Method: claimpool.MethodTrust, Addresses: prefixes("::1/127")}, "loopback"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(Config{Rules: []Rule{test.rule}})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no rules at all were accepted")
	}
}
