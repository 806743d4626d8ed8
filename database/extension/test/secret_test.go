package extension_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackReadTheSecret: tokens are verified with jwt.secret, and the attacker, whose tokens it verifies too, looks for it in every view
// of the settings, by functions, in parallel workers, and in what the server reports by itself.
//
// Must: Only superusers see it, and only where they ask.
// Dialects: native
// Not sql: TestAttackFindTheKey is its counterpart
func TestAttackReadTheSecret(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		key := make([]byte, 40)
		rand.Read(key)
		secret := b64(key)
		s.set(t, admin, "jwt.secret", secret)
		defer s.set(t, admin, "jwt.secret", "")
		token := mint(t, key, `{"alg":"HS256"}`, claims(""))
		c := s.login(t, "plain")
		if !c.accepts(token) || c.accepts(mint(t, []byte(secret), `{"alg":"HS256"}`, claims(""))) {
			t.Error("the secret does not verify tokens")
		}
		for sql, want := range map[string]string{
			"show jwt.secret": "(hidden)", "select current_setting('jwt.secret')": "(hidden)", "select set_config('own.copy', current_setting('jwt.secret'), false)": "(hidden)",
			"select setting || ' ' || reset_val || ' ' || boot_val from pg_settings where name = 'jwt.secret'": "(hidden) (hidden) ",
			"select setting from pg_show_all_settings() where name = 'jwt.secret'":                             "(hidden)",
		} {
			if got := c.one(sql); got != want {
				t.Errorf("%s: %s", sql, got)
			}
		}
		c.mustExec("create function look() returns text language sql security definer parallel safe as $$ select current_setting('jwt.secret') $$")
		defer admin.mustExec("drop function look()")
		if got := admin.one("select look()"); got != "(hidden)" {
			t.Errorf("a superuser calls the attacker's function: %s", got)
		}
		for _, sql := range []string{"set jwt.secret = ''", "reset jwt.secret", "table pg_file_settings", "alter function look() set jwt.secret from current", "alter role plain set jwt.secret from current"} {
			if r := c.exec(sql); r.code() == "" || strings.Contains(describe(r), secret) {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		if got := admin.one("select setting || ' ' || reset_val || ' ' || boot_val from pg_settings where name = 'jwt.secret'"); !strings.HasPrefix(got, secret) || strings.Count(got, secret) != 1 {
			t.Errorf("a superuser: %s", got)
		}
		mode := map[bool]string{true: "debug_parallel_query", false: "force_parallel_mode"}[inst.Major >= 16]
		c.mustExec("set " + mode + " = on")
		if got := c.one("select look()"); got != "(hidden)" {
			t.Errorf("in a parallel worker: %s", got)
		}
		for _, user := range []string{"plain", "postgres"} {
			password := map[bool]string{true: user}[user == "plain"]
			config, err := pgconn.ParseConfig(s.DSN("postgres", user, password))
			if err != nil {
				t.Fatal(err)
			}
			config.RuntimeParams["jwt.context"] = token
			conn, err := pgconn.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(t.Context(), "set jwt.context = '"+token+"'").ReadAll(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"jwt.secret", "jwt.pubkey", "jwt.keys", "jwt.context"} {
				if got := conn.ParameterStatus(name); got != "" {
					t.Errorf("%s is told that %s is %q", user, name, got)
				}
			}
		}
	})
}

// TestClaimsThatWereRead: what jwt() has given stays as it was, though the same statement sets another token and takes it back.
func TestClaimsThatWereRead(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		c := s.login(t, "plain")
		set := func(tenant string) string {
			return "set_config('jwt.context', '" + mint(t, key, edHeader, strings.Replace(claims(""), "t1", tenant, 1)) + "', false)"
		}
		c.mustExec("select " + set("t1"))
		got := c.one(fmt.Sprintf(`with a as materialized (select jwt() as claims, %s, jwt() as other), b as materialized (select *, %s, set_config('jwt.context', '', false) as none, repeat('x', 100000) from a)
			select claims ->> 'tenant' || (other ->> 'tenant') || (select coalesce(jwt('tenant'), '-') where none is not null) from b`, set("t2"), set(strings.Repeat("z", 5000))))
		if got != "t1t2-" {
			t.Error(got)
		}
	})
}

// TestNoLeakOfRefusals: tokens and keys that are refused for each reason there is do not make the backend grow.
func TestNoLeakOfRefusals(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := start(t, inst).login(t, "postgres")
		ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public := spki(t, ec)
		c.mustExec("set jwt.pubkey = '" + public + "'")
		token := mint(t, ec, `{"alg":"ES256"}`, claims(""))
		work := func(n int) {
			c.mustExec(fmt.Sprintf(`do $$ declare bad text; good text := '%s'; begin for i in 1..%d loop
				foreach bad in array array['e30.e30.', 'x', 'x.y', replace(good, '.', '..'), overlay(good placing 'A' from 5), left(good, -3), good || 'AAAA', '%s'] loop
					begin perform set_config('jwt.context', bad, false); exception when others then null; end;
					begin perform jwt_verify(bad, good); exception when others then null; end;
					begin perform jwt_verify('%s', bad); exception when others then null; end;
					begin perform jwt_sign('ES256', bad, '{"alg":"ES256"}', '{}'); exception when others then null; end;
					begin perform set_config('jwt.pubkey', bad, false); exception when others then null; end;
					begin perform set_config('jwt.keys', '{"keys":[{"kty":"EC","crv":"P-256","x":"' || bad || '","y":"AA"}]}', false); exception when others then null; end;
				end loop;
				end loop; end $$`, token, n, mint(t, ec, `{"alg":"ES256"}`, `{"exp":1}`), public))
		}
		work(100)
		before := c.memory()
		work(400)
		if grown := c.memory() - before; grown > 2<<20 {
			t.Errorf("grew by %d bytes", grown)
		}
	})
}
