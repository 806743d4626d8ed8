package extension_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackUndoTheRules: a function of a superuser (or a login trigger) has narrowed for this session whose tokens count and how, below what
// the database says. The attacker has a token that the database's rules would take, and takes the function's back.
//
// Must: RESET ALL and DISCARD ALL, which ask for no permission, leave the rules alone.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackUndoTheRules(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, wide := direct(t, inst)
		_, narrow, _ := ed25519.GenerateKey(rand.Reader)
		admin := s.login(t, "postgres")
		rules := map[string]string{
			"jwt.pubkey": spki(t, narrow), "jwt.issuer": "https://idp", "jwt.audience": "db", "jwt.type": "at+jwt", "jwt.max_lifetime": "2h",
			"jwt.leeway": "1s", "jwt.set_once": "on", "jwt.require_challenge": "on", "jwt.challenge_lifetime": "7s", "jwt.secret": b64(make([]byte, 33)),
			"jwt.keys": `{"kty":"OKP","crv":"Ed25519","x":"` + b64(narrow.Public().(ed25519.PublicKey)) + `"}`,
		}
		choose := "create function choose_rules() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin "
		for name, value := range rules {
			choose += fmt.Sprintf("perform set_config('%s', '%s', false); ", name, value)
		}
		admin.mustExec(choose + "end $$")
		defer admin.mustExec("drop function choose_rules()")

		c := s.login(t, "plain")
		const show = "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name like 'jwt.%' and name <> 'jwt.context'"
		loose := c.one(show)
		c.mustExec("select choose_rules()")
		chosen := c.one(show)
		if chosen == loose {
			t.Fatal(chosen)
		}
		for _, sql := range []string{"reset all", "discard all", "begin; reset all; commit", "do $$ begin execute 'reset all'; end $$"} {
			c.mustExec(sql)
			if got := c.one(show); got != chosen {
				t.Errorf("after %s: %s, want %s", sql, got, chosen)
			}
			if c.accepts(mint(t, wide, edHeader, claims(""))) {
				t.Errorf("after %s: a token of the database's key was taken", sql)
			}
		}
		for name := range rules {
			if r := c.exec("reset " + name); r.code() != "42501" {
				t.Errorf("reset %s: %s", name, describe(r))
			}
		}

		// On a connection of a proxy nobody reads them: one identity's go as all else that it has set.
		c = s.login(t, "plain")
		c.establish(s, s.key)
		c.become("t1")
		c.mustExec("select choose_rules()")
		c.become("t2")
		if got := c.one(show); got != loose {
			t.Errorf("after a hand-over: %s, want %s", got, loose)
		}
	})
}

// TestAttackReadTheSetting: policies that were written for jwt_context read current_setting('jwt.context'), and the attacker goes on after
// the token has expired, or has the rows looked at by parallel workers.
//
// Must: The setting tells no more than jwt() does, and to workers what it tells to their leader.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackReadTheSetting(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec(`drop table if exists settled; create table settled as select 't' || i % 2 tenant from generate_series(1, 20000) i;
			alter table settled enable row level security; grant select on settled to plain;
			create policy p on settled using (tenant = nullif(current_setting('jwt.context'), '(not set)')::jsonb ->> 'tenant'); analyze settled`)
		c := s.login(t, "plain")
		c.mustExec(`set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set parallel_leader_participation = off`)
		if got := c.one("select count(*) from settled"); got != "0" {
			t.Errorf("without a token: %s rows", got)
		}
		soon := time.Now().Add(6 * time.Second)
		exp := strconv.FormatFloat(float64(soon.UnixMilli())/1000, 'f', 3, 64)
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, `{"tenant":"t1","exp":`+exp+`}`) + "'")
		if got := c.one("select count(*) from settled"); got != "10000" {
			t.Errorf("in workers: %s rows", got)
		}
		if plan := fmt.Sprint(c.mustExec("explain (analyze, costs off, timing off, summary off) select count(*) from settled").rows); !strings.Contains(plan, "Workers Launched: ") || strings.Contains(plan, "Workers Launched: 0") {
			t.Errorf("no workers: %s", plan)
		}
		c.mustExec(fmt.Sprintf("select pg_sleep(%f)", time.Until(soon).Seconds()+0.01))
		if got := c.one("show jwt.context"); got != "(expired)" {
			t.Errorf("after the end: %s", got)
		}
		if r := c.exec("select count(*) from settled"); r.code() == "" {
			t.Errorf("after the end: %s", describe(r))
		}
		c = s.login(t, "plain")
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, claims("")) + "'")
		c.establish(s, s.key)
		if got := c.one("show jwt.context"); got != "(not set)" {
			t.Errorf("on a connection of a proxy: %s", got)
		}
	})
}

// TestAttackSettingInAnotherEncoding: the database is not in UTF-8, and the attacker's tenant has the name that the bytes of another's
// spell there: "Ã©" in place of "é".
//
// Must: The setting and jwt() say what the token says.
// Dialects: native
// Not sql: TestAttackClaimsInAnotherEncoding of the proxy is its counterpart
func TestAttackSettingInAnotherEncoding(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("create database latin template template0 encoding latin1 locale 'C'")
		defer func() { admin.mustExec("drop database latin with (force)") }()
		admin.mustExec("alter database latin set jwt.pubkey = '" + spki(t, key) + "'")
		c := s.login(t, "plain", "database", "latin", "client_encoding", "UTF8")
		for _, tenant := range []string{"é", "Ã©"} {
			c.mustExec("set jwt.context = '" + mint(t, key, edHeader, `{"tenant":"`+tenant+`","exp":8900000000}`) + "'")
			if got := c.one("select current_setting('jwt.context')::json ->> 'tenant'"); got != tenant {
				t.Errorf("%s is %s", tenant, got)
			}
		}
		c.mustExec("set jwt.context = '" + mint(t, key, edHeader, `{"tenant":"€","exp":8900000000}`) + "'")
		if r := c.exec("show jwt.context"); r.code() != "22P05" {
			t.Errorf("what the encoding does not have: %s", describe(r))
		}
	})
}

// TestCertificateExpires: a certificate is taken for its key while it is valid, and that is asked at each token.
func TestCertificateExpires(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(3 * time.Second).Truncate(time.Second)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: until.Add(-time.Hour), NotAfter: until}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		admin := start(t, inst).login(t, "postgres")
		token := mint(t, key, `{"alg":"ES256"}`, claims(""))
		admin.mustExec("set jwt.pubkey = '" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + "'")
		admin.mustExec(fmt.Sprintf("select pg_sleep(%f)", time.Until(until).Seconds()+1.01))
		if r := admin.exec("set jwt.context = '" + token + "'"); r.code() != "28000" || r.errors[0].Message != "failed to read key" {
			t.Errorf("after its end: %s", describe(r))
		}
	})
}

// TestKeysOfARole: a role's keys count in the place of the database's, and a key and the one after it for as long as both are there; on
// connections that are open already, too, where the keys are the server's.
func TestKeysOfARole(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, ofDatabase := direct(t, inst)
		admin := s.login(t, "postgres")
		jwk := func(kid string) (ed25519.PrivateKey, string) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return key, `{"kty":"OKP","crv":"Ed25519","kid":"` + kid + `","x":"` + b64(key.Public().(ed25519.PublicKey)) + `"}`
		}
		ofRole, _ := jwk("role")
		admin.mustExec("alter role plain set jwt.pubkey = '" + spki(t, ofRole) + "'")
		t.Cleanup(func() { s.login(t, "postgres").mustExec("alter role plain reset jwt.pubkey") })
		token := func(key ed25519.PrivateKey, kid string) string {
			return mint(t, key, `{"alg":"EdDSA","kid":"`+kid+`"}`, claims(""))
		}
		if c := s.login(t, "plain"); !c.accepts(token(ofRole, "")) || c.accepts(token(ofDatabase, "")) {
			t.Error("the database's key counts for a role that has its own")
		}
		if !admin.accepts(token(ofDatabase, "")) && !s.login(t, "postgres").accepts(token(ofDatabase, "")) {
			t.Error("the database's key does not count for the others")
		}

		old, oldKey := jwk("old")
		next, nextKey := jwk("next")
		c := s.login(t, "plain")
		for _, step := range []struct {
			keys      string
			old, next bool
		}{
			{`{"keys":[` + oldKey + `]}`, true, false},
			{`{"keys":[` + oldKey + `,` + nextKey + `]}`, true, true},
			{`{"keys":[` + nextKey + `]}`, false, true},
			{"", false, false},
		} {
			s.set(t, admin, "jwt.keys", step.keys)
			for i := 0; c.one("show jwt.keys") != step.keys; i++ {
				if i > 500 {
					t.Fatal("the connection does not learn of the new keys")
				}
				time.Sleep(10 * time.Millisecond)
			}
			if got := c.accepts(token(old, "old")); got != step.old {
				t.Errorf("%s: the old key: %v", step.keys, got)
			}
			if got := c.accepts(token(next, "next")); got != step.next {
				t.Errorf("%s: the next key: %v", step.keys, got)
			}
			if c.accepts(token(next, "old")) || c.accepts(token(old, "next")) {
				t.Errorf("%s: a kid of another key", step.keys)
			}
		}
	})
}

// TestMisspeltRule: a rule that nobody would look at cannot be kept for a role, a database or the server.
func TestMisspeltRule(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		t.Cleanup(func() {
			s.login(t, "postgres").mustExec("alter database postgres reset all; alter role plain reset all; alter role plain in database postgres reset all")
		})
		admin.mustExec("set jwt.isuer = 'https://idp'") // for a session, a name of somebody's own
		for _, keep := range []string{"alter database postgres set", "alter role plain set", "alter role plain in database postgres set", "alter role all set", "alter system set"} {
			for _, set := range []string{"jwt.isuer = 'https://idp'", "jwt.max_lifetme to '1h'", "JWT.Audiance = 'db'", "jwt.isuer from current", `"jwt.set_onse" = 'on'`} {
				if strings.HasPrefix(keep, "alter system") && strings.Contains(set, "from current") {
					continue // is no syntax
				}
				if r := admin.exec(keep + " " + set); r.code() != "42704" {
					t.Errorf("%s %s: %s", keep, set, describe(r))
				}
			}
		}
		for _, sql := range []string{
			"alter database postgres set jwt.issuer = 'https://idp'", "alter role plain set JWT.Audience = 'db'", "alter role plain in database postgres set jwt.leeway = 1",
			"alter database postgres set jwt.claims.role = 'x'", "alter database postgres set own.name = 'x'",
			"alter database postgres reset jwt.issuer", "alter role plain set jwt.audience to default",
		} {
			admin.mustExec(sql)
		}
	})
}

// TestAttackDefaultPrivileges: the extension is made in a database where whatever is made there is granted to everybody, as some frameworks have
// it. The attacker takes the seal off his context, and looks who else is there.
//
// Must: Both are granted to nobody by accident.
// Dialects: native
// Not sql: its objects are made by a role of its own, which has no default privileges
func TestAttackDefaultPrivileges(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		postgres := s.login(t, "postgres")
		postgres.mustExec("create database granted")
		defer func() { postgres.mustExec("drop database granted with (force)") }()
		admin := s.login(t, "postgres", "database", "granted")
		admin.mustExec(`alter default privileges grant all on functions to plain, public; alter default privileges grant all on tables to plain, public;
			alter default privileges in schema public grant all on functions to plain`)
		admin.mustExec(extensionScript(t, inst.Major))
		c := s.login(t, "plain", "database", "granted")
		for _, sql := range []string{"select jwt_unseal()", "select * from claimpool.contexts()", "table claimpool.identities"} {
			if r := c.exec(sql); r.code() != "42501" {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		admin.mustExec("grant pg_read_all_stats to plain")
		defer postgres.mustExec("revoke pg_read_all_stats from plain")
		c.mustExec("table claimpool.identities")
	})
}
