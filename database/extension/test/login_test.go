package extension_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
)

// loginTrigger makes a login trigger in the database, and takes it away behind the test.
func loginTrigger(t *testing.T, s *server, name, options, body string) {
	t.Helper()
	admin := s.login(t, "postgres")
	admin.mustExec(fmt.Sprintf(`create function %[1]s() returns event_trigger language plpgsql %[2]s as $$ begin %[3]s end $$;
		create event trigger %[1]s on login execute function %[1]s(); alter event trigger %[1]s enable always`, name, options, body))
	t.Cleanup(func() {
		s.login(t, "postgres", "options", "-c event_triggers=off").mustExec("drop event trigger " + name + "; drop function " + name + "()")
	})
}

const pinned = "security definer set search_path = pg_catalog, pg_temp"

// TestLoginTriggerBehindGate: a trigger that writes down who comes does so behind the gate, and opens it for nobody.
func TestLoginTriggerBehindGate(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		if inst.Major < 17 {
			if r := s.login(t, "pool").exec("select 1"); r.code() != "28000" {
				t.Errorf("the gate alone: %s", describe(r))
			}
			return
		}
		admin := s.login(t, "postgres")
		admin.mustExec(`create table logins (who text); create function public.write_down(text) returns void language plpgsql as $$ begin insert into public.logins values ($1); end $$`)
		defer admin.mustExec("drop table logins; drop function public.write_down(text)")
		loginTrigger(t, s, "note_login", pinned, "perform public.write_down(session_user::text);")
		c := s.login(t, "pool")
		if got := admin.one("select count(*) from logins where who = 'pool'"); got != "1" {
			t.Errorf("%s logins", got)
		}
		for _, sql := range []string{"select 1", "select note_login()", "select public.write_down('me')", "do $$ begin perform 1; end $$", "create event trigger e on login execute function note_login()"} {
			if r := c.exec(sql); r.code() != "28000" {
				t.Errorf("%s: %s", sql, describe(r))
			}
		}
		c.send(call(s.login(t, "postgres").function("note_login()")))
		if r := c.receive(); r.code() != "28000" {
			t.Errorf("the trigger's function by its number: %s", describe(r))
		}
		c.establish(s, s.key)
		c.become("t1")
		if got := c.one("select jwt('tenant')"); got != "t1" {
			t.Error(got)
		}
		if r := c.exec("select note_login()"); r.code() != "0A000" {
			t.Errorf("with a context, a trigger is still no function: %s", describe(r))
		}
		if r := c.exec("select 1"); r.code() != "28000" {
			t.Errorf("behind the error that took the context: %s", describe(r))
		}
	})
}

// TestAttackLoginTrigger: the attacker has the password of the pool's role, in a database with login triggers, and hopes
// for one that opens the gate.
//
// Must: Triggers with a search_path of their own run, others end the login, and nothing of the client's runs.
// Dialects: native
// Not sql: there is no gate
func TestAttackLoginTrigger(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s := start(t, inst)
		if inst.Major < 17 {
			if r := s.login(t, "pool", "search_path", "pg_temp").exec("select 1"); r.code() != "28000" {
				t.Errorf("the gate alone: %s", describe(r))
			}
			return
		}
		refused := func(name, want string) {
			t.Helper()
			if _, err := s.tryLogin(t, "pool"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
		t.Run("function without a search_path", func(t *testing.T) {
			loginTrigger(t, s, "careless", "security definer", "perform count(*) from secrets;")
			refused("careless", "SQLSTATE 28000")
		})
		t.Run("function that fails", func(t *testing.T) {
			loginTrigger(t, s, "failing", pinned, "perform 1; raise exception 'not today';")
			refused("failing", "not today")
		})
		t.Run("function that catches an error", func(t *testing.T) {
			loginTrigger(t, s, "catching", pinned, "begin perform 1/0; exception when others then perform 2; end;")
			if r := s.login(t, "pool").exec("select 1"); r.code() != "28000" {
				t.Errorf("after the login: %s", describe(r))
			}
		})
		t.Run("two functions, one of them careless", func(t *testing.T) {
			loginTrigger(t, s, "a_careful", pinned, "perform 1;")
			loginTrigger(t, s, "b_careless", "security definer", "perform 1;")
			refused("two", "SQLSTATE 28000")
		})
		if r := s.login(t, "pool").exec("select 1"); r.code() != "28000" {
			t.Errorf("without a trigger: %s", describe(r))
		}
	})
}
