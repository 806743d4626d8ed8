package proxy_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

func md5Proof(user, password string, salt []byte) string {
	inner := md5.Sum([]byte(password + user))
	outer := md5.Sum(append(hex.AppendEncode(nil, inner[:]), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}

// unsigned is a token with its signature taken away, as alg "none" would have it.
func unsigned(token string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + strings.Split(token, ".")[1] + "."
}

// hidden fails when a part of a token stands in the log of the proxy or of PostgreSQL. Headers are no secret.
func (f *tenants) hidden(t *testing.T, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		for _, part := range parts[len(parts)-min(2, len(parts)):] {
			if len(part) < 8 {
				continue
			}
			if at := strings.Index(f.Log.String(), part[:min(len(part), 60)]); at >= 0 {
				t.Errorf("the proxy's log has a token: %s", f.Log.String()[max(0, at-200):at+20])
			}
			if there := f.cluster.LogHas(t, part[:min(len(part), 60)]); len(there) > 0 {
				t.Errorf("PostgreSQL's log has a token: %s…", there[0][:8])
			}
		}
	}
}

// talkative has PostgreSQL log all that it can about the role.
func (f *tenants) talkative(t *testing.T) {
	t.Helper()
	admin := f.admin(t)
	for _, s := range []string{"log_statement = 'all'", "log_min_messages = debug1", "log_error_verbosity = verbose", "log_parameter_max_length = -1"} {
		run(t, admin, fmt.Sprintf("ALTER ROLE %s SET %s", f.role, s))
	}
}

// TestAttackFreshToken: the attacker has a token of his own, and hands in others that he has found or made: of his victim, of
// another issuer, expired, without a signature, for another service, with his own claims changed.
//
// Must: Each is refused with 28000, his connection is as it was, and what he hands in does not come to light.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackFreshToken(t *testing.T) {
	eachMode(t, func(*proxy.Limits) {}, func(t *testing.T, f *tenants, mode pool.Mode) {
		f.talkative(t)
		stranger, other := pgtest.NewIssuer(t, "https://issuer.test"), pgtest.NewIssuer(t, "https://other.test")
		good := f.fresh("t1", "t2")
		changed := strings.Split(good, ".")
		changed[1] = strings.Split(f.fresh("t1", "t3"), ".")[1]
		p := f.raw(t, "t1")
		var tokens []string
		for name, token := range map[string]string{
			"another's": f.fresh("t2", "t2"), "of a stranger": stranger.Mint("user-of-t1", map[string]any{"tenant_id": "t2"}),
			"of another issuer": other.Mint("user-of-t1", map[string]any{"tenant_id": "t2"}), "unsigned": unsigned(good), "changed": strings.Join(changed, "."),
			"expired":             f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t2", "iat": 1000, "exp": 2000}),
			"for another service": f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t2", "aud": "else"}),
			"without an end":      f.issuer.Mint("user-of-t1", map[string]any{"tenant_id": "t2", "exp": nil}),
			"of nobody":           f.issuer.Mint("", map[string]any{"tenant_id": "t2"}), "no token": "hello", "too long": strings.Repeat("eyJ", 5000) + ".a.b",
		} {
			tokens = append(tokens, token)
			p.expect(renewal(token), "E(28000) Z(I)")
			if got := p.ask(whoami); got != rowsOf("t1") {
				t.Errorf("behind the token %s: %s", name, got)
			}
			p.send(renewalBatch(renewal(token)))
			if got := p.answer(); got != "E(28000) Z(I)" {
				t.Errorf("the token %s in a batch: %s", name, got)
			}
		}
		p.expect(renewal(strings.Repeat("eyJ", 100_000)), "E(54000) Z(I)")
		p.expect(whoami, rowsOf("t1"))
		f.hidden(t, append(tokens, good)...)
	})
}

// TestAttackFreshTokenInTransaction: the attacker wants a transaction that begins with one set of claims and ends with another,
// by every way to hide the beginning of a transaction.
//
// Must: It is refused with 25001, the transaction fails, and neither PostgreSQL nor its log sees the token.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackFreshTokenInTransaction(t *testing.T) {
	eachMode(t, func(*proxy.Limits) {}, func(t *testing.T, f *tenants, mode pool.Mode) {
		f.talkative(t)
		p := f.raw(t, "t1")
		token := f.fresh("t1", "t2")
		set := renewal(token)
		p.expect("BEGIN", "C(BEGIN) Z(T)")
		p.expect(set, "E(25001) Z(E)")
		p.expect(set, "E(25P02) Z(E)")
		p.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
		ask := wire.AppendQuery(nil, whoami)
		one := wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SELECT 1"), "", "", nil), "", 0)
		for name, attack := range map[string]struct {
			sent    []byte
			answers []string
		}{
			"pipeline": {slicesOf(wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, set), ask, wire.AppendQuery(nil, "ROLLBACK")),
				[]string{"C(BEGIN) Z(T)", "E(25001) Z(E)", "E(25P02) Z(E)", "C(ROLLBACK) Z(I)"}},
			"extended, in a block": {slicesOf(wire.AppendQuery(nil, "BEGIN"), renewalBatch(set), wire.AppendQuery(nil, "ROLLBACK")),
				[]string{"C(BEGIN) Z(T)", "1 2 n E(25001) Z(E)", "C(ROLLBACK) Z(I)"}},
			"behind another in a batch": {slicesOf(one, renewalBatch(set)), []string{"1 2 D(1) C(SELECT 1) 1 2 n E(25001) Z(I)"}},
		} {
			p.send(attack.sent)
			for i, want := range attack.answers {
				if got := p.answer(); got != want {
					t.Errorf("%s, answer %d: %s, want %s", name, i, got, want)
				}
			}
			p.expect(whoami, rowsOf("t1"))
		}
		// A query in a batch leaves the proxy unsure of what will be answered; the server is this client's until it leaves.
		p.send(wire.AppendQuery(nil, "BEGIN"), one, wire.AppendQuery(nil, set), ask, wire.AppendSync(nil), ask)
		for word, last := p.message(); word != "E(25001)"; word, last = p.message() {
			if last && word != "Z(T)" {
				t.Fatalf("a query in a batch: no refusal but %s", word)
			}
		}
		f.hidden(t, token)
	})
}

func slicesOf(messages ...[]byte) (all []byte) {
	for _, m := range messages {
		all = append(all, m...)
	}
	return all
}

// TestAttackQuotingInFreshToken: the attacker hides SQL behind what looks like a token, or a token from the proxy behind odd
// quoting.
//
// Must: What begins like the command is answered by the proxy, and nothing of it runs or is seen by PostgreSQL.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackQuotingInFreshToken(t *testing.T) { eachTenants(t, 1, attackQuoting) }

func attackQuoting(t *testing.T, f *tenants) {
	f.talkative(t)
	p := f.raw(t, "t1")
	good := f.fresh("t1", "t2")
	for _, sql := range []string{
		renewal(good) + "; DELETE FROM note", renewal(good + "'; DELETE FROM note; --"), renewal(good) + " DELETE FROM note", renewal(good + "''"),
		"SET jwt.context = E'" + good + "'", "SET jwt.context = U&'" + good + "'", "SET jwt.context = $$" + good + "$$", "SET jwt.context = " + good,
		`SET jwt.context = "` + good + `"`, "SET jwt.context = '" + good + "'\n'x'", "SET jwt.context = '" + good, "SET jwt.context = ''", "SET jwt.context TO DEFAULT",
		"SET LOCAL jwt.context = '" + good + "'", "SET jwt.context '" + good + "'", "SET jwt.context = ' " + good + "'", "SET jwt.context = '" + good + "', 'x'",
		"; ;SET jwt.context = (SELECT '" + good + "')", "/* SET */SET/**/jwt . context='" + good + "'x", "SET SESSION \"jwt.context\" = B'" + good + "'",
		"--\nSET SESSION \"JWT\".\"CONTEXT\" = '" + good + "\\'; DELETE FROM note; --'",
	} {
		p.expect(sql, "E(42601) Z(I)")
		p.send(renewalBatch(sql))
		if got := p.answer(); got != "E(42601) Z(I)" {
			t.Errorf("%s in a batch: %s", sql, got)
		}
		p.expect(whoami, rowsOf("t1"))
	}
	for name, batch := range map[string][]byte{
		"a name":       wire.AppendSync(wire.AppendDescribe(wire.AppendParse(nil, "s", renewal(good)), wire.KindStatement, "s")),
		"an argument":  wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", renewal(good)), "", "", [][]byte{nil}), "", 0)),
		"not executed": wire.AppendSync(wire.AppendParse(nil, "", renewal(good))),
		"executed twice": wire.AppendSync(wire.AppendExecute(wire.AppendExecute(
			wire.AppendBind(wire.AppendParse(nil, "", renewal(good)), "", "", nil), "", 0), "", 0)),
		"Flush in place of Sync": wire.AppendSync(wire.AppendFlush(wire.AppendParse(nil, "", renewal(good)))),
	} {
		p.send(batch)
		if got := p.answer(); got != "E(0A000) Z(I)" {
			t.Errorf("a batch with %s: %s", name, got)
		}
		p.expect(whoami, rowsOf("t1"))
	}
	f.hidden(t, good)
}

// TestAttackReadFreshTokens: while clients renew, the attacker reads whatever PostgreSQL shows of its sessions.
//
// Must: No token stands in a view, nor in any log.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackReadFreshTokens(t *testing.T) { eachTenants(t, 2, attackReading) }

func attackReading(t *testing.T, f *tenants) {
	f.talkative(t)
	p, eve := f.raw(t, "t1"), f.connect(t, "t2")
	var tokens []string
	for range 20 {
		token := f.fresh("t1", "t1")
		tokens = append(tokens, token)
		p.expect(renewal(token), "C(SET) Z(I)")
		p.expect("SELECT count(*) FROM pg_settings WHERE setting LIKE 'eyJ%' OR reset_val LIKE 'eyJ%'", "T D(0) C(SELECT 1) Z(I)")
		seen := value(t, eve, "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a")
		if strings.Contains(seen, strings.Split(token, ".")[2]) {
			t.Fatalf("pg_stat_activity shows a token")
		}
	}
	f.hidden(t, tokens...)
}
