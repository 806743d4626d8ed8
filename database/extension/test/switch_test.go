package extension_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

func TestContextIsRead(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		c.become("t1")
		if got := c.one("select string_agg(value::text, ',' order by value) from secrets"); got != "1,4,7" {
			t.Errorf("tenant t1 sees %s", got)
		}
		c.become("t2")
		if got := c.one("select string_agg(value::text, ',' order by value) from secrets"); got != "2,5,8" {
			t.Errorf("tenant t2 sees %s", got)
		}
		g := c.next("t2")
		g.claims = `{"n":12345678901234567890,"i":-7,"u":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","b":true,"z":null,` +
			`"exp":1700000000,"when":"2024-01-02T03:04:05Z","roles":["a","b"],"o":{"p":["x",{"q":"deep"}]},"s":"q\"\u00e9","sub":"me"}`
		if r := c.handOver(g); r.dead || r.code() != "" {
			t.Fatal(describe(r))
		}
		for sql, want := range map[string]string{
			"select jwt('n')":                                "12345678901234567890",
			"select jwt('i')":                                "-7",
			"select jwt('z')":                                "NULL",
			"select jwt('none')":                             "NULL",
			"select jwt(null)":                               "NULL",
			"select jwt('s')":                                `q"é`,
			"select jwt('roles')":                            `["a", "b"]`,
			"select jwt_required('sub')":                     "me",
			"select jwt_int8('i')":                           "-7",
			"select jwt_uuid('u')":                           "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
			"select jwt_boolean('b')":                        "t",
			"select jwt_numeric('n') + 1":                    "12345678901234567891",
			"select jwt_timestamptz('exp') at time zone '0'": "2023-11-14 22:13:20",
			"select jwt_timestamptz('when') = timestamptz '2024-01-02 03:04:05+00'": "t",
			"select jwt_text_array('roles')":                                        "{a,b}",
			"select jwt_text_array('sub')":                                          "{me}",
			"select jwt_text_array('z')":                                            "NULL",
			"select jwt_path('o', 'p', '1', 'q')":                                   "deep",
			"select jwt_has('roles', 'b')":                                          "t",
			"select jwt_has('roles', 'c')":                                          "f",
			"select jwt_has('sub', 'me')":                                           "t",
			"select jwt_has('none', 'me')":                                          "f",
			"select jwt() -> 'o' -> 'p' ->> 0":                                      "x",
		} {
			if got := c.one(sql); got != want {
				t.Errorf("%s = %s, want %s", sql, got, want)
			}
			c.handOver(func() grant { g := g; c.counter++; g.counter = c.counter; return g }())
		}
		for sql, want := range map[string]string{
			"select jwt_int8('n')": "22P02", "select jwt_uuid('s')": "22P02", "select jwt_timestamptz('sub')": "22P02",
			"select jwt_required('none')": "28000", "select jwt_required('z')": "28000",
		} {
			r := c.exec(sql)
			if r.code() != want {
				t.Errorf("%s: %s, want %s", sql, describe(r), want)
			}
			if strings.Contains(describe(r), "12345678901234567890") || strings.Contains(describe(r), "\"me\"") {
				t.Errorf("%s tells the value: %s", sql, describe(r))
			}
			c.handOver(func() grant { g := g; c.counter++; g.counter = c.counter; return g }())
		}
	})
}

// TestAttackForgedGrant: the attacker can send any bytes to switch().
//
// Must: Nothing but what the proxy sealed, for this backend, just now, may be taken; anything else ends the connection with
// one text for all reasons.
// Dialects: native
// Not sql: TestAttackForgedSeal is its counterpart
func TestAttackForgedGrant(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		other := s.pooled(t)
		stranger := newProxyKey(t, "k1")
		for name, forge := range map[string]func(c *client) []byte{
			"NULL":             func(c *client) []byte { return nil },
			"empty":            func(c *client) []byte { return []byte{} },
			"a user's token":   func(c *client) []byte { return []byte("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0MSJ9.") },
			"one byte":         func(c *client) []byte { return []byte{1} },
			"a megabyte":       func(c *client) []byte { return make([]byte, 1<<20) },
			"two megabytes":    func(c *client) []byte { return append([]byte{1, 0, 2, 'k', '1'}, make([]byte, 2<<20)...) },
			"flipped MAC":      func(c *client) []byte { b := c.next("t1").bytes(c.key); b[len(b)-1] ^= 1; return b },
			"flipped claim":    func(c *client) []byte { b := c.next("t1").bytes(c.key); b[len(b)-40] ^= 1; return b },
			"flipped scope":    func(c *client) []byte { b := c.next("t1").bytes(c.key); b[1] ^= flagSession; return b },
			"flipped counter":  func(c *client) []byte { b := c.next("t1").bytes(c.key); b[12] ^= 1; return b },
			"truncated":        func(c *client) []byte { b := c.next("t1").bytes(c.key); return b[:len(b)-1] },
			"longer":           func(c *client) []byte { return append(c.next("t1").bytes(c.key), 0) },
			"unknown flag":     func(c *client) []byte { g := c.next("t1"); g.flags = 4; return g.bytes(c.key) },
			"unknown version":  func(c *client) []byte { g := c.next("t1"); g.version = 2; return g.bytes(c.key) },
			"unknown kid":      func(c *client) []byte { g := c.next("t1"); g.kid = "k2"; return g.bytes(c.key) },
			"no kid":           func(c *client) []byte { g := c.next("t1"); g.kid = ""; return g.bytes(c.key) },
			"long kid":         func(c *client) []byte { g := c.next("t1"); g.kid = strings.Repeat("k", 255); return g.bytes(c.key) },
			"no claims":        func(c *client) []byte { g := c.next("t1"); g.claims = ""; return g.bytes(c.key) },
			"NUL in claims":    func(c *client) []byte { g := c.next("t1"); g.claims = "{}\x00{}"; return g.bytes(c.key) },
			"claims not UTF-8": func(c *client) []byte { g := c.next("t1"); g.claims = "{\"a\":\"\xff\"}"; return g.bytes(c.key) },
			"expired": func(c *client) []byte {
				g := c.next("t1")
				g.expires = time.Now().Add(-time.Second).UnixMilli()
				return g.bytes(c.key)
			},
			"expiry below 0":   func(c *client) []byte { g := c.next("t1"); g.expires = -1 << 63; return g.bytes(c.key) },
			"counter zero":     func(c *client) []byte { g := c.next("t1"); g.counter = 0; return g.bytes(c.key) },
			"all-zero key":     func(c *client) []byte { return c.next("t1").bytes(make([]byte, 32)) },
			"another backend":  func(c *client) []byte { return c.next("t1").bytes(other.key) },
			"a stranger's key": func(c *client) []byte { k, _ := derive(c.challenged, stranger); return c.next("t1").bytes(k) },
		} {
			for _, used := range []bool{false, true} {
				c := s.pooled(t)
				if used {
					c.become("t2")
				}
				c.send(call(c.switcher, forge(c)))
				r := c.receive()
				if !r.dead || r.code() != "28000" {
					t.Errorf("%s, used %v: %s", name, used, describe(r))
				}
				if r.code() == "28000" && (r.errors[0].Severity != "FATAL" || r.errors[0].Message != "trusted context refused" || r.errors[0].Detail != "") {
					t.Errorf("%s, used %v: tells the client %s, %s", name, used, describe(r), r.errors[0].Detail)
				}
			}
		}
	})
}

// TestAttackReplay: the attacker has a copy of every sealed byte.
//
// Must: None works twice, nor in another order, nor on another backend.
// Dialects: native
// Not sql: TestAttackReplayElsewhere and TestAttackReplayLater are its counterparts
func TestAttackReplay(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		first, second := c.next("t1"), c.next("t2")
		if r := c.handOver(second); r.dead {
			t.Fatal(describe(r))
		}
		if r := c.handOver(first); !r.dead || r.code() != "28000" {
			t.Errorf("an older counter: %s", describe(r))
		}
		c = s.pooled(t)
		g := c.next("t1")
		c.handOver(g)
		if r := c.handOver(g); !r.dead || r.code() != "28000" {
			t.Errorf("the same counter: %s", describe(r))
		}
	})
}

// TestAttackChallengeTwice: the attacker calls challenge() on a connection that the proxy has greeted, to agree on a key of
// his own.
//
// Must: The second call is an error.
// Dialects: native
// Not sql: it has no gate and no switch()
func TestAttackChallengeTwice(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		c := s.pooled(t)
		c.send(call(c.challenge))
		if r := c.receive(); len(r.results) != 1 || !bytes.Equal(r.results[0], c.challenged) {
			t.Errorf("asked again: %s", describe(r))
		}
		c.handOver(c.next("t1"))
		c.send(call(c.challenge))
		if r := c.receive(); r.code() != "55000" {
			t.Errorf("asked behind a hand-over: %s", describe(r))
		}
		c = s.login(t, "pool")
		c.oids(s)
		c.key, c.kid = make([]byte, 32), "k1"
		if r := c.handOver(c.next("t1")); !r.dead || r.code() != "28000" {
			t.Errorf("switch without a challenge: %s", describe(r))
		}
	})
}

// TestAttackSwitchFromSQL: the attacker calls switch() in a statement of his own, even with bytes that verify.
//
// Must: It ends his connection; no EXCEPTION block saves it.
// Dialects: native
// Not sql: it has no gate and no switch()
func TestAttackSwitchFromSQL(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		for name, sql := range map[string]string{
			"select":    `select claimpool.switch('\x00')`,
			"block":     `do $$ begin perform claimpool.switch('\x00'); exception when others then null; end $$`,
			"savepoint": `begin; savepoint a; select claimpool.switch('\x01')`,
		} {
			c := s.pooled(t)
			c.become("t1")
			if r := c.exec(sql); !r.dead || r.code() != "28000" {
				t.Errorf("%s: %s", name, describe(r))
			}
		}
	})
}

func TestTwoKeysAndRotation(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		next := newProxyKey(t, "k2")
		admin := s.login(t, "postgres")
		defer admin.mustExec("select pg_reload_conf()")
		defer admin.mustExec("alter system reset claimpool.proxy_keys")
		admin.mustExec("alter system set claimpool.proxy_keys = '" + s.key.setting() + ", " + next.setting() + "'")
		admin.mustExec("select pg_reload_conf()")
		for admin.one("show claimpool.proxy_keys") == s.key.setting() {
			time.Sleep(10 * time.Millisecond)
		}
		for _, key := range []proxyKey{s.key, next} {
			c := s.login(t, "pool")
			c.establish(s, key)
			c.become("t1")
			if got := c.one("select jwt('tenant')"); got != "t1" {
				t.Errorf("by %s: %s", key.kid, got)
			}
		}
		c := s.login(t, "pool") // the kid of a session is settled by its first hand-over
		c.establish(s, s.key)
		c.become("t1")
		c.kid = "k2"
		if r := c.handOver(c.next("t1")); !r.dead {
			t.Errorf("another kid: %s", describe(r))
		}
		if r := admin.exec("alter system set claimpool.proxy_keys = 'k1:short'"); r.code() != "22023" {
			t.Errorf("a broken list: %s", describe(r))
		}
	})
}
