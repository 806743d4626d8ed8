package database_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// The attackers in this folder have a login of the pool's role and run any SQL on a server connection that they have leased.

// TestAttackForgedSeal: the attacker knows the format and has a valid seal of his own. He changes every character of it, cuts
// it, and makes values of his own.
//
// Must: jwt() must refuse them all with 28000, and row-level security must show nothing.
// Dialects: sql
// Not native: there is no seal that a client can read or write; TestAttackForgedGrant forges the bytes of its hand-over
func TestAttackForgedSeal(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		s.want(`select jwt('sub')`, "NULL")
		seal := s.seal(`{"sub":"mallory"}`)
		s.set(seal).want(`select jwt('sub')`, "mallory")
		check := func(name, value string) {
			t.Helper()
			s.set(value)
			if got := s.ask(`select jwt('sub')`); got != invalid {
				t.Errorf("%s: %q gives %s", name, value[:min(len(value), 120)], got)
			}
		}
		for i := range seal {
			other := byte('0')
			if seal[i] == other {
				other = '1'
			}
			check("one character changed", seal[:i]+string(other)+seal[i+1:])
		}
		for i := 1; i < len(seal); i++ {
			check("cut at the end", seal[:i])
			check("cut at the start", seal[i:])
		}
		parts := strings.SplitN(seal, ".", 5)
		for _, f := range []struct {
			name  string
			parts []string
		}{
			{"other claims", []string{parts[0], parts[1], parts[2], parts[3], `{"sub":"victim"}`}},
			{"longer window", []string{parts[0], parts[1], parts[2], "3600000", parts[4]}},
			{"newer", []string{parts[0], parts[1], "9999999999999", parts[3], parts[4]}},
			{"unknown key", []string{parts[0], "k9", parts[2], parts[3], parts[4]}},
			{"no key", []string{parts[0], "", parts[2], parts[3], parts[4]}},
			{"upper-case MAC", []string{strings.ToUpper(parts[0]), parts[1], parts[2], parts[3], parts[4]}},
			{"MAC of zeros", []string{strings.Repeat("0", 64), parts[1], parts[2], parts[3], parts[4]}},
			{"no MAC", []string{"", parts[1], parts[2], parts[3], parts[4]}},
			{"fields shifted", []string{parts[0], parts[1] + parts[2], parts[3], parts[4]}},
		} {
			check(f.name, strings.Join(f.parts, "."))
		}
		for name, value := range map[string]string{
			"claims alone":     `{"sub":"victim"}`,
			"one space":        " ",
			"a megabyte":       strings.Repeat("a", 1<<20),
			"a megabyte more":  seal + strings.Repeat(" ", 1<<20),
			"many dots":        strings.Repeat(".", 10_000),
			"deep nesting":     parts[0] + ".k1.1.1." + strings.Repeat(`{"a":`, 100_000),
			"backslashes":      `\x00\377` + seal[6:],
			"a JWT":            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ2aWN0aW0ifQ.",
			"not ASCII":        "é" + seal[1:],
			"appended":         seal + "}",
			"twice":            seal + seal,
			"not a number":     parts[0] + ".k1.x.y." + parts[4],
			"numbers too long": parts[0] + ".k1.99999999999999999999.99999999999999999999." + parts[4],
			"quotes":           parts[0] + `.k1' or '1'='1.1.1.` + parts[4],
			"wildcard key":     parts[0] + ".%.1.1." + parts[4],
		} {
			check(name, value)
		}
		s.set(s.seal(`{"sub":"mallory"}`)).want(`select jwt('sub')`, "mallory") // the backend is alive and well
	})
}

// TestAttackReplayElsewhere: the attacker has a valid seal of another server connection, of the server before its restart, of
// another database and of another proxy's key.
//
// Must: None works here.
// Dialects: sql
// Not native: TestAttackReplay replays its grants
func TestAttackReplayElsewhere(t *testing.T) {
	for _, inst := range pgtest.Versions(t) {
		t.Run(inst.Version, func(t *testing.T) {
			c := pgtest.Start(t, inst)
			p, q := prepare(t, c), prepare(t, c)
			a, b, other := p.login(t), p.login(t), q.login(t)
			seal := a.seal(`{"sub":"alice"}`)
			a.set(seal).want(`select jwt('sub')`, "alice")
			b.set(seal).want(`select jwt('sub')`, invalid)
			other.set(seal).want(`select jwt('sub')`, invalid)
			other.key = p.key
			other.as(`{"sub":"alice"}`).want(`select jwt('sub')`, invalid)

			// After a restart a backend may get the same process id: seal for this one as the run before would have done.
			if err := c.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := p.login(t)
			old := *a
			_, started, _ := strings.Cut(a.binding, "/")
			pid, _, _ := strings.Cut(s.binding, "/")
			old.binding = pid + "/" + started
			s.set(old.sealAt(`{"sub":"alice"}`, 0, time.Hour)).want(`select jwt('sub')`, invalid)
			s.as(`{"sub":"alice"}`).want(`select jwt('sub')`, "alice")
		})
	}
}

// TestAttackReplayLater: the attacker keeps a seal and uses it later.
//
// Must: It works for transactions that begin within its window, and not outside. A transaction that has begun keeps its
// context, however long it takes.
// Dialects: sql
// Not native: TestAttackReplay replays its grants, which work once
func TestAttackReplayLater(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		for _, test := range []struct {
			name        string
			ago, window time.Duration
			want        string
		}{
			{"fresh", 0, time.Minute, "a"},
			{"half a minute left", 30 * time.Second, time.Minute, "a"}, // a busy machine needs some of it
			{"over", 6 * time.Second, 5 * time.Second, invalid},
			{"long over", time.Hour, 5 * time.Second, invalid},
			{"half a second early", -500 * time.Millisecond, 5 * time.Second, "a"},
			{"half a minute early", -30 * time.Second, time.Minute, invalid},
			{"a day early", -24 * time.Hour, 5 * time.Second, invalid},
		} {
			s.set(s.sealAt(`{"sub":"a"}`, test.ago, test.window))
			if got := s.ask(`select jwt('sub')`); got != test.want {
				t.Errorf("%s: got %s", test.name, got)
			}
		}
		seal := s.seal(`{"sub":"a"}`)
		s.set(seal).set("").set(seal).want(`select jwt('sub')`, "a") // the same seal twice within its window

		s.set(s.sealAt(`{"sub":"a"}`, 0, 3*time.Second))
		s.exec("begin")
		s.want(`select jwt('sub')`, "a")
		s.exec("select pg_sleep(3.2)")
		s.want(`select jwt('sub')`, "a")
		s.exec("commit and chain")
		s.want(`select jwt('sub')`, invalid)
		s.exec("rollback")
		s.want(`select jwt('sub')`, invalid)
	})
}

// TestAttackChangeTheSetting: the attacker changes or removes the context with every means of SQL.
//
// Must: What he makes is no context or an invalid one, and what he undoes is his own change.
// Dialects: sql
// Not native: its context is in no setting
func TestAttackChangeTheSetting(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		name := trusted.SQLSetting
		for _, test := range []struct {
			sql  string
			want string
		}{
			{"set " + name + " = ''", "NULL"},
			{"set session " + name + " to default", "NULL"},
			{"reset " + name, "NULL"},
			{"reset all", "NULL"},
			{"discard all", "NULL"},
			{"select set_config('" + name + "', null, false)", "NULL"},
			{"update pg_settings set setting = '' where name = '" + name + "'", "mallory"}, // not listed there
			{"set " + name + " = '{\"sub\":\"victim\"}'", invalid},
			{"set session " + name + ` = E'\xf0\x9d\x84\x9e'`, invalid},
			{"select set_config('" + strings.ToUpper(name) + "', 'x', false)", invalid},
			{"update pg_settings set setting = 'x' where name = '" + name + "'", "mallory"},
			{"do $$begin perform set_config('" + name + "', 'x', false); end$$", invalid},
			{"begin; set local " + name + " = 'x'; commit", "mallory"},
			{"begin; set " + name + " = 'x'; rollback", "mallory"},
			{"begin; savepoint a; set " + name + " = 'x'; rollback to a; commit", "mallory"},
			{"begin; reset all; rollback", "mallory"},
			{"do $$begin perform set_config('" + name + "', 'x', false); raise 'x'; exception when others then null; end$$", "mallory"},
			{"select set_config('" + name + "', 'x', true)", "mallory"},
		} {
			s.as(`{"sub":"mallory"}`)
			if _, err := s.PgConn().Exec(t.Context(), test.sql).ReadAll(); err != nil {
				t.Errorf("%s: %v", test.sql, err)
			}
			if got := s.ask(`select jwt('sub')`); got != test.want {
				t.Errorf("%s: got %s, want %s", test.sql, got, test.want)
			}
		}
		s.as(`{"sub":"mallory"}`)
		s.exec("begin")
		s.exec("set local " + name + " = 'x'")
		s.want(`select jwt('sub')`, invalid)
		s.exec("rollback")
		s.want(`select jwt('sub')`, "mallory")
	})
}

// TestAttackPlantByAlterRole: the attacker wants a context in every later connection of the role: he plants the setting with
// ALTER ROLE … SET, or talks a superuser into it.
//
// Must: PostgreSQL lets only superusers plant a setting that it does not know; the proxy's pin makes it void, and without the
// pin it is refused.
// Dialects: sql
// Not native: its context is in no setting
func TestAttackPlantByAlterRole(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		seal := s.sealAt(`{"sub":"mallory"}`, 0, time.Hour)
		s.set(seal)
		for _, sql := range []string{
			"alter role current_user set claimpool.context from current",
			"alter role current_user set claimpool.context = 'x'",
			"alter role current_user in database " + p.db + " set claimpool.context = 'x'",
			"create function pg_temp.f() returns text language sql set claimpool.context = 'x' as $$select jwt('sub')$$",
			"create function pg_temp.f() returns text language sql set claimpool.context from current as $$select jwt('sub')$$",
		} {
			s.want("do $do$begin "+sql+"; end$do$", denied)
		}
		p.Exec(t, p.db, "alter role "+p.role+" set claimpool.context = '"+seal+"'")
		victim := p.login(t)
		victim.want(`select jwt('sub')`, "NULL")
		victim.exec("reset all")
		victim.exec("discard all")
		victim.want(`select jwt('sub')`, "NULL")
		p.loginWith(t).want(`select jwt('sub')`, invalid)
		p.loginWith(t, "options", "-c "+trusted.SQLSetting+"=x").want(`select jwt('sub')`, invalid)
	})
}

// TestAttackFunctionWithASetting: a function with a setting of its own cannot be made by the attacker, but a superuser's one
// must not open a way either.
//
// Must: What it sets is verified like all else, and the context is back when it ends.
// Dialects: sql
// Not native: its context is in no setting
func TestAttackFunctionWithASetting(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		p.Exec(t, p.db, `create function public.forged() returns text language sql set claimpool.context = '{"sub":"victim"}' as $$select jwt('sub')$$;
			create function public.copied() returns text language sql set claimpool.context = '`+s.seal(`{"sub":"mallory"}`)+`' as $$select jwt('sub')$$;
			create procedure public.commits() language plpgsql as $$begin commit; perform jwt('sub'); commit; end$$`)
		s.as(`{"sub":"alice"}`)
		s.want("select forged()", invalid)
		s.want("select copied()", "mallory")
		s.want("select jwt('sub')", "alice")
		b := p.login(t).as(`{"sub":"bob"}`)
		b.want("select copied()", invalid) // mallory's seal on bob's connection
		b.want("select jwt('sub')", "bob")
		s.exec("call commits()")
		s.want("select jwt('sub')", "alice")
	})
}

// TestAttackGuessInALoop: the attacker guesses many MACs in one transaction, in which the window stands still, and catches
// every error.
//
// Must: Each guess costs a full verification and tells nothing.
// Dialects: sql
// Not native: one wrong grant ends the connection (TestAttackForgedGrant)
func TestAttackGuessInALoop(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t)
		seal := s.seal(`{"sub":"victim"}`)
		_, body, _ := strings.Cut(seal, ".")
		s.exec(fmt.Sprintf(`do $$
			declare got text; begin
				for i in 1..500 loop
					begin
						perform set_config('claimpool.context', encode(sha256(i::text::bytea), 'hex') || '.%s', true);
						got := jwt('sub');
						raise 'guessed: %%', got using errcode = 'P0099';
					exception when invalid_authorization_specification then null;
					end;
				end loop;
			end $$`, body))
	})
}

// TestAttackRemovedKey: two keys stand side by side during a rotation.
//
// Must: When the old one is removed, nothing that it sealed is read any more.
// Dialects: sql
// Not native: a key is settled for the life of a connection
func TestAttackRemovedKey(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		s := p.login(t).as(`{"sub":"alice"}`)
		p.Exec(t, p.db, "select claimpool.add_key('k2')")
		s.want(`select jwt('sub')`, "alice")
		p.Exec(t, p.db, "delete from claimpool.keys where kid = 'k1'")
		s.want(`select jwt('sub')`, invalid)
		s.as(`{"sub":"alice"}`).want(`select jwt('sub')`, invalid)
	})
}
