package database_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
)

// TestAttackPlantedSettings: the attacker gives the role that he shares settings for all later connections, in this database or
// in all, and talks a superuser into one.
//
// Must: The administrator who asks is told of each, and what to run; and of nothing that he has set himself as a superuser.
// Dialects: sql
// Not native: the question is the same there
func TestAttackPlantedSettings(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		admin := p.Connect(t, p.db, cluster.Superuser, "")
		p.Exec(t, p.db, "alter role "+p.role+" set log_statement = 'all'; alter role "+p.role+" set track_activities = off")
		look := func() []string {
			s, err := database.Status(t.Context(), admin, p.role)
			if err != nil {
				t.Fatal(err)
			}
			return s.Problems
		}
		if got := look(); len(got) > 0 {
			t.Fatalf("problems from the start: %q", got)
		}
		s := p.login(t)
		planted := []string{"DateStyle", "lc_time", "role", "search_path", "synchronous_commit"}
		for _, name := range planted {
			value := map[string]string{"lc_time": "C", "role": p.role, "synchronous_commit": "off", "DateStyle": "German"}[name]
			s.exec("alter role current_user set " + name + " = '" + value + "'")
		}
		p.Exec(t, p.db, "alter role "+p.role+" set claimpool.context = 'x'") // names with a dot take a superuser who was talked into it
		planted = append(planted, "claimpool.context")
		s.exec("alter role current_user in database " + p.db + " set statement_timeout = '1ms'")
		got := look()
		for _, name := range planted {
			want := "role " + p.role + " begins its connections with " + name + " of its own: ALTER ROLE " + p.role + " RESET " + name
			if !slices.Contains(got, want) {
				t.Errorf("no %q", want)
			}
		}
		if want := "ALTER ROLE " + p.role + " IN DATABASE " + p.db + " RESET statement_timeout"; !slices.ContainsFunc(got, func(g string) bool { return strings.HasSuffix(g, want) }) {
			t.Errorf("no %q", want)
		}
		if len(got) != len(planted)+1 {
			t.Errorf("problems: %q", got)
		}
		for _, problem := range got {
			p.Exec(t, p.db, problem[strings.Index(problem, "ALTER ROLE"):])
		}
		if got := look(); len(got) > 0 {
			t.Errorf("what status says does not help: %q", got)
		}
	})
}

// TestAttackCarelessPolicies: there is a policy, or a function that policies call, which was written carelessly: it is true for
// whoever has no claim, or its answer may stay in a plan. The attacker comes without a claim, or behind somebody else.
//
// Must: The administrator who asks is told of each, by name; of careful ones nothing is said.
// Dialects: sql
// Not native: the question is the same there
func TestAttackCarelessPolicies(t *testing.T) {
	eachVersion(t, func(t *testing.T, p *prepared) {
		p.Exec(t, p.db, `create table note (owner text, team text);
			create policy careful1 on note using (owner = (select jwt('sub')));
			create policy careful2 on note using (owner = jwt_required('sub') and team is not distinct from 'red' and coalesce(team, 'red') = jwt('team'));
			create policy careful3 on note using (owner is null or owner = jwt('sub'));
			create policy loose1 on note using (owner is not distinct from jwt('sub'));
			create policy loose2 on note using (owner is not distinct from (select jwt('sub')));
			create policy loose3 on note using ((select jwt('sub')) is not distinct from owner);
			create policy loose4 on note for insert with check (coalesce(jwt('sub'), 'x') = owner);
			create policy loose5 on note using (owner = coalesce((select jwt('sub')), owner));
			create policy loose6 on note using (jwt('sub') is null or owner = jwt('sub'));
			create policy loose7 on note using ((select jwt('sub')) is null or owner = jwt('sub'));
			create function steady() returns text stable language sql return jwt('sub');
			create function frozen1() returns text immutable language sql return jwt('sub');
			create function frozen2() returns text immutable language plpgsql as $$ begin return jwt ('sub'); end $$;
			create function frozen3() returns text immutable language sql as $$ select 'jwtx()' $$`)
		var got []string
		for _, problem := range status(t, p.Connect(t, p.db, cluster.Superuser, "")).Problems {
			words := strings.Fields(problem)
			got = append(got, words[1])
		}
		slices.Sort(got)
		want := []string{"public.frozen1()", "public.frozen2()", "loose1", "loose2", "loose3", "loose4", "loose5", "loose6", "loose7"}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("named: %q\nwant:  %q", got, want)
		}
	})
}
