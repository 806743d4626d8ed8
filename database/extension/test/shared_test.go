package extension_test

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackParallelWorkers: the attacker, or chance, has a query planned in parallel, so that a policy calls jwt() in every
// row, in workers only, which have not been handed over.
//
// Must: All rows or an error, never fewer; without a context none.
// Dialects: native
// Not sql: TestAttackParallelQuery is its counterpart
func TestAttackParallelWorkers(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		s.login(t, "postgres").mustExec(`
			drop table if exists big; create table big as select 't' || i % 2 tenant, i from generate_series(1, 20000) i;
			alter table big enable row level security; create policy p on big using (tenant = jwt('tenant')); grant select on big to pool, plain;
			analyze big`)
		force := `set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set parallel_leader_participation = off`
		c := s.pooled(t)
		for _, tenant := range []string{"t0", "t1", "t0"} {
			c.become(tenant)
			c.mustExec(force)
			if got := c.one("select count(*) from big"); got != "10000" {
				t.Errorf("%s sees %s rows", tenant, got)
			}
		}
		r := c.mustExec("explain (analyze, costs off, timing off, summary off) select count(*) from big")
		if plan := fmt.Sprint(r.rows); !strings.Contains(plan, "Workers Launched: 2") && !strings.Contains(plan, "Workers Launched: 1") {
			t.Errorf("no workers: %s", plan)
		}
		plain := s.login(t, "plain") // without a context: no rows, in workers too
		plain.mustExec(force)
		if got := plain.one("select count(*) from big"); got != "0" {
			t.Errorf("without a context: %s rows", got)
		}
		g := c.next("t0") // a context that workers cannot see
		g.claims = `{"tenant":"t0","x":"` + strings.Repeat("x", 9000) + `"}`
		c.handOver(g)
		c.mustExec(force)
		if r := c.exec("select count(*) from big"); r.code() != "54000" {
			t.Errorf("a large context: %s", describe(r))
		}
	})
}

func TestIdentityView(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		c := s.pooled(t)
		c.become("t1")
		look := fmt.Sprintf("select identity || ' ' || usename || ' ' || scope || ' ' || hand_overs from claimpool.identities where pid = %d", c.pid)
		if got, want := admin.one(look), fmt.Sprintf("%x pool lease 1", sha256.Sum256([]byte("t1")))[48:]; !strings.HasSuffix(got, " pool lease 1") || len(got) != 16+len(" pool lease 1") {
			t.Errorf("%s, want …%s", got, want)
		}
		c.exec("select 1/0")
		if r := admin.mustExec(look); len(r.rows) != 0 {
			t.Errorf("after an error: %v", r.rows)
		}
		c.become("t2")
		for _, sql := range []string{"table claimpool.identities", "select * from claimpool.contexts()"} {
			if r := c.exec(sql); r.code() != "42501" {
				t.Errorf("%s as a user: %s", sql, describe(r))
			}
			c.become("t2")
		}
	})
}

func TestNameInActivity(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		s.set(t, admin, "claimpool.name_claim", "sub")
		defer s.set(t, admin, "claimpool.name_claim", "")
		c := s.pooled(t)
		c.become("t1")
		look := fmt.Sprintf("select application_name from pg_stat_activity where pid = %d", c.pid)
		if got := admin.one(look); got != "user of t1" {
			t.Errorf("application_name is %q", got)
		}
		g := c.next("t2")
		g.claims = `{"sub":7}`
		if r := c.handOver(g); r.code() != "" {
			t.Fatal(describe(r))
		}
		if got := admin.one(look); got != "" {
			t.Errorf("application_name is %q", got)
		}
	})
}

// set changes a setting of the whole server and waits until it holds.
func (s *server) set(t *testing.T, admin *client, name, value string) {
	t.Helper()
	if value == "" {
		admin.mustExec("alter system reset " + name)
	} else {
		admin.mustExec("alter system set " + name + " = '" + value + "'")
	}
	admin.mustExec("select pg_reload_conf()")
	for i := 0; admin.one("show "+name) != value; i++ {
		if i > 500 {
			t.Fatalf("%s does not change", name)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestKeyFile: symmetric keys from a file, refused when others can read it.
func TestKeyFile(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		secret := make([]byte, 32)
		rand.Read(secret)
		path := filepath.Join(s.DataDir(), "proxy.keys")
		if err := os.WriteFile(path, []byte("f1:"+base64.RawURLEncoding.EncodeToString(secret)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(s.DataDir()); err == nil {
			chownLike(t, path, info)
		}
		s.set(t, admin, "claimpool.key_file", path)
		defer s.set(t, admin, "claimpool.key_file", "")
		login := func() *client {
			c := s.pooled(t)
			key, err := hkdf.Key(sha256.New, secret, c.challenged[33:61], "claimpool native file v1\x00f1", 32)
			if err != nil {
				t.Fatal(err)
			}
			c.key, c.kid = key, "f1"
			return c
		}
		c := login()
		c.become("t1")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Error(got)
		}
		if r := c.exec("show claimpool.key_file"); r.code() != "42501" {
			t.Errorf("a user sees the file's name: %s", describe(r))
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		c = login()
		if r := c.handOver(c.next("t1")); !r.dead || r.code() != "28000" {
			t.Errorf("with a file that everybody can read: %s", describe(r))
		}
	})
}
