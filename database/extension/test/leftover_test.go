package extension_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// another is a value for a setting beside the one that it has; empty where there is none.
const another = `select name, case
	when vartype = 'bool' then case setting when 'on' then 'off' else 'on' end
	when vartype = 'enum' then (select max(v) from unnest(enumvals) v where v <> setting)
	when vartype in ('integer', 'real') then case when setting::numeric > min_val::numeric then min_val else max_val end
	when name = 'TimeZone' then 'Asia/Tokyo' when name = 'DateStyle' then 'German' when name like 'lc\_%' then 'POSIX'
	when name = 'timezone_abbreviations' then 'India' when name = 'client_encoding' then 'LATIN1'
	else 'pg_catalog' end`

// TestAttackEverySetting: t1 sets every setting that a role may set, with those that a superuser has let it set (PostgreSQL 15), names of
// its own, and does so in each way that PostgreSQL has.
//
// Must: The next identity, t2, finds all settings as on a connection that nobody has used.
// Dialects: native
// Not sql: TestAttackSettingsOfAnotherSession and RESET ALL do it there
func TestAttackEverySetting(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		admin := s.login(t, "postgres")
		admin.mustExec("alter role pool set work_mem = '5MB'; alter role pool in database postgres set deadlock_timeout = '3s'")
		t.Cleanup(func() {
			s.login(t, "postgres").mustExec("alter role pool reset work_mem; alter role pool in database postgres reset all")
		})
		if inst.Major >= 15 {
			granted := "log_min_messages, log_statement, track_functions, session_replication_role, jwt.issuer, jwt.leeway, jwt.set_once"
			admin.mustExec("grant set on parameter " + granted + " to pool")
			t.Cleanup(func() {
				s.login(t, "postgres").mustExec("revoke set on parameter " + granted + " from pool")
			})
		}
		const all = `select string_agg(name || '=' || setting || ' ' || source, chr(10) order by name) from pg_settings where name <> 'application_name'`
		fresh := s.login(t, "pool")
		fresh.establish(s, s.key)
		fresh.become("t2")
		fresh.mustExec("do $$ begin end $$") // TestAttackSettingOfALibrary has what it changes that a library is loaded
		want := strings.Split(fresh.one(all), "\n")

		c := s.pooled(t)
		c.become("t1")
		c.mustExec("do $$ begin end $$")
		check := func(name string) {
			t.Helper()
			c.become("t2")
			got := strings.Split(c.one(all), "\n")
			for i := range got {
				if len(got) != len(want) || got[i] != want[i] {
					t.Fatalf("after %s: %s, want %s (%d and %d settings)", name, got[i], want[min(i, len(want)-1)], len(got), len(want))
				}
			}
			if got := c.one("select concat(current_setting('own.name', true), current_setting('plpgsql.own', true))"); got != "" {
				t.Errorf("after %s: a name of its own is %q", name, got)
			}
		}
		changed := 0
		for _, row := range admin.mustExec(another + " from pg_settings where context in ('user', 'superuser') and name not like 'transaction\\_%' and name not in ('role', 'session_authorization', 'is_superuser')").rows {
			if row[1] == "NULL" {
				continue
			}
			c.become("t1")
			if r := c.exec(fmt.Sprintf("set %q = '%s'", row[0], row[1])); r.code() == "" {
				changed++
				c.become("t2")
				if got, want := c.one("show "+strconv.Quote(row[0])), fresh.one("show "+strconv.Quote(row[0])); got != want && row[0] != "application_name" {
					t.Errorf("%s is %s, want %s", row[0], got, want)
				}
			}
		}
		check("all of them, one by one")
		if changed < 100 {
			t.Errorf("%d settings could be set", changed)
		}
		for _, leave := range []string{
			"set own.name = 'x'", "select set_config('own.name', 'x', false)", "begin; set own.name = 'x'; set local own.name = 'y'; commit",
			"begin; set local own.name = 'y'; set own.name = 'x'; commit", "begin; savepoint a; set own.name = 'x'; release a; commit",
			"do $$ begin perform set_config('own.name', 'x', false); perform set_config('enable_seqscan', 'off', false); end $$",
			"set own.name = 'x'; load 'plpgsql'", "set own.other = 'x'; set own.name = 'x'; set enable_seqscan = off; reset own.other",
			"update pg_settings set setting = 'off' where name = 'enable_seqscan'", "set session characteristics as transaction isolation level serializable",
			"set time zone 'Asia/Tokyo'; set names 'LATIN1'; set seed = 0.5", "set work_mem = '5MB'", "set work_mem to default; set deadlock_timeout from current",
			"create function pg_temp.f() returns void language plpgsql set enable_seqscan = off as $$ begin set enable_seqscan = on; set enable_sort = off; end $$; select pg_temp.f()",
			"begin; set enable_seqscan = off; savepoint a; set enable_sort = off; rollback to a; set local enable_sort = off; commit",
			"begin; set enable_seqscan = off; commit and chain; rollback", "do $$ begin set enable_seqscan = off; commit; set local enable_sort = off; rollback; end $$",
		} {
			c.become("t1")
			if r := c.exec(leave); r.dead {
				t.Fatalf("%s: %s", leave, describe(r))
			}
			check(leave)
		}
	})
}
