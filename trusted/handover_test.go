package trusted

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

var epoch = time.Unix(1e9, 0)

func identity(subject, claims string) *claimpool.Identity {
	var c claimpool.Claims
	if claims != "" {
		c = claimpool.Claims(claims)
	}
	return claimpool.NewIdentity(claimpool.MethodJWT, "https://issuer", subject, "app", c, []byte(subject), time.Time{})
}

// messages shows what is sent, one word for each message.
func messages(t *testing.T, b []byte) string {
	t.Helper()
	var words []string
	for len(b) > 0 {
		typ, size, ok, err := wire.Header(b)
		if !ok || err != nil || len(b) < wire.HeaderLen+size {
			t.Fatalf("%q is no message", b)
		}
		body := b[wire.HeaderLen : wire.HeaderLen+size]
		b = b[wire.HeaderLen+size:]
		switch typ {
		case wire.MsgQuery:
			words = append(words, strings.TrimSuffix(string(body), "\x00"))
		case wire.MsgFunctionCall:
			words = append(words, call(body))
		case wire.MsgClose:
			if string(body) != "S\x00" {
				t.Fatalf("closes %q", body)
			}
			words = append(words, "close")
		case wire.MsgSync:
			words = append(words, "Sync")
		default:
			t.Fatalf("message %c", typ)
		}
	}
	return strings.Join(words, "; ")
}

func call(body []byte) string {
	oid := binary.BigEndian.Uint32(body)
	body = body[6+2*int(binary.BigEndian.Uint16(body[4:])):]
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	var args []string
	for range n {
		size := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		if size < 0 {
			args = append(args, "NULL")
			continue
		}
		args = append(args, string(body[:size]))
		body = body[size:]
	}
	switch {
	case oid == setConfig && args[0] == SQLSetting:
		return "seal"
	case oid == setConfig:
		return "set " + args[0] + "=" + args[1]
	case oid == setSeed:
		return "seed " + args[0]
	case oid == 7777:
		return fmt.Sprintf("switch flags=%d", args[0][1])
	}
	return fmt.Sprint(oid, args)
}

const reset = "RESET ALL; RESET ROLE; DISCARD ALL; seed 0.25"

func TestHandover(t *testing.T) {
	var in Intern
	plain, german := in.Of(nil), in.Of([][2]string{{"lc_messages", "de_DE"}})
	alice, bob := identity("alice", `{"sub":"alice"}`), identity("bob", `{"sub":"bob"}`)
	again, renewed := identity("alice", `{"sub":"alice"}`), identity("alice", `{"sub":"alice","exp":2}`)
	nobody := claimpool.NewIdentity(claimpool.MethodSCRAM, "", "batch", "app", nil, nil, time.Time{})

	for _, test := range []struct {
		name   string
		first  *claimpool.Identity // who had the connection before; nil: nobody
		set    *Settings
		then   func(s *Session)
		after  time.Duration
		id     *claimpool.Identity
		with   *Settings
		sql    string // "ready" when nothing needs to be sent
		native string
	}{
		{name: "fresh", id: alice, with: plain, sql: "seal", native: "switch flags=0"},
		{name: "fresh, with settings", id: alice, with: german, sql: "seal; set lc_messages=de_DE", native: "switch flags=0; set lc_messages=de_DE"},
		{name: "fresh, no claims", id: nobody, with: plain, sql: "", native: "switch flags=0"},
		{name: "same", first: alice, set: plain, id: alice, with: plain, sql: "ready", native: "ready"},
		{name: "same, another client of it", first: alice, set: plain, id: again, with: plain, sql: "ready", native: "ready"},
		{name: "same, later", first: alice, set: plain, after: 2 * time.Second, id: alice, with: plain, sql: "seal", native: "ready"},
		{name: "same, new token", first: alice, set: plain, id: renewed, with: plain, sql: "seal", native: "switch flags=0"},
		{name: "same, other settings", first: alice, set: german, id: alice, with: plain, sql: "RESET ALL; seal", native: "RESET ALL; switch flags=0"},
		{name: "same, soiled", first: alice, set: plain, then: (*Session).Soil, id: alice, with: plain, sql: reset + "; seal", native: "close; switch flags=2"},
		{name: "same, wiped", first: alice, set: german, then: (*Session).Wiped, id: alice, with: german, sql: "RESET ALL; seal; set lc_messages=de_DE", native: "RESET ALL; switch flags=0; set lc_messages=de_DE"},
		{name: "same, dropped", first: alice, set: german, then: (*Session).Dropped, id: alice, with: german, sql: "seal", native: "switch flags=0"},
		{name: "same, its own SET was seen", first: alice, set: plain, then: func(s *Session) { s.Observed(german) }, id: alice, with: german, sql: "ready", native: "ready"},
		{name: "same, no claims", first: nobody, set: plain, after: time.Hour, id: nobody, with: plain, sql: "ready", native: "ready"},
		{name: "no claims, wiped", first: nobody, set: plain, then: (*Session).Wiped, id: nobody, with: plain, sql: "RESET ALL", native: "RESET ALL; switch flags=0"},
		{name: "other", first: alice, set: german, id: bob, with: german, sql: reset + "; seal; set lc_messages=de_DE", native: "close; switch flags=2; set lc_messages=de_DE"},
		{name: "other, no claims", first: alice, set: plain, id: nobody, with: plain, sql: reset, native: "close; switch flags=2"},
		{name: "other, claims after none", first: nobody, set: plain, id: alice, with: plain, sql: reset + "; seal", native: "close; switch flags=2"},
	} {
		for _, d := range []Dialect{&SQL{Key: testKeyParsed(t), Window: 2 * time.Second}, nativeForTest(t)} {
			t.Run(fmt.Sprintf("%s/%T", test.name, d), func(t *testing.T) {
				s := sessionForTest(t, d)
				if test.first != nil {
					s.Handover(nil, d, test.first, test.set, epoch)
				}
				if test.then != nil {
					test.then(s)
				}
				now, got := epoch.Add(test.after), "ready"
				want := test.sql
				if d.Gated() {
					want = test.native
				}
				if !s.Ready(test.id, test.with, now) {
					b, steps := s.Handover([]byte{}, d, test.id, test.with, now)
					if got = messages(t, b); got != "" && strings.Count(got, ";")+1 != len(steps) || got == "" && len(steps) > 0 {
						t.Errorf("%q, but the steps %v", got, steps)
					}
					if !s.Ready(test.id, test.with, now) {
						t.Error("not ready after its hand-over")
					}
				}
				if got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				if s.Carries() != test.id && got != "ready" || s.Settings() != test.with {
					t.Error("the session has not noted whose it is")
				}
			})
		}
	}
}

// sessionForTest is a session that has greeted.
func sessionForTest(t *testing.T, d Dialect) *Session {
	s := &Session{PID: 4711, Seed: func() float64 { return 0.25 }}
	if d.Gated() {
		s.native = &nativeSession{switchOID: 7777}
		c := bytes.Repeat([]byte{9}, nativeChallenge)
		c[0] = nativeVersion
		parsed, err := parseChallenge(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.native.begin(d.(*Native).Key, parsed); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if ask, err := d.Greet(s, []string{"v1|" + testBinding + "|1000000000000"}, epoch); err != nil || ask != nil {
		t.Fatal(err)
	}
	return s
}

func nativeForTest(t *testing.T) *Native {
	key, err := ParseNativeKey([]byte("shared:k1:" + strings.Repeat("A", 43)))
	if err != nil {
		t.Fatal(err)
	}
	return &Native{Key: key}
}

func TestNoneCarriesNothing(t *testing.T) {
	var in Intern
	set := in.Of(nil)
	s := &Session{}
	b, steps := s.Handover(nil, None{}, identity("alice", `{}`), set, epoch)
	if len(b) > 0 || len(steps) > 0 {
		t.Errorf("%q", b)
	}
	b, steps = s.Handover(nil, None{}, identity("bob", `{}`), set, epoch)
	if got := messages(t, b); got != "RESET ALL; RESET ROLE; DISCARD ALL" || len(steps) != 3 {
		t.Errorf("%q, %v", got, steps)
	}
}

// TestUnisolated: without isolation a connection goes on as it is; only a client's settings are still its own.
func TestUnisolated(t *testing.T) {
	var in Intern
	plain, german := in.Of(nil), in.Of([][2]string{{"lc_messages", "de_DE"}})
	alice, bob := identity("alice", `{}`), identity("bob", `{}`)
	s := &Session{Unisolated: true}
	for _, step := range []struct {
		name string
		id   *claimpool.Identity
		set  *Settings
		then func(s *Session)
		want string
	}{
		{"fresh", alice, plain, nil, ""},
		{"another", bob, plain, nil, "ready"},
		{"another with settings", alice, german, nil, "RESET ALL; set lc_messages=de_DE"},
		{"another without", bob, plain, nil, "RESET ALL"},
		{"behind a session", alice, plain, (*Session).Soil, "RESET ALL; RESET ROLE; DISCARD ALL"},
	} {
		if step.then != nil {
			step.then(s)
		}
		got := "ready"
		if !s.Ready(step.id, step.set, epoch) {
			b, _ := s.Handover(nil, None{}, step.id, step.set, epoch)
			got = messages(t, b)
		}
		if got != step.want || !s.Ready(step.id, step.set, epoch) {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

func TestOtherRequests(t *testing.T) {
	b, steps := Check(nil, nil)
	if messages(t, b) != "Sync" || len(steps) != 1 || steps[0] != StepSync {
		t.Errorf("%q %v", b, steps)
	}
	b, steps = Rollback(nil)
	if messages(t, b) != "ROLLBACK" || len(steps) != 1 || steps[0] != StepRollback {
		t.Errorf("%q %v", b, steps)
	}
}

func TestSealIsRenewedBeforeItIsOver(t *testing.T) {
	var in Intern
	set := in.Of(nil)
	d := &SQL{Key: testKeyParsed(t), Window: 4 * time.Second}
	s := sessionForTest(t, d)
	alice := identity("alice", `{}`)
	s.Handover(nil, d, alice, set, epoch)
	if !s.Ready(alice, set, epoch.Add(3*time.Second-1)) || s.Ready(alice, set, epoch.Add(3*time.Second)) {
		t.Error("the last quarter of the window is for the way")
	}
}

func TestClaimsInAForeignEncoding(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"b"}`:  `{"a":"b"}`,
		`{"ä":"€😀"}`: `{"\u00e4":"\u20ac\ud83d\ude00"}`,
	} {
		if got := string(ascii([]byte(in))); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
	var in Intern
	for value, want := range map[string]bool{"UTF8": false, "utf-8": false, "Unicode": false, "LATIN1": true, "SQL_ASCII": true} {
		if in.Of([][2]string{{"Client_Encoding", value}}).Foreign() != want {
			t.Errorf("%s: Foreign is not %v", value, want)
		}
	}
	if in.Of(nil).Foreign() || (*Settings)(nil).Foreign() {
		t.Error("the default is UTF-8")
	}
}
