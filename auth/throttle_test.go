package auth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// stopped is a clock that moves when it is told to.
type stopped struct{ now time.Time }

func (c *stopped) time() time.Time { return c.now }

func request(addr, user string) *Request {
	return &Request{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 5000), User: user}
}

func TestThrottle(t *testing.T) {
	clock := &stopped{epoch}
	th := newThrottle(Throttle{Failures: 3, Window: time.Minute}, clock.time)
	anna := request("192.0.2.1", "anna")
	for i := range 3 {
		if !th.allow(anna) {
			t.Fatalf("refused after %d failures", i)
		}
		th.failed(anna)
	}
	for _, test := range []struct {
		name string
		req  *Request
		want bool
	}{
		{"same address and user", anna, false},
		{"same address, other port", &Request{Addr: netip.MustParseAddrPort("192.0.2.1:6000"), User: "anna"}, false},
		{"same address in IPv6 form", request("::ffff:192.0.2.1", "anna"), false},
		{"same address, other user", request("192.0.2.1", "bert"), false},
		{"other address, other user", request("192.0.2.2", "bert"), true},
		{"the user from a clean address", request("192.0.2.2", "anna"), true},
		{"unix socket", &Request{Unix: true, User: "anna"}, true},
	} {
		if got := th.allow(test.req); got != test.want {
			t.Errorf("%s: allowed %v", test.name, got)
		}
	}
	clock.now = clock.now.Add(19 * time.Second)
	if th.allow(anna) {
		t.Error("forgiven too soon")
	}
	clock.now = clock.now.Add(2 * time.Second)
	if !th.allow(anna) {
		t.Error("one failure of three is not forgiven after a third of the window")
	}
	th.failed(anna)
	if th.allow(anna) {
		t.Error("only one try was forgiven")
	}
	clock.now = clock.now.Add(-time.Hour)
	if th.allow(anna) {
		t.Error("a clock that goes back forgives")
	}
	clock.now = clock.now.Add(3 * time.Hour)
	for range 3 {
		if !th.allow(anna) {
			t.Error("not forgiven after hours")
		}
		th.failed(anna)
	}
}

func TestThrottleNetworks(t *testing.T) {
	th := newThrottle(Throttle{Failures: 1, Window: time.Minute}, (&stopped{epoch}).time)
	th.failed(request("2001:db8:0:1::1", "anna"))
	if th.allow(request("2001:db8:0:1:ffff::2", "bert")) {
		t.Error("an attacker changes the second half of his IPv6 address")
	}
	if !th.allow(request("2001:db8:0:2::1", "bert")) {
		t.Error("the neighbour's network is refused")
	}
}

func TestThrottleOff(t *testing.T) {
	for _, cfg := range []Throttle{{}, {Failures: 3}, {Window: time.Minute}, {Failures: -1, Window: time.Minute}} {
		th := newThrottle(cfg, time.Now)
		for range 100 {
			th.failed(request("192.0.2.1", "anna"))
		}
		if !th.allow(request("192.0.2.1", "anna")) {
			t.Errorf("%+v throttles", cfg)
		}
	}
}

// TestAttackThrottleManyMachines: the attacker has a thousand addresses and guesses one user's password.
//
// Must: He gets the user's few tries and then one for each address; the user, who comes from elsewhere, still gets in.
func TestAttackThrottleManyMachines(t *testing.T) {
	th := newThrottle(Throttle{Failures: 10, Window: time.Minute}, (&stopped{epoch}).time)
	tries := 0
	for i := range 1000 {
		req := request(fmt.Sprintf("198.51.%d.%d", 100+i/250, i%250), "anna")
		for range 100 {
			if th.allow(req) {
				tries++
				th.failed(req)
			}
		}
	}
	if tries > 1000+10 {
		t.Errorf("%d tries", tries)
	}
	if !th.allow(request("192.0.2.1", "anna")) {
		t.Error("the user is locked out")
	}
}

// TestAttackThrottleCrowd: the attacker has a botnet, and thousands of new addresses a second guess one user's password.
//
// Must: The user gets in from addresses that have not failed.
func TestAttackThrottleCrowd(t *testing.T) {
	for _, test := range []struct{ perSecond, refused int }{
		{500, 0},   // 0.0000002 are to be expected: they share all of their counters with some of the 1,500 that are not forgiven
		{5000, 20}, // 3.3, with some of 15,000
	} {
		clock := &stopped{epoch}
		th := newThrottle(Throttle{Failures: 20, Window: time.Minute}, clock.time)
		addr := netip.MustParseAddr("10.0.0.0")
		for range 20 * test.perSecond {
			addr = addr.Next()
			th.failed(&Request{Addr: netip.AddrPortFrom(addr, 1), User: "anna"})
			clock.now = clock.now.Add(time.Second / time.Duration(test.perSecond))
		}
		refused := 0
		for range 10_000 {
			addr = addr.Next()
			if !th.allow(&Request{Addr: netip.AddrPortFrom(addr, 1), User: "anna"}) {
				refused++
			}
		}
		if refused > test.refused {
			t.Errorf("%d of 10,000 addresses are refused, while %d fail each second", refused, test.perSecond)
		}
	}
}

// Whoever shares two counters with another shares the other six no sooner than by chance. Of four million strangers 0.00007 are to be
// expected in all eight, and eleven where six rows follow from two.
func TestThrottleRowsAreIndependent(t *testing.T) {
	l := newLeaky(addressColumns)
	for n := range 1500 {
		l.add(maphash.Comparable(l.seed, n), 0, time.Second)
	}
	shared := 0
	for n := range 4_000_000 {
		if l.level(maphash.Comparable(l.seed, -1-n), 0) > 0 {
			shared++
		}
	}
	if shared > 0 {
		t.Errorf("%d strangers share all of their counters", shared)
	}
}

// waits is a client that shows its credential when it is told to.
type waits struct {
	*client
	asked, answer chan struct{}
}

func (w *waits) Receive(limit int) (byte, []byte, error) {
	w.asked <- struct{}{}
	<-w.answer
	return w.client.Receive(limit)
}

// TestAttackThrottleAtOnce: the attacker connects two hundred times before he shows the first guess, so that none of his connections is
// refused unseen; then he guesses, with the right password among the last ones. Or somebody else judges passwords, and is slow.
//
// Must: He has the few guesses of one who comes again and again (28P01); all others, the right one too, are refused alike (08004).
func TestAttackThrottleAtOnce(t *testing.T) {
	const failures = 3
	asking := make(chan struct{})
	judged := map[bool]chan struct{}{false: make(chan struct{}), true: make(chan struct{})} // by whether the password is right
	for name, test := range map[string]struct {
		rule  Rule
		guess func(string) *client
	}{
		"scram": {Rule{Method: claimpool.MethodSCRAM, Userlist: list(t)}, func(p string) *client { return sendsSCRAM(p, nil) }},
		"a slow judge": {Rule{Method: claimpool.MethodPAM, TLS: TLSAny, Check: func(_ context.Context, _ string, p claimpool.Secret, _ string) (string, bool, error) {
			right := string(p) == "correct"
			asking <- struct{}{}
			<-judged[right]
			if !right {
				return "", true, errors.New("wrong")
			}
			return "bert", false, nil
		}}, sends},
	} {
		t.Run(name, func(t *testing.T) {
			many := 200
			if test.rule.Method == claimpool.MethodPAM {
				many = maxAsking // more are not with the judge at once: TestAttackGuessesAtOnce
			}
			a, err := New(Config{Rules: []Rule{test.rule}, Throttle: Throttle{Failures: failures, Window: time.Minute}, Clock: (&stopped{epoch}).time})
			if err != nil {
				t.Fatal(err)
			}
			answers := make(chan error, many)
			var list []*waits
			for i := range many {
				password := "wrong"
				if i >= many/2 {
					password = "correct"
				}
				w := &waits{test.guess(password), make(chan struct{}), make(chan struct{})}
				list = append(list, w)
				go func() {
					_, err := a.Authenticate(t.Context(), overLoopback("bert"), w)
					answers <- err
				}()
				select {
				case <-w.asked:
				case err := <-answers:
					t.Fatal(err)
				}
			}
			codes := map[claimpool.Code]int{}
			count := func() { codes[claimpool.AsError(<-answers).Code]++ }
			for _, w := range list {
				w.answer <- struct{}{}
				if test.rule.Method == claimpool.MethodPAM {
					<-asking // in the end all of them are with the judge
					continue
				}
				for done := false; !done; {
					select {
					case <-w.asked: // the second message of SCRAM
						w.answer <- struct{}{}
					case err := <-answers:
						codes[claimpool.AsError(err).Code]++
						done = true
					}
				}
			}
			if test.rule.Method == claimpool.MethodPAM {
				for i := range many {
					judged[i >= many/2] <- struct{}{}
					count()
				}
			}
			if codes[claimpool.CodeConnectionRejected] != many-failures || len(codes) != 2 {
				t.Errorf("%v", codes)
			}
		})
	}
}

// meanwhile does something while it is asked who has been signed out.
type meanwhile func() (revoked bool)

func (m meanwhile) Revoked(*claimpool.Proof) (bool, error) { return m(), nil }

// TestAttackTellTaleSuccess: the attacker guesses passwords by SCRAM, and the right one is refused for another reason: others of his
// connections have failed too often meanwhile, or its user has been signed out.
//
// Must: The answer to the right guess does not say that it was right: no AuthenticationSASLFinal, and the same messages as for a wrong one.
// Dialects: none
func TestAttackTellTaleSuccess(t *testing.T) {
	var a *Authenticator
	for name, test := range map[string]struct {
		asked meanwhile
		code  claimpool.Code
	}{
		"too many failures": {func() bool {
			for range 3 {
				req := overTCP("bert")
				a.throttle.failed(&req)
			}
			return false
		}, claimpool.CodeConnectionRejected},
		"signed out": {func() bool { return true }, claimpool.CodeInvalidPassword},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			a, err = New(Config{
				Rules:       []Rule{{Method: claimpool.MethodSCRAM, Userlist: list(t)}},
				Throttle:    Throttle{Failures: 3, Window: time.Minute},
				Clock:       (&stopped{epoch}).time,
				Revocations: test.asked,
			})
			if err != nil {
				t.Fatal(err)
			}
			right, wrong := sendsSCRAM("correct", nil), sendsSCRAM("wrong", nil)
			_, err = a.Authenticate(t.Context(), overTCP("bert"), wrong)
			refused(t, err, claimpool.CodeInvalidPassword, "")
			_, err = a.Authenticate(t.Context(), overTCP("bert"), right)
			refused(t, err, test.code, "")
			if len(right.answers) > 0 || len(right.sent) != len(wrong.sent) {
				t.Errorf("the right guess got %q, a wrong one %q", right.sent, wrong.sent)
			}
		})
	}
}

// TestAttackThrottleMemory: the attacker fails with a new address and a new user name each time, to fill our memory or to have
// everybody else refused.
//
// Must: Neither may happen.
func TestAttackThrottleMemory(t *testing.T) {
	th := newThrottle(Throttle{Failures: 20, Window: time.Minute}, (&stopped{epoch}).time)
	addr := netip.MustParseAddr("10.0.0.0")
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		addr = addr.Next()
		i++
		th.failed(&Request{Addr: netip.AddrPortFrom(addr, 1), User: "anna"[:i%4+1]})
	}); n > 0 {
		t.Errorf("%v allocations for each failure", n)
	}
	bad := 0
	for i := range 250 {
		if !th.allow(request(fmt.Sprintf("192.0.2.%d", i), "bert")) {
			bad++
		}
	}
	if bad > 0 {
		t.Errorf("%d of 250 strangers are refused", bad)
	}
}

func TestThrottleRefusesUnseen(t *testing.T) {
	a, err := New(Config{
		Rules:    []Rule{{Method: claimpool.MethodSCRAM, Userlist: list(t)}},
		Throttle: Throttle{Failures: 2, Window: time.Minute}, Clock: (&stopped{epoch}).time,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := a.Authenticate(t.Context(), overTCP("bert"), sendsSCRAM("wrong", nil))
		refused(t, err, claimpool.CodeInvalidPassword, "")
	}
	c := sendsSCRAM("correct", nil)
	_, err = a.Authenticate(t.Context(), overTCP("bert"), c)
	refused(t, err, claimpool.CodeConnectionRejected, "too many failed logins")
	if len(c.sent) > 0 {
		t.Error("a throttled client was asked for its password")
	}
	if _, err := a.Authenticate(t.Context(), overUnix("bert"), sendsSCRAM("correct", nil)); err != nil {
		t.Errorf("unix socket: %v", err)
	}
}

func TestThrottleCountsOnlyProofs(t *testing.T) {
	a, err := New(Config{
		Rules:    []Rule{{Method: claimpool.MethodSCRAM, Userlist: list(t)}},
		Throttle: Throttle{Failures: 1, Window: time.Minute}, Clock: (&stopped{epoch}).time,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // psql hangs up like this before it asks for the password
		if _, err := a.Authenticate(t.Context(), overTCP("bert"), &client{}); err == nil {
			t.Fatal("let in")
		}
	}
	if _, err := a.Authenticate(t.Context(), overTCP("bert"), sendsSCRAM("correct", nil)); err != nil {
		t.Error(err)
	}
}
