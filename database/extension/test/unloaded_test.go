package extension_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackBeforeLoading: the server was started without the library, whose functions are in the database. The attacker plants the setting
// that it would make, in the packet that begins the connection and by SET.
//
// Must: No claim is read from it, no row is seen, and the connection is not spoilt by the attempt.
// Dialects: native
// Not sql: it has no library
func TestAttackBeforeLoading(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		path := library(t, inst.Major)
		cl, err := cluster.Start(t.Context(), cluster.Options{Installation: inst, Settings: map[string]string{"shared_preload_libraries": path}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cl.Stop(); err != nil {
				t.Error(err)
			}
		})
		s := &server{Cluster: cl}
		admin := s.login(t, "postgres")
		admin.mustExec(extensionScript(t, inst.Major) + `;
			create role plain login password 'plain'; create table secrets (tenant text); insert into secrets values ('t1');
			alter table secrets enable row level security; create policy p on secrets using (tenant = (select jwt('tenant'))); grant select on secrets to plain`)
		admin.mustExec("alter system set shared_preload_libraries = pg_stat_statements")
		if err := cl.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		const forged = `{"tenant":"t1"}`
		for _, settings := range [][]string{nil, {"jwt.context", forged}, {"options", `-c jwt.context={"tenant":"t1"} -c jwt.pubkey=x -c claimpool.gate=off`}} {
			c := s.login(t, "plain", settings...)
			for _, sql := range []string{"select 1", "set jwt.context = '" + forged + "'", "set jwt.pubkey = 'x'; set jwt.secret = 'x'", "discard all"} {
				c.mustExec(sql)
				for range 2 {
					for _, read := range []string{"select count(*) from secrets", "select jwt()", "select claimpool.challenge()"} {
						if r := c.exec(read); r.code() != "55000" || r.errors[0].Message != "claimpool must be loaded by the server" {
							t.Errorf("%v, after %s: %s: %s", settings, sql, read, describe(r))
						}
					}
				}
			}
			if r := c.exec("load '" + path + "'"); r.code() != "42501" {
				t.Errorf("LOAD: %s", describe(r))
			}
		}
		s.login(t, "postgres").mustExec("alter role plain set session_preload_libraries = '" + path + "'")
		if _, err := s.tryLogin(t, "plain"); err == nil || !strings.Contains(err.Error(), "SQLSTATE 55000") {
			t.Errorf("loaded for the session: %v", err)
		}
	})
}
