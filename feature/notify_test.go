package feature

import (
	"slices"
	"testing"
)

func TestSent(t *testing.T) {
	for sql, want := range map[string][]string{
		"select 1":                                         nil,
		"notify a":                                         {"a"},
		"NOTIFY A":                                         {"a"},
		"NOTIFY \"A\"\"b\", 'payload'":                     {"A\"b"},
		" /* x */ notify -- y\n a ; notify b":              {"a", "b"},
		"begin; notify a; commit":                          {"a"},
		"select pg_notify('a:b', 'x')":                     {"a:b"},
		"select pg_catalog.pg_notify ( 'It''s' , $1 )":     {"It's"},
		"SELECT PG_NOTIFY('A', '')":                        {"A"},
		"select pg_notify('a', ''), pg_notify('b', '')":    {"a", "b"},
		"insert into t select pg_notify('a', x) from y":    {"a"},
		"select 'notify a'":                                nil,
		"select 1 as notify, b":                            nil,
		"select $$; notify a$$":                            nil,
		"-- notify a\nselect 1":                            nil,
		"select pg_notify($1, 'x')":                        nil,
		"select pg_notify('a' || b, 'x')":                  nil,
		"select pg_notify('a":                              nil,
		"select pg_notify(":                                nil,
		"notify":                                           nil,
		"notify ä":                                         nil,
		"select e'\\'; notify a', 1; notify b":             {"b"},
		"do $$begin perform pg_notify('a', ''); end$$":     nil, // as little as in a function
		"select my_pg_notify('a', '')":                     nil,
		"select \"pg_notify\"('a', '')":                    nil,
		"create rule r as on insert to t do also notify a": nil,
	} {
		if got := Sent([]byte(sql)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}
