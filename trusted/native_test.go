package trusted

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// The test is the backend, and derives the key as database/extension/PROTOCOL.md says.
func TestSwitchHasTheBytesOfTheProtocol(t *testing.T) {
	backend, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	challenge := append([]byte{1}, backend.PublicKey().Bytes()...)
	salt := append([]byte("sixteen of nonce"), 0, 0, 0x12, 0x67, 0, 0, 0, 5, 0, 0, 0x40, 1)
	challenge = append(append(challenge, salt...), nativeChallengeGated)
	raw := bytes.Repeat([]byte{3}, 32)
	text := base64.RawURLEncoding.EncodeToString(raw)
	private, _ := ecdh.X25519().NewPrivateKey(raw)
	shared, _ := backend.ECDH(private.PublicKey())

	for _, test := range []struct {
		kind, info string
		ikm        []byte
	}{
		{"shared", "claimpool native file v1\x00k.1", raw},
		{"x25519", "claimpool native x25519 v1\x00" + string(backend.PublicKey().Bytes()) + string(private.PublicKey().Bytes()) + "k.1", shared},
	} {
		t.Run(test.kind, func(t *testing.T) {
			key, err := ParseNativeKey([]byte(test.kind + ":k.1:" + text + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseChallenge(challenge)
			if err != nil || c.pid != 0x1267 || !c.gated {
				t.Fatal(c, err)
			}
			var n nativeSession
			if err := n.begin(key, c); err != nil {
				t.Fatal(err)
			}
			id := claimpool.NewIdentity(claimpool.MethodJWT, "i", "alice", "app", claimpool.Claims(`{"a":1}`), nil, time.UnixMilli(1700000000123))
			for counter := uint64(1); counter < 4; counter++ {
				got, err := n.switchTo(id, nativeFlagReset, 5)
				if err != nil {
					t.Fatal(err)
				}
				want := append([]byte{1, 2, 5, 3}, "k.1"...)
				want = binary.BigEndian.AppendUint64(want, counter)
				want = binary.BigEndian.AppendUint64(want, 1700000000123)
				identity := id.Key()
				want = append(want, identity[:]...)
				want = append(want, 0, 0, 0, 7)
				want = append(want, `{"a":1}`...)
				session, _ := hkdf.Key(sha256.New, test.ikm, salt, test.info, 32)
				mac := hmac.New(sha256.New, session)
				mac.Write(want)
				want = mac.Sum(want)
				if !bytes.Equal(got, want) {
					t.Errorf("got  %x\nwant %x", got, want)
				}
			}
		})
	}
}

func TestSwitchRefusesWhatIsNoObject(t *testing.T) {
	d := nativeForTest(t)
	for _, claims := range []string{"", "[", "[]", " {}", "{\x00}", "{" + strings.Repeat(" ", maxNativeClaims) + "}"} {
		s := sessionForTest(t, d)
		id := claimpool.NewIdentity(claimpool.MethodJWT, "i", "alice", "app", claimpool.Claims(claims), nil, time.Time{})
		if b, err := s.native.switchTo(id, 0, 0); err == nil || b != nil {
			t.Errorf("%.20q was taken", claims)
		}
		// A call with NULL is refused by the extension, fatally.
		if b, _, _ := d.Install(nil, nil, s, id, false, epoch); !bytes.HasSuffix(b, []byte("\xff\xff\xff\xff\x00\x01")) {
			t.Errorf("%.20q: %q", claims, b)
		}
	}
	s := sessionForTest(t, d)
	nobody := claimpool.NewIdentity(claimpool.MethodSCRAM, "", "batch", "app", nil, nil, time.Time{})
	b, err := s.native.switchTo(nobody, 0, 0)
	if err != nil || !bytes.Contains(b, []byte("\x00\x00\x00\x02{}")) {
		t.Errorf("%q, %v", b, err)
	}
	if expiryMillis(time.Time{}) != math.MaxInt64 {
		t.Error("no expiry is never")
	}
}

func TestNativeKeyFile(t *testing.T) {
	good := strings.Repeat("A", 43)
	for _, bad := range []string{
		"", good, "shared:" + good, "shared::" + good, "other:k:" + good, "shared:k:" + good + "A", "shared:k:" + good[1:],
		"shared:k:" + good[1:] + "B", "shared:k:" + good[1:] + "=", "shared:k k:" + good, "shared:" + strings.Repeat("k", 65) + ":" + good,
		"x\nshared:k:" + good, "shared:k:" + good + "\n\n",
	} {
		if _, err := ParseNativeKey([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	key, err := ParseNativeKey([]byte("shared:k:" + good))
	if err != nil || key.Setting() != "" {
		t.Errorf("%q, %v", key.Setting(), err)
	}
	key, err = ParseNativeKey([]byte("x25519:k:" + good))
	if err != nil || !strings.HasPrefix(key.Setting(), "k:") || strings.Contains(key.Setting(), good) {
		t.Errorf("%q, %v", key.Setting(), err)
	}
}

// TestAttackNativeKeyInALog: the attacker reads a log in which somebody has printed the key.
//
// Must: It prints as redacted, by every verb.
func TestAttackNativeKeyInALog(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString([]byte("thirty-two bytes of pure secret!"))
	for _, kind := range []string{"shared", "x25519"} {
		key, err := ParseNativeKey([]byte(kind + ":k:" + text))
		if err != nil {
			t.Fatal(err)
		}
		d := &Native{Key: key}
		s := sessionForTest(t, d)
		sql, err := ParseSQLKey(fmt.Appendf(nil, "k:%x", "thirty-two bytes of pure secret!"))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{key, *key, d, *d, s.native, sql, *sql, &SQL{Key: sql}, sql.Sealer()} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				out := fmt.Sprintf(verb, v)
				for _, leak := range []string{"pure secret", "70757265", "112 117 114 101", "0x70, 0x75, 0x72", text} {
					if strings.Contains(out, leak) {
						t.Errorf("%s: %T prints itself with %s: %.200s", kind, v, verb, out)
					}
				}
			}
		}
	}
}

func TestNativeGreeting(t *testing.T) {
	d := nativeForTest(t)
	challenge := bytes.Repeat([]byte{9}, nativeChallenge)
	challenge[0] = nativeVersion
	binary.BigEndian.PutUint32(challenge[49:], 4711)
	oidBytes := "\x00\x00\x10\x01"
	for _, test := range []struct {
		name    string
		answers []string
		asks    int // how many questions are asked before it is over
		ok      bool
	}{
		{"all well", []string{oidBytes, oidBytes, string(challenge)}, 3, true},
		{"no gate", []string{oidBytes, oidBytes, string(challenge[:61]) + "\x00"}, 3, true},
		{"no extension", []string{""}, 1, false},
		{"half an extension", []string{oidBytes, ""}, 2, false},
		{"challenge too short", []string{oidBytes, oidBytes, string(challenge[1:])}, 3, false},
		{"other version", []string{oidBytes, oidBytes, "\x02" + string(challenge[1:])}, 3, false},
		{"somebody else's challenge", []string{oidBytes, oidBytes, string(challenge[:52]) + "\xff" + string(challenge[53:])}, 3, false},
		{"key that gives no secret", []string{oidBytes, oidBytes, "\x01" + strings.Repeat("\x00", 32) + string(challenge[33:61]) + "\x00"}, 3, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Session{PID: 4711}
			ask, err := d.Greet(s, nil, epoch)
			asks := 0
			for ask != nil && err == nil {
				if asks == len(test.answers) {
					t.Fatalf("a question too many: %q", ask)
				}
				ask, err = d.Greet(s, []string{test.answers[asks]}, epoch)
				asks++
			}
			if asks != test.asks || (err == nil) != test.ok {
				t.Errorf("%d questions, %v", asks, err)
			}
			if gated := test.name == "all well"; s.Together() != gated {
				t.Errorf("a request may go along: %t", !gated)
			}
		})
	}
	if _, err := d.Greet(&Session{native: &nativeSession{}}, []string{"a", "b"}, epoch); err == nil {
		t.Error("two values were taken")
	}
}

// TestAttackChallengeOfSmallOrder: the attacker is the server, and sends a key of small order: with X25519 the session key
// would be known to all.
//
// Must: The challenge is refused.
func TestAttackChallengeOfSmallOrder(t *testing.T) {
	key, err := ParseNativeKey([]byte("x25519:k:" + strings.Repeat("A", 43)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseChallenge(append([]byte{nativeVersion}, make([]byte, nativeChallenge-1)...))
	if err != nil {
		t.Fatal(err)
	}
	var n nativeSession
	if err := n.begin(key, c); err == nil {
		t.Error("taken")
	}
}

// Foreign bytes: no panic.
func FuzzNative(f *testing.F) {
	f.Add([]byte("shared:k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), bytes.Repeat([]byte{1}, nativeChallenge))
	f.Fuzz(func(t *testing.T, file, challenge []byte) {
		key, err := ParseNativeKey(file)
		c, err2 := parseChallenge(challenge)
		if err == nil && err2 == nil {
			var n nativeSession
			n.begin(key, c)
		}
		ParseSQLKey(file)
		ParseSQLGreeting(string(challenge))
	})
}

// TestHandoversMakeNoRubbish: one small allocation, for the steps.
func TestHandoversMakeNoRubbish(t *testing.T) {
	d := nativeForTest(t)
	s := sessionForTest(t, d)
	var none Settings
	ids := []*claimpool.Identity{
		claimpool.NewIdentity(claimpool.MethodJWT, "i", "alice", "app", claimpool.Claims(`{"a":1}`), nil, time.Time{}),
		claimpool.NewIdentity(claimpool.MethodJWT, "i", "bob", "app", claimpool.Claims(`{"b":1}`), nil, time.Time{}),
	}
	var b []byte
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		b, _ = s.Handover(b[:0], d, ids[i%2], &none, epoch)
		i++
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
	long := claimpool.NewIdentity(claimpool.MethodJWT, "i", "carol", "app", claimpool.Claims("{"+strings.Repeat(" ", maxKeptArgument)+"}"), nil, time.Time{})
	if s.Handover(nil, d, long, &none, epoch); s.native.argument != nil {
		t.Error("long claims stay in memory")
	}
}
