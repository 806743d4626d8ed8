package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
	"github.com/claimpool/claimpool/wire"
)

// sendsBearer is a client of OAUTHBEARER. challenge is what it was told when its token was not taken.
func sendsBearer(first string) (c *client, challenge *[]byte) {
	challenge = new([]byte)
	return &client{answers: []answer{
		says(wire.AppendSASLInitial(nil, mechanismOAuth, []byte(first))),
		func(code uint32, rest []byte) []byte {
			*challenge = bytes.Clone(rest)
			return wire.AppendSASLResponse(nil, []byte{1})
		},
	}}, challenge
}

func oauthRule(iss issuer) Rule {
	return Rule{Method: claimpool.MethodOAuth, Issuers: iss.set, OAuth: OAuth{Issuer: issuerName, Scope: "openid db"}}
}

func TestOAuth(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	good := iss.mint(t, "anna", "")
	const refusedText, malformed = "OAuth bearer authentication failed for user \"anna\"", "malformed OAUTHBEARER message"
	for name, test := range map[string]struct {
		first string
		code  claimpool.Code // empty: let in
		text  string
		told  bool // where to get a token
	}{
		"token":                       {"n,,\x01auth=Bearer " + good + "\x01\x01", "", "", false},
		"scheme in small letters":     {"n,,\x01auth=bearer   " + good + "\x01\x01", "", "", false},
		"channel binding not offered": {"y,,\x01auth=Bearer " + good + "\x01\x01", "", "", false},
		"host and port":               {"n,,\x01host=db\x01port=5432\x01auth=Bearer " + good + "\x01\x01", "", "", false},
		"no token yet":                {"n,,\x01auth=\x01\x01", claimpool.CodeInvalidAuthorization, refusedText, true},
		"wrong signature":             {"n,,\x01auth=Bearer " + flip(good) + "\x01\x01", claimpool.CodeInvalidAuthorization, refusedText, true},
		"expired":                     {"n,,\x01auth=Bearer " + expired(t, iss) + "\x01\x01", claimpool.CodeInvalidAuthorization, refusedText, true},
		"another user":                {"n,,\x01auth=Bearer " + iss.mint(t, "bert", "") + "\x01\x01", claimpool.CodeInvalidAuthorization, refusedText, true},
		"not a JWT":                   {"n,,\x01auth=Bearer opaque\x01\x01", claimpool.CodeInvalidAuthorization, refusedText, true},

		"channel binding":     {"p=tls-server-end-point,,\x01auth=Bearer " + good + "\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"authorization id":    {"n,a=bert,\x01auth=Bearer " + good + "\x01\x01", claimpool.CodeFeatureNotSupported, "authorization identity", false},
		"no auth":             {"n,,\x01host=db\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"two tokens":          {"n,,\x01auth=Bearer " + good + "\x01auth=Bearer " + good + "\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"question and token":  {"n,,\x01auth=\x01auth=Bearer " + good + "\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"no end":              {"n,,\x01auth=Bearer " + good + "\x01", claimpool.CodeProtocolViolation, malformed, false},
		"more behind the end": {"n,,\x01auth=Bearer " + good + "\x01\x01x", claimpool.CodeProtocolViolation, malformed, false},
		"other scheme":        {"n,,\x01auth=Basic YTpi\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"no space":            {"n,,\x01auth=Bearer" + good + "\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"zero byte":           {"n,,\x01auth=Bearer a\x00b\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"key with a digit":    {"n,,\x01k1=v\x01auth=Bearer " + good + "\x01\x01", claimpool.CodeProtocolViolation, malformed, false},
		"nothing":             {"", claimpool.CodeProtocolViolation, malformed, false},
		"header only":         {"n,,", claimpool.CodeProtocolViolation, malformed, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, challenge := sendsBearer(test.first)
			id, err := newAuth(t, oauthRule(iss)).Authenticate(t.Context(), overUnix("anna"), c)
			if test.code == "" {
				if err != nil || id.Method != claimpool.MethodOAuth || id.Subject != "anna" || id.Issuer != issuerName {
					t.Fatal(id, err)
				}
				if want := wire.AppendAuthSASL(nil, mechanismOAuth); !bytes.Equal(c.sent, want) { // no AuthenticationSASLFinal
					t.Errorf("sent %q, want %q", c.sent, want)
				}
				return
			}
			refused(t, err, test.code, test.text)
			var told struct {
				Status        string
				Configuration string `json:"openid-configuration"`
				Scope         string
			}
			if json.Unmarshal(*challenge, &told) == nil != test.told {
				t.Fatalf("told %q", *challenge)
			}
			if test.told && (told.Status != "invalid_token" || told.Configuration != issuerName+"/.well-known/openid-configuration" || told.Scope != "openid db") {
				t.Errorf("told %+v", told)
			}
		})
	}
}

func TestOAuthIssuerOfAnotherForm(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	for issuer, want := range map[string]string{
		"https://i.example/": "https://i.example/.well-known/openid-configuration",
		"https://i.example/.well-known/oauth-authorization-server/x": "https://i.example/.well-known/oauth-authorization-server/x",
	} {
		rule := oauthRule(iss)
		rule.OAuth.Issuer = issuer
		c, challenge := sendsBearer("n,,\x01auth=\x01\x01")
		if _, err := newAuth(t, rule).Authenticate(t.Context(), overUnix("anna"), c); err == nil || !strings.Contains(string(*challenge), `"`+want+`"`) {
			t.Errorf("%s: told %s (%v)", issuer, *challenge, err)
		}
	}
}

// A client may leave its first message out, and one that leaves in place of the last byte is refused all the same.
func TestOAuthOfTerseClients(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	c := &client{answers: []answer{
		says(wire.AppendSASLInitial(nil, mechanismOAuth, nil)),
		says(wire.AppendSASLResponse(nil, []byte("n,,\x01auth=Bearer "+iss.mint(t, "anna", "")+"\x01\x01"))),
	}}
	if _, err := newAuth(t, oauthRule(iss)).Authenticate(t.Context(), overUnix("anna"), c); err != nil {
		t.Error(err)
	}
	c, _ = sendsBearer("n,,\x01auth=\x01\x01")
	c.answers = c.answers[:1]
	_, err := newAuth(t, oauthRule(iss)).Authenticate(t.Context(), overUnix("anna"), c)
	refused(t, err, claimpool.CodeInvalidAuthorization, "OAuth bearer authentication failed")
}

// TestAttackOAuthGuessing: the attacker tries token after token.
//
// Must: He is slowed down as with passwords; whoever only asks where to get a token, which libpq does at every login, is not.
func TestAttackOAuthGuessing(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	try := func(a *Authenticator, first string) error {
		c, _ := sendsBearer(first)
		_, err := a.Authenticate(t.Context(), overTLS("anna", nil), c)
		return err
	}
	a, err := New(Config{
		Rules: []Rule{oauthRule(iss)}, Throttle: Throttle{Failures: 3, Window: time.Minute}, Clock: func() time.Time { return epoch },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		refused(t, try(a, "n,,\x01auth=\x01\x01"), claimpool.CodeInvalidAuthorization, "OAuth bearer")
	}
	for range 20 {
		if err := try(a, "n,,\x01auth=Bearer guess\x01\x01"); claimpool.AsError(err).Code == claimpool.CodeConnectionRejected {
			return
		}
	}
	t.Error("the attacker may go on for ever")
}

// TestAttackOAuthOnPlainTCP: somebody listens on the network.
//
// Must: The token must not be asked for where he can hear it.
func TestAttackOAuthOnPlainTCP(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	c, _ := sendsBearer("n,,\x01auth=Bearer " + iss.mint(t, "anna", "") + "\x01\x01")
	_, err := newAuth(t, oauthRule(iss)).Authenticate(t.Context(), overTCP("anna"), c)
	refused(t, err, claimpool.CodeInvalidAuthorization, "TLS required")
	if len(c.sent) > 0 {
		t.Errorf("the client was asked: %q", c.sent)
	}
}

func FuzzBearer(f *testing.F) {
	for _, s := range []string{"n,,\x01auth=Bearer abc.def.ghi\x01\x01", "y,a=x,\x01auth=\x01\x01", "p=x,,\x01\x01", "n,,\x01auth=\x01auth=\x01\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := parseBearer(b)
		if err != nil {
			if claimpool.AsError(err).Code == "XX000" {
				t.Errorf("%v", err)
			}
			return
		}
		if len(tok) > 0 && (!bytes.Contains(b, tok) || bytes.ContainsAny(tok, "\x00\x01 ,")) {
			t.Errorf("%q gives %q", b, tok)
		}
		if again, err := parseBearer(fmt.Appendf(nil, "n,,\x01auth=Bearer %s\x01\x01", tok)); len(tok) > 0 && (err != nil || !bytes.Equal(again, tok)) {
			t.Errorf("%q is not read again: %v", tok, err)
		}
	})
}
