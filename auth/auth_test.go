package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	xdg "github.com/xdg-go/scram"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/token"
	"github.com/claimpool/claimpool/wire"
)

// client is a client in memory: it answers each message of ours with the next of its answers, and then hangs up.
type client struct {
	answers []answer
	sent    []byte // all that the proxy sent
	last    []byte // the last message
}

// answer gives a message to send back; last is what the proxy sent last, as code and rest.
type answer func(code uint32, rest []byte) []byte

func (c *client) Send(b []byte) error {
	c.sent, c.last = append(c.sent, b...), b
	return nil
}

func (c *client) Receive(limit int) (byte, []byte, error) {
	if len(c.answers) == 0 {
		return 0, nil, io.EOF
	}
	next := c.answers[0]
	c.answers = c.answers[1:]
	code, rest, err := wire.ParseAuth(c.last[wire.HeaderLen:])
	if err != nil {
		return 0, nil, err
	}
	return wire.ReadMessage(strings.NewReader(string(next(code, rest))), limit)
}

// says answers with fixed bytes.
func says(b []byte) answer { return func(uint32, []byte) []byte { return b } }

// sends is a client that answers a request for its password.
func sends(password string) *client {
	return &client{answers: []answer{says(wire.AppendPassword(nil, []byte(password)))}}
}

// sendsMD5 is a client that runs the md5 exchange.
func sendsMD5(user, password string) *client {
	return &client{answers: []answer{func(code uint32, salt []byte) []byte {
		if code != wire.AuthMD5 {
			return nil
		}
		inner := md5.Sum([]byte(password + user))
		outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt...))
		return wire.AppendPassword(nil, []byte("md5"+hex.EncodeToString(outer[:])))
	}}}
}

// sendsSCRAM is a client that runs SCRAM with a library of other people; binding nil is the plain mechanism.
func sendsSCRAM(password string, binding []byte) *client {
	c, err := xdg.SHA256.NewClient("ignored", password, "")
	if err != nil {
		panic(err)
	}
	mech, conv := scram.Mechanism, c.NewConversation()
	if binding != nil {
		mech = scram.MechanismPlus
		conv = c.NewConversationWithChannelBinding(xdg.ChannelBinding{Type: xdg.ChannelBindingTLSServerEndpoint, Data: binding})
	}
	step := func(_ uint32, rest []byte) []byte {
		out, err := conv.Step(string(rest))
		if err != nil {
			return nil
		}
		return wire.AppendSASLResponse(nil, []byte(out))
	}
	first := func(uint32, []byte) []byte {
		out, err := conv.Step("")
		if err != nil {
			panic(err)
		}
		return wire.AppendSASLInitial(nil, mech, []byte(out))
	}
	return &client{answers: []answer{first, step}}
}

// epoch is the time of all tests.
var epoch = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

const issuerName = "https://issuer.example"

// issuer signs tokens, and its Set verifies them.
type issuer struct {
	*token.Signer
	set *token.Set
}

func newIssuer(t testing.TB, role token.RoleRule) issuer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.NewSigner("", "k1", key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.NewSet(&token.Verifier{
		Rules: token.Rules{Issuer: issuerName, Audience: []string{"db"}, Role: role},
		Keys:  token.Keys{signer.Key()}, Clock: func() time.Time { return epoch },
	})
	if err != nil {
		t.Fatal(err)
	}
	return issuer{signer, set}
}

// mint makes a token for a subject that is valid for a minute; more is put behind its claims.
func (i issuer) mint(t testing.TB, subject, more string) string {
	t.Helper()
	raw, err := i.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"db","sub":%q,"exp":%d%s}`, issuerName, subject, epoch.Unix()+60, more))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// list is a user list with one user of each kind; all have the password "correct".
func list(t testing.TB) *Userlist {
	t.Helper()
	v, err := scram.NewVerifier([]byte("correct"), []byte("0123456789abcdef"), 5000)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte("correctcara"))
	l, err := ParseUserlist(fmt.Appendf(nil, "\"anna\" \"correct\"\n\"bert\" \"%s\"\n\"cara\" \"md5%x\"\n", v.Encode(), sum))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parse(t testing.TB, text string) *Userlist {
	t.Helper()
	l, err := ParseUserlist([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newAuth(t testing.TB, rules ...Rule) *Authenticator {
	t.Helper()
	a, err := New(Config{Rules: rules, Clock: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// certificate is one of the proxy's, with its binding.
func certificate(t testing.TB) (der, binding []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	if binding, err = scram.ServerEndPoint(der); err != nil {
		t.Fatal(err)
	}
	return der, binding
}

// The ways in which a client may come.
func overTCP(user string) Request {
	return Request{Database: "app", User: user, Addr: netip.MustParseAddrPort("192.0.2.7:5000")}
}

func overLoopback(user string) Request {
	return Request{Database: "app", User: user, Addr: netip.MustParseAddrPort("127.0.0.1:5000")}
}

func overUnix(user string) Request { return Request{Database: "app", User: user, Unix: true} }

func overTLS(user string, der []byte) Request {
	r := overTCP(user)
	r.TLS, r.Certificate = &tls.ConnectionState{HandshakeComplete: true}, der
	return r
}

// refused checks that err is a *claimpool.Error with this code and message.
func refused(t *testing.T, err error, code claimpool.Code, message string) {
	t.Helper()
	var e *claimpool.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("got %v, want %s %q", err, code, message)
	}
}

func TestMethods(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	der, binding := certificate(t)
	jwt := Rule{Method: claimpool.MethodJWT, Issuers: iss.set}
	sha := Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}
	md := Rule{Method: claimpool.MethodMD5, Userlist: list(t)}
	good := iss.mint(t, "anna", `,"tenant":12345678901234567890`)
	for _, test := range []struct {
		name   string
		rule   Rule
		req    Request
		client *client
		method claimpool.Method // of the identity; empty means refused
		cause  string
	}{
		{"token over TLS", jwt, overTLS("anna", der), sends(good), claimpool.MethodJWT, ""},
		{"token over a unix socket", jwt, overUnix("anna"), sends(good), claimpool.MethodJWT, ""},
		{"token of somebody else", jwt, overTLS("bert", der), sends(good), "", "role_not_allowed"},
		{"token expired", jwt, overTLS("anna", der), sends(expired(t, iss)), "", "expired"},
		{"token with a changed byte", jwt, overTLS("anna", der), sends(flip(good)), "", "bad_signature"},
		{"token of an unknown issuer", jwt, overTLS("anna", der), sends(strings.Replace(good, ".", ".e30.", 1)), "", "malformed"},
		{"token of another issuer's key", jwt, overTLS("anna", der), sends(newIssuer(t, token.RoleRule{}).mint(t, "anna", "")), "", "bad_signature"},
		{"no token but a password", jwt, overTLS("anna", der), sends("correct"), "", "malformed"},
		{"empty token", jwt, overTLS("anna", der), sends(""), "", "empty"},

		{"scram, plain text stored", sha, overTCP("anna"), sendsSCRAM("correct", nil), claimpool.MethodSCRAM, ""},
		{"scram, verifier stored", sha, overTCP("bert"), sendsSCRAM("correct", nil), claimpool.MethodSCRAM, ""},
		{"scram, md5 stored", sha, overTCP("cara"), sendsSCRAM("correct", nil), "", "proof does not match"},
		{"scram, wrong password", sha, overTCP("bert"), sendsSCRAM("wrong", nil), "", "proof does not match"},
		{"scram, unknown user", sha, overTCP("eve"), sendsSCRAM("correct", nil), "", "no such user"},
		{"scram with channel binding", sha, overTLS("bert", der), sendsSCRAM("correct", binding), claimpool.MethodSCRAM, ""},
		{"scram with channel binding, wrong password", sha, overTLS("bert", der), sendsSCRAM("wrong", binding), "", "proof does not match"},
		{"scram over TLS, client without channel binding", sha, overTLS("bert", der), sendsSCRAM("correct", nil), claimpool.MethodSCRAM, ""},

		{"md5, plain text stored", md, overTCP("anna"), sendsMD5("anna", "correct"), claimpool.MethodMD5, ""},
		{"md5, hash stored", md, overTCP("cara"), sendsMD5("cara", "correct"), claimpool.MethodMD5, ""},
		{"md5, wrong password", md, overTCP("cara"), sendsMD5("cara", "wrong"), "", "password is wrong"},
		{"md5, unknown user", Rule{Method: claimpool.MethodMD5, Userlist: parse(t, `"cara" "correct"`)}, overTCP("eve"), sendsMD5("eve", "correct"), "", "no such user"},
		{"md5, verifier stored: scram runs", md, overTCP("bert"), sendsSCRAM("correct", nil), claimpool.MethodSCRAM, ""},

		{"trust on loopback", Rule{Method: claimpool.MethodTrust}, overLoopback("anna"), &client{}, claimpool.MethodTrust, ""},
		{"trust on a unix socket", Rule{Method: claimpool.MethodTrust}, overUnix("anna"), &client{}, claimpool.MethodTrust, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAuth(t, test.rule)
			id, err := a.Authenticate(t.Context(), test.req, test.client)
			if test.method == "" {
				refused(t, err, claimpool.CodeInvalidPassword, fmt.Sprintf("password authentication failed for user %q", test.req.User))
				if !strings.Contains(fmt.Sprint(err), test.cause) {
					t.Errorf("the log reads %v, want %q", err, test.cause)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if id.Method != test.method || id.Subject != test.req.User || id.Role != test.req.User {
				t.Errorf("identity %+v", id)
			}
			if test.method == claimpool.MethodJWT {
				if id.Issuer != issuerName || id.Expires.Unix() != epoch.Unix()+60 || !strings.Contains(string([]byte(id.Claims)), "12345678901234567890") {
					t.Errorf("identity %+v, claims %s", id, []byte(id.Claims))
				}
			} else if id.Claims != nil || !id.Expires.IsZero() || id.Issuer != "" {
				t.Errorf("identity %+v", id)
			}
			if strings.Contains(string(test.client.sent), string(wire.AppendAuthOK(nil))) {
				t.Error("AuthenticationOk was sent: that is the proxy's to do")
			}
		})
	}
}

func expired(t testing.TB, iss issuer) string {
	raw, err := iss.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"db","sub":"anna","exp":%d}`, issuerName, epoch.Unix()))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// flip changes the first character of the signature.
func flip(tok string) string {
	i := strings.LastIndexByte(tok, '.') + 1
	c := byte('A')
	if tok[i] == c {
		c = 'B'
	}
	return tok[:i] + string(c) + tok[i+1:]
}

func TestRoles(t *testing.T) {
	der, _ := certificate(t)
	fixed := newIssuer(t, token.RoleRule{From: token.RoleFixed, Value: "app"})
	claim := newIssuer(t, token.RoleRule{From: token.RoleFromClaim, Claim: "roles", Allow: []string{"reader"}})
	for _, test := range []struct {
		name   string
		rule   Rule
		req    Request
		client *client
		role   string
		code   claimpool.Code
	}{
		{"fixed", Rule{Method: claimpool.MethodJWT, Issuers: fixed.set}, overTLS("anna", der), sends(fixed.mint(t, "anna", "")), "app", ""},
		{"claim", Rule{Method: claimpool.MethodJWT, Issuers: claim.set}, overTLS("reader", der), sends(claim.mint(t, "anna", `,"roles":["reader","postgres"]`)), "reader", ""},
		{"claim, not on the list of allowed ones", Rule{Method: claimpool.MethodJWT, Issuers: claim.set}, overTLS("postgres", der),
			sends(claim.mint(t, "anna", `,"roles":["reader","postgres"]`)), "", claimpool.CodeInvalidPassword},
		{"password user", Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, overTCP("bert"), sendsSCRAM("correct", nil), "bert", ""},
		{"password user with the rule's role", Rule{Method: claimpool.MethodSCRAM, Userlist: list(t), Role: "app"}, overTCP("bert"), sendsSCRAM("correct", nil), "app", ""},
		{"a name that PostgreSQL would cut", Rule{Method: claimpool.MethodTrust}, overUnix(strings.Repeat("x", 64)), &client{}, "", claimpool.CodeInvalidAuthorization},
		{"the longest name", Rule{Method: claimpool.MethodTrust}, overUnix(strings.Repeat("x", 63)), &client{}, strings.Repeat("x", 63), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := newAuth(t, test.rule).Authenticate(t.Context(), test.req, test.client)
			if test.code != "" {
				refused(t, err, test.code, "")
			} else if err != nil || id.Role != test.role {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
}

func TestClientLeaves(t *testing.T) {
	a := newAuth(t, Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)})
	_, err := a.Authenticate(t.Context(), overTCP("anna"), &client{})
	refused(t, err, claimpool.CodeConnectionFailure, "connection lost")
	if !errors.Is(err, io.EOF) {
		t.Errorf("the cause is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Authenticate(ctx, overTCP("anna"), sendsSCRAM("correct", nil))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestKeySourceDown(t *testing.T) {
	iss, der := newIssuer(t, token.RoleRule{}), []byte(nil)
	set, err := token.NewSet(&token.Verifier{
		Rules: token.Rules{Issuer: issuerName, Audience: []string{"db"}}, Keys: down{}, Clock: func() time.Time { return epoch },
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAuth(t, Rule{Method: claimpool.MethodJWT, Issuers: set})
	for range 100 { // nobody is locked out because his issuer is down
		_, err = a.Authenticate(t.Context(), overTLS("anna", der), sends(iss.mint(t, "anna", "")))
		refused(t, err, claimpool.CodeInvalidPassword, `password authentication failed for user "anna"`)
	}
	if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), "keys of its issuer are not available: down") {
		t.Errorf("the log would say %v", cause)
	}
}

// down is a key source that cannot be reached.
type down struct{}

func (down) Keys(string) ([]token.Key, error) { return nil, errors.New("down") }
