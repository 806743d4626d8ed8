package trusted

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

const testKey = "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func testKeyParsed(t testing.TB) *SQLKey {
	t.Helper()
	key, err := ParseSQLKey([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const testBinding = "42/1700000000.123456"

func TestSealHasTheBytesOfTheREADME(t *testing.T) {
	seal, err := testKeyParsed(t).Sealer().AppendSeal([]byte("before "), testBinding, time.UnixMilli(1700000123456), 2*time.Second, []byte(`{"sub":"a.b|c"}`))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := hex.DecodeString(testKey[3:])
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(`claimpool-sql-v1|42/1700000000.123456|.k1.1700000123456.2000.{"sub":"a.b|c"}`))
	want := fmt.Sprintf(`before %x.k1.1700000123456.2000.{"sub":"a.b|c"}`, mac.Sum(nil))
	if string(seal) != want {
		t.Errorf("got  %s\nwant %s", seal, want)
	}
}

func TestSealRefusesWhatItCannotSeal(t *testing.T) {
	for _, test := range []struct {
		name, binding string
		window        time.Duration
		claims        string
	}{
		{"no greeting", "", time.Second, `{}`},
		{"binding with a separator", "1|2", time.Second, `{}`},
		{"no window", "1/2", 0, `{}`},
		{"window below the clock's step", "1/2", time.Microsecond, `{}`},
		{"negative window", "1/2", -time.Second, `{}`},
		{"endless window", "1/2", time.Hour + 1, `{}`},
		{"no claims", "1/2", time.Second, ``},
		{"array", "1/2", time.Second, `[]`},
		{"space before the object", "1/2", time.Second, ` {}`},
		{"NUL in the claims", "1/2", time.Second, "{\"a\":\"\x00\"}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst, err := testKeyParsed(t).Sealer().AppendSeal([]byte("x"), test.binding, time.Now(), test.window, []byte(test.claims))
			if err == nil || string(dst) != "x" {
				t.Errorf("got %q, %v", dst, err)
			}
		})
	}
}

func TestSealDoesNotAllocate(t *testing.T) {
	s := testKeyParsed(t).Sealer()
	buf := make([]byte, 0, 1024)
	iat, claims := time.UnixMilli(1700000123456), []byte(`{"sub":"alice","tenant":7}`)
	if n := testing.AllocsPerRun(100, func() { s.AppendSeal(buf, testBinding, iat, time.Second, claims) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKeyFile(t *testing.T) {
	for _, bad := range []string{
		"", "k1", "k1:", ":" + testKey[3:], testKey + "\n\n", testKey + "00", testKey[:60], "k 1" + testKey[2:], "k1:" + strings.ToUpper(testKey[3:]),
		strings.Repeat("k", 33) + testKey[2:], "x\n" + testKey,
	} {
		if _, err := ParseSQLKey([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		} else if len(bad) > 20 && strings.Contains(err.Error(), testKey[10:20]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	key, err := ParseSQLKey([]byte(testKey + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{key, *key, key.Sealer(), struct{ K *SQLKey }{key}} {
		if s := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(s, "0x1f") || strings.Contains(s, " 31") {
			t.Errorf("the key prints itself: %s", s)
		}
	}
}

func TestGreeting(t *testing.T) {
	s, err := ParseSQLGreeting("v1|" + testBinding + "|1700000123456")
	if err != nil || s.Binding != testBinding || !s.Clock.Equal(time.UnixMilli(1700000123456)) {
		t.Errorf("got %+v, %v", s, err)
	}
	for _, bad := range []string{"", "v1", "v1|a", "v1||1", "v2|a|1", "v1|a|b|1", "v1|a|x", "v1|a|", "v1|" + strings.Repeat("a", 300) + "|1"} {
		if s, err := ParseSQLGreeting(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, s)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := testKeyParsed(b).Sealer()
	claims := []byte(`{"sub":"alice","tenant":7,"pad":"` + strings.Repeat("x", 140) + `"}`)
	var buf []byte
	for b.Loop() {
		buf, _ = s.AppendSeal(buf[:0], testBinding, time.UnixMilli(1700000123456), time.Second, claims)
	}
}

func FuzzParseSQLKey(f *testing.F) {
	f.Add([]byte(testKey))
	f.Add([]byte(testKey + "\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if key, err := ParseSQLKey(file); err == nil && len(key.secret) != 32 {
			t.Errorf("a key of %d bytes", len(key.secret))
		}
	})
}

func FuzzParseSQLGreeting(f *testing.F) {
	f.Add("v1|" + testBinding + "|1700000123456")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSQLGreeting(text)
		if err == nil && (s.Binding == "" || strings.Contains(s.Binding, "|")) {
			t.Errorf("binding %q", s.Binding)
		}
	})
}
