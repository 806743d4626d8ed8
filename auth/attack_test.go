package auth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/token"
	"github.com/claimpool/claimpool/wire"
)

// TestAttackTokenOnPlainTCP: somebody listens on the network.
//
// Must: The token is not asked for where he can hear it, and must not appear in any message or error.
func TestAttackTokenOnPlainTCP(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	raw := iss.mint(t, "anna", "")
	for _, transport := range []Transport{TLSDefault, TLSRequired} {
		c := sends(raw)
		_, err := newAuth(t, Rule{Method: claimpool.MethodJWT, Issuers: iss.set, TLS: transport}).Authenticate(t.Context(), overTCP("anna"), c)
		refused(t, err, claimpool.CodeInvalidAuthorization, "")
		if len(c.sent) > 0 || len(c.answers) != 1 {
			t.Errorf("the client was asked: %q", c.sent)
		}
	}
	// Loopback is a plain connection, too; only the configuration may say otherwise.
	_, err := newAuth(t, Rule{Method: claimpool.MethodJWT, Issuers: iss.set}).Authenticate(t.Context(), overLoopback("anna"), sends(raw))
	refused(t, err, claimpool.CodeInvalidAuthorization, "TLS required")
	if _, err := newAuth(t, Rule{Method: claimpool.MethodJWT, Issuers: iss.set, TLS: TLSAny}).Authenticate(t.Context(), overTCP("anna"), sends(raw)); err != nil {
		t.Errorf(`tls "any": %v`, err)
	}
}

// TestAttackSecretInError: whoever reads the log, or the client's screen, wants a token or a password.
//
// Must: No error holds one.
func TestAttackSecretInError(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	der, _ := certificate(t)
	raw := iss.mint(t, "anna", `,"ssn":"078-05-1120"`)
	payload := strings.Split(raw, ".")[1]
	for _, test := range []struct {
		rule   Rule
		user   string
		client *client
	}{
		{Rule{Method: claimpool.MethodJWT, Issuers: iss.set}, "bert", sends(raw)},
		{Rule{Method: claimpool.MethodJWT, Issuers: iss.set}, "anna", sends(flip(raw))},
		{Rule{Method: claimpool.MethodJWT, Issuers: iss.set}, "anna", sends(raw + ".more")},
		{Rule{Method: claimpool.MethodMD5, Userlist: list(t)}, "cara", sends(raw)},
		{Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, "anna", sendsSCRAM("wrong", nil)},
	} {
		_, err := newAuth(t, test.rule).Authenticate(t.Context(), overTLS(test.user, der), test.client)
		text := fmt.Sprintf("%v %+v %#v", err, err, claimpool.AsError(err))
		for _, secret := range []string{raw, payload, "078-05-1120", "correct"} {
			if err == nil || strings.Contains(text, secret) {
				t.Errorf("%s shows %q", text, secret)
			}
		}
		if bytes.Contains(test.client.sent, []byte(payload)) {
			t.Error("the token was sent back")
		}
	}
}

// TestAttackTokenStaysInMemory: somebody reads the process's memory, long after a login.
//
// Must: The message that brought the token has been cleared.
func TestAttackTokenStaysInMemory(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	for _, raw := range []string{iss.mint(t, "anna", ""), flip(iss.mint(t, "anna", ""))} {
		keep := &keeper{client: sends(raw)}
		_, _ = newAuth(t, Rule{Method: claimpool.MethodJWT, Issuers: iss.set}).Authenticate(t.Context(), overUnix("anna"), keep)
		if len(keep.body) == 0 || strings.Trim(string(keep.body), "\x00") != "" {
			t.Errorf("the message still holds %d bytes", len(keep.body))
		}
	}
}

// keeper keeps the last message body that it gave away.
type keeper struct {
	*client
	body []byte
}

func (k *keeper) Receive(limit int) (byte, []byte, error) {
	typ, body, err := k.client.Receive(limit)
	k.body = body
	return typ, body, err
}

// TestAttackWhichUsersExist: a stranger asks for many users and compares what he gets.
//
// Must: Known and unknown users, and right and wrong parts of a proof, must look the same: the same text, messages of the same
// length, the same salt again, and the same work, here counted in allocations because a clock has noise.
func TestAttackWhichUsersExist(t *testing.T) {
	v, err := scram.NewVerifier([]byte("correct"), []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		method claimpool.Method
		stored string
		client func(user string) *client
	}{
		{"scram, verifier stored", claimpool.MethodSCRAM, v.Encode(), func(string) *client { return sendsSCRAM("wrong", nil) }},
		{"scram, plain text stored", claimpool.MethodSCRAM, "correct", func(string) *client { return sendsSCRAM("wrong", nil) }},
		{"md5, plain text stored", claimpool.MethodMD5, "correct", func(user string) *client { return sendsMD5(user, "wrong") }},
		{"md5, hash stored", claimpool.MethodMD5, "md50123456789abcdef0123456789abcdef", func(user string) *client { return sendsMD5(user, "wrong") }},
		{"md5, verifier stored", claimpool.MethodMD5, v.Encode(), func(string) *client { return sendsSCRAM("wrong", nil) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAuth(t, Rule{Method: test.method, Userlist: parse(t, `"anna" "`+test.stored+`"`)})
			try := func(user string) (*client, *claimpool.Error) {
				c := test.client(user)
				_, err := a.Authenticate(t.Context(), overTCP(user), c)
				refused(t, err, claimpool.CodeInvalidPassword, "")
				return c, claimpool.AsError(err)
			}
			known, knownErr := try("anna")
			unknown, unknownErr := try("evey")
			if len(known.sent) != len(unknown.sent) {
				t.Errorf("%d bytes for a known user, %d for an unknown one", len(known.sent), len(unknown.sent))
			}
			if knownErr.Message != strings.Replace(unknownErr.Message, "evey", "anna", 1) || knownErr.Detail+knownErr.Hint+unknownErr.Detail+unknownErr.Hint != "" {
				t.Errorf("%+v, %+v", knownErr, unknownErr)
			}
			knownWork := testing.AllocsPerRun(20, func() { try("anna") })
			unknownWork := testing.AllocsPerRun(20, func() { try("evey") })
			if d := knownWork - unknownWork; d < -4 || d > 4 {
				t.Errorf("%v allocations for a known user, %v for an unknown one", knownWork, unknownWork)
			}
		})
	}
}

// TestAttackMalformedProof: the same stranger breaks off the exchange with a malformed last message, which is answered in
// another way than a wrong proof.
//
// Must: It is the same way for known and unknown users.
func TestAttackMalformedProof(t *testing.T) {
	a := newAuth(t, Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)})
	for _, user := range []string{"anna", "bert", "cara", "eve"} {
		for _, last := range []string{"", "c=biws", "c=biws,r=x,p=eA==", "\x00"} {
			c := sendsSCRAM("wrong", nil)
			c.answers[1] = says(wire.AppendSASLResponse(nil, []byte(last)))
			_, err := a.Authenticate(t.Context(), overTCP(user), c)
			refused(t, err, claimpool.CodeProtocolViolation, "malformed SCRAM message")
		}
	}
}

// TestAttackSaltOverRestarts: the same stranger comes again after a restart, or to the proxy next door.
//
// Must: With one seed the salts of unknown users are the same there.
func TestAttackSaltOverRestarts(t *testing.T) {
	salt := func() string {
		a, err := New(Config{
			Rules: []Rule{{Method: claimpool.MethodSCRAM, Userlist: list(t)}}, Seed: claimpool.Secret("seed"),
			Clock: func() time.Time { return epoch },
		})
		if err != nil {
			t.Fatal(err)
		}
		var serverFirst string
		c := sendsSCRAM("wrong", nil)
		step := c.answers[1]
		c.answers[1] = func(code uint32, rest []byte) []byte { serverFirst = string(rest); return step(code, rest) }
		_, _ = a.Authenticate(t.Context(), overTCP("eve"), c)
		_, after, _ := strings.Cut(serverFirst, ",s=")
		return after
	}
	if one, two := salt(), salt(); one != two || one == "" {
		t.Errorf("%q, then %q", one, two)
	}
}

// TestAttackSASL: a client with or without a password breaks the rules of SASL and SCRAM.
//
// Must: Nobody gets in, and what is no SCRAM is 08P01 as in PostgreSQL.
func TestAttackSASL(t *testing.T) {
	der, binding := certificate(t)
	_, otherBinding := certificate(t)
	sha := Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}
	initial := func(mech, data string) *client {
		return &client{answers: []answer{says(wire.AppendSASLInitial(nil, mech, []byte(data))), says(wire.AppendSASLResponse(nil, []byte("c=biws,r=x,p=eA==")))}}
	}
	edited := func(c *client, n int, edit func(string) string) *client {
		step := c.answers[n]
		c.answers[n] = func(code uint32, rest []byte) []byte {
			m := step(code, rest)
			return wire.AppendSASLResponse(nil, []byte(edit(string(m[wire.HeaderLen:]))))
		}
		return c
	}
	for _, test := range []struct {
		name   string
		req    Request
		client *client
		code   claimpool.Code
	}{
		{"unknown mechanism", overTCP("bert"), initial("PLAIN", "\x00bert\x00correct"), "08P01"},
		{"empty mechanism", overTCP("bert"), initial("", "n,,n=,r=abc"), "08P01"},
		{"-PLUS without TLS", overTCP("bert"), sendsSCRAM("correct", binding), "08P01"},
		{"-PLUS without a certificate of ours", overTLS("bert", nil), sendsSCRAM("correct", binding), "08P01"},
		{"binding to another certificate", overTLS("bert", der), sendsSCRAM("correct", otherBinding), "28P01"},
		{"the offer of -PLUS was taken away (y,,)", overTLS("bert", der), initial(scram.Mechanism, "y,,n=,r=abcdefgh"), "28P01"},
		{"-PLUS with the flag n", overTLS("bert", der), initial(scram.MechanismPlus, "n,,n=,r=abcdefgh"), "08P01"},
		{"plain mechanism with a binding", overTLS("bert", der), initial(scram.Mechanism, "p=tls-server-end-point,,n=,r=abcdefgh"), "08P01"},
		{"unknown binding", overTLS("bert", der), initial(scram.MechanismPlus, "p=tls-unique,,n=,r=abcdefgh"), "08P01"},
		{"authorization identity", overTCP("bert"), initial(scram.Mechanism, "n,a=postgres,n=,r=abcdefgh"), "08P01"},
		{"mandatory extension", overTCP("bert"), initial(scram.Mechanism, "n,,m=x,n=,r=abcdefgh"), "08P01"},
		{"no nonce", overTCP("bert"), initial(scram.Mechanism, "n,,n="), "08P01"},
		{"empty nonce", overTCP("bert"), initial(scram.Mechanism, "n,,n=,r="), "08P01"},
		{"empty message", overTCP("bert"), initial(scram.Mechanism, ""), "08P01"},
		{"NUL byte", overTCP("bert"), initial(scram.Mechanism, "n,,n=,r=abc\x00defgh"), "08P01"},
		{"longest message", overTCP("bert"), initial(scram.Mechanism, "n,,n=,r="+strings.Repeat("x", 2000)), "08P01"},
		{"garbage", overTCP("bert"), &client{answers: []answer{says([]byte("p\x00\x00\x00\x08abcd"))}}, "08P01"},
		{"length inside is wrong", overTCP("bert"), &client{answers: []answer{says([]byte("p\x00\x00\x00\x0fX\x00\x7f\xff\xff\xffabcde"))}}, "08P01"},
		{"wrong nonce", overTCP("bert"), edited(sendsSCRAM("correct", nil), 1, func(s string) string { return strings.Replace(s, "r=", "r=x", 1) }), "08P01"},
		{"no proof", overTCP("bert"), edited(sendsSCRAM("correct", nil), 1, func(s string) string { s, _, _ = strings.Cut(s, ",p="); return s }), "08P01"},
		{"empty proof", overTCP("bert"), edited(sendsSCRAM("correct", nil), 1, func(s string) string { s, _, _ = strings.Cut(s, ",p="); return s + ",p=" }), "08P01"},
		{"other binding data", overTCP("bert"), edited(sendsSCRAM("correct", nil), 1, func(s string) string { return strings.Replace(s, "c=biws", "c=eSws", 1) }), "28P01"},
		{"no initial response, twice", overTCP("bert"), &client{answers: []answer{
			says(noInitial()), says(noInitial()), says(noInitial())}}, "08P01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := newAuth(t, sha).Authenticate(t.Context(), test.req, test.client)
			if id != nil {
				t.Fatal("let in")
			}
			refused(t, err, test.code, "")
		})
	}
}

// noInitial is a SASLInitialResponse without a response in it.
func noInitial() []byte {
	return append([]byte("p\x00\x00\x00\x16SCRAM-SHA-256\x00"), 0xff, 0xff, 0xff, 0xff)
}

// TestSCRAMWithoutInitialResponse: a client may wait for an empty challenge (RFC 4422, section 3.3).
func TestSCRAMWithoutInitialResponse(t *testing.T) {
	c := sendsSCRAM("correct", nil)
	first := c.answers[0]
	late := func(code uint32, rest []byte) []byte {
		if code != wire.AuthSASLContinue || len(rest) > 0 {
			t.Errorf("challenge %d %q", code, rest)
		}
		_, data, _, _ := wire.ParseSASLInitial(first(0, nil)[wire.HeaderLen:])
		return wire.AppendSASLResponse(nil, data)
	}
	c.answers = append([]answer{says(noInitial()), late}, c.answers[1:]...)
	if _, err := newAuth(t, Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}).Authenticate(t.Context(), overTCP("bert"), c); err != nil {
		t.Error(err)
	}
}

// TestAttackReplay: the attacker has recorded a whole good login and sends the client's half again.
//
// Must: The recorded proof fits no new exchange.
func TestAttackReplay(t *testing.T) {
	for _, test := range []struct {
		name   string
		rule   Rule
		user   string
		client *client
	}{
		{"scram", Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, "bert", sendsSCRAM("correct", nil)},
		{"md5", Rule{Method: claimpool.MethodMD5, Userlist: list(t)}, "cara", sendsMD5("cara", "correct")},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAuth(t, test.rule)
			var tape [][]byte
			for i, step := range test.client.answers {
				test.client.answers[i] = func(code uint32, rest []byte) []byte {
					m := step(code, rest)
					tape = append(tape, bytes.Clone(m))
					return m
				}
			}
			if _, err := a.Authenticate(t.Context(), overTCP(test.user), test.client); err != nil {
				t.Fatal(err)
			}
			again := &client{}
			for _, m := range tape {
				again.answers = append(again.answers, says(m))
			}
			if id, err := a.Authenticate(t.Context(), overTCP(test.user), again); id != nil || err == nil {
				t.Error("a recorded login was let in")
			}
		})
	}
}

// TestAttackPasswordMessage: a client sends something else than one password where one is due.
//
// Must: The login ends with 08P01 or 28P01, and nothing of the message is taken.
func TestAttackPasswordMessage(t *testing.T) {
	iss := newIssuer(t, token.RoleRule{})
	raw := iss.mint(t, "anna", "")
	rule := Rule{Method: claimpool.MethodJWT, Issuers: iss.set}
	huge := strings.Repeat("x", maxPassword)
	for _, test := range []struct {
		name    string
		message []byte
		code    claimpool.Code
		text    string
	}{
		{"longer than the limit", wire.AppendPassword(nil, []byte(huge)), "08P01", "length"},
		{"as long as the limit", wire.AppendPassword(nil, []byte(huge[1:])), "28P01", "password authentication failed"},
		{"a length of 2 GB", []byte("p\x7f\xff\xff\xff"), "08P01", "length"},
		{"a length of 3", []byte("p\x00\x00\x00\x03"), "08P01", "length"},
		{"NUL inside", []byte("p\x00\x00\x00\x08a\x00b\x00"), "08P01", "invalid password packet size"},
		{"NUL behind a good token", append([]byte{'p', 0, 0, byte((len(raw) + 7) >> 8), byte(len(raw) + 7)}, raw+"\x00x\x00"...), "08P01", "invalid password packet size"},
		{"no terminator", []byte("p\x00\x00\x00\x06ab"), "08P01", "invalid password packet size"},
		{"no body", []byte("p\x00\x00\x00\x04"), "08P01", "invalid password packet size"},
		{"a query (CVE-2015-4054 the other way around)", wire.AppendQuery(nil, "select 1"), "08P01", "expected password response, got message type 81"},
		{"a token with a space in front", wire.AppendPassword(nil, []byte(" "+raw)), "28P01", ""},
		{"a token with a line break behind", wire.AppendPassword(nil, []byte(raw+"\n")), "28P01", ""},
		{"a million dots", wire.AppendPassword(nil, []byte(strings.Repeat(".", 60_000))), "28P01", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := newAuth(t, rule).Authenticate(t.Context(), overUnix("anna"), &client{answers: []answer{says(test.message)}})
			if id != nil {
				t.Fatal("let in")
			}
			refused(t, err, test.code, test.text)
		})
	}
}

// TestAttackNextRule: the attacker's proof fails under the first rule that matches, and a weaker rule would match, too.
//
// Must: It is not tried (CVE-2021-21378).
func TestAttackNextRule(t *testing.T) {
	mine, other := newIssuer(t, token.RoleRule{}), newIssuer(t, token.RoleRule{})
	weaker := Rule{Name: "weaker", Method: claimpool.MethodTrust}
	for name, test := range map[string]struct {
		rule   Rule
		client *client
	}{
		"reject":                {Rule{Method: claimpool.MethodReject}, &client{}},
		"token of other issuer": {Rule{Method: claimpool.MethodJWT, Issuers: mine.set, TLS: TLSAny}, sends(other.mint(t, "bert", ""))},
		"token without TLS":     {Rule{Method: claimpool.MethodJWT, Issuers: mine.set}, sends(mine.mint(t, "bert", ""))},
		"wrong password":        {Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, sendsSCRAM("wrong", nil)},
		"user not in the list":  {Rule{Method: claimpool.MethodMD5, Userlist: parse(t, `"anna" "x"`)}, sendsMD5("bert", "correct")},
		"client hangs up":       {Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, &client{}},
	} {
		t.Run(name, func(t *testing.T) {
			good := Rule{Name: "also", Method: claimpool.MethodJWT, Issuers: other.set, TLS: TLSAny}
			id, err := newAuth(t, test.rule, weaker, good).Authenticate(t.Context(), overLoopback("bert"), test.client)
			if id != nil || err == nil {
				t.Error("let in by another rule")
			}
		})
	}
}

// TestAttackTrustFromAfar: a client on another machine is matched by a trust rule.
//
// Must: Trust is for this machine alone: the client is refused.
func TestAttackTrustFromAfar(t *testing.T) {
	for _, req := range []Request{overTCP("postgres"), overTLS("postgres", nil), {User: "postgres", Database: "app"}} {
		id, err := newAuth(t, Rule{Method: claimpool.MethodTrust}).Authenticate(t.Context(), req, &client{})
		if id != nil {
			t.Errorf("let in from %v", req.Addr)
		}
		refused(t, err, claimpool.CodeInvalidAuthorization, "connection rejected")
	}
}

// TestAttackNoRandomness: without randomness nonces and salts would repeat, and recorded logins work again; the attacker waits
// for such a moment.
//
// Must: No login succeeds then.
func TestAttackNoRandomness(t *testing.T) {
	for _, method := range []claimpool.Method{claimpool.MethodSCRAM, claimpool.MethodMD5} {
		a, err := New(Config{Rules: []Rule{{Method: method, Userlist: list(t)}}, Rand: noRandom{}, Seed: claimpool.Secret("seed")})
		if err != nil {
			t.Fatal(err)
		}
		c := sendsMD5("cara", "correct")
		if method == claimpool.MethodSCRAM {
			c = sendsSCRAM("correct", nil)
		}
		if id, err := a.Authenticate(t.Context(), overTCP("cara"), c); id != nil || err == nil {
			t.Errorf("%s: let in", method)
		}
	}
	if _, err := New(Config{Rules: []Rule{{Method: claimpool.MethodReject}}, Rand: noRandom{}}); err == nil {
		t.Error("a seed was made without randomness")
	}
}

type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

// FuzzExchange feeds every method with anything that a client may send. Nobody who does not know a secret gets in, nothing
// panics, and each error is one for a client.
func FuzzExchange(f *testing.F) {
	iss := newIssuer(f, token.RoleRule{})
	der, _ := certificate(f)
	var auths []*Authenticator
	for _, rule := range []Rule{
		{Method: claimpool.MethodJWT, Issuers: iss.set},
		{Method: claimpool.MethodSCRAM, Userlist: parse(f, `"anna" "`+rand.Text()+`"`)},
		{Method: claimpool.MethodMD5, Userlist: parse(f, `"anna" "`+rand.Text()+`"`)},
	} {
		a, err := New(Config{Rules: []Rule{rule}})
		if err != nil {
			f.Fatal(err)
		}
		auths = append(auths, a)
	}
	f.Add(wire.AppendPassword(nil, []byte("a.b.c")), []byte{})
	f.Add(wire.AppendSASLInitial(nil, scram.MechanismPlus, []byte("p=tls-server-end-point,,n=,r=abcdefgh")), wire.AppendSASLResponse(nil, []byte("c=biws,r=abcdefgh,p=AAAA")))
	f.Add(wire.AppendSASLInitial(nil, scram.Mechanism, []byte("n,,n=,r=abcdefgh")), []byte("p\x00\x00\x00\x04"))
	f.Add(noInitial(), wire.AppendSASLResponse(nil, []byte("n,,n=,r=abcdefgh")))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, a := range auths {
			id, err := a.Authenticate(t.Context(), overTLS("anna", der), &client{answers: []answer{says(first), says(second), says(second)}})
			var e *claimpool.Error
			if id != nil || !errors.As(err, &e) || len(e.Code) != 5 {
				t.Errorf("got %v, %v", id, err)
			}
		}
	})
}
