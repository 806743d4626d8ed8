package trusted

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestEqualSettingsAreOneObject(t *testing.T) {
	var in Intern
	a := in.Of([][2]string{{"TimeZone", "UTC"}, {"DateStyle", "ISO"}})
	for name, b := range map[string]*Settings{
		"other order":  in.Of([][2]string{{"DateStyle", "ISO"}, {"TimeZone", "UTC"}}),
		"the last one": in.Of([][2]string{{"DateStyle", "german"}, {"TimeZone", "UTC"}, {"datestyle", "ISO"}}),
		"changed":      in.With(in.Of([][2]string{{"DateStyle", "ISO"}, {"TimeZone", "CET"}}), "timezone", "UTC"),
		"added":        in.With(in.Of([][2]string{{"TimeZone", "UTC"}}), "DateStyle", "ISO"),
		"unchanged":    in.With(a, "TIMEZONE", "UTC"),
	} {
		if a != b {
			t.Errorf("%s: %q", name, b.List())
		}
	}
	for name, b := range map[string]*Settings{
		"other value":          in.Of([][2]string{{"DateStyle", "ISO"}, {"TimeZone", "CET"}}),
		"one less":             in.Of([][2]string{{"TimeZone", "UTC"}}),
		"none":                 in.Of(nil),
		"one in place of two":  in.Of([][2]string{{"DateStyle", "ISOTimeZoneUTC"}}),
		"nothing in the value": in.Of([][2]string{{"DateStyle", ""}, {"TimeZone", "UTC"}}),
	} {
		if a == b {
			t.Errorf("%s: taken for equal", name)
		}
	}
}

func TestSettingsOfACallerAreNotChanged(t *testing.T) {
	var in Intern
	params := [][2]string{{"b", "1"}, {"a", "2"}, {"B", "3"}}
	in.Of(params)
	in.With(in.Of(params), "a", "9")
	if !slices.Equal(params, [][2]string{{"b", "1"}, {"a", "2"}, {"B", "3"}}) {
		t.Errorf("%q", params)
	}
	if got := in.Of(params).List(); !slices.Equal(got, [][2]string{{"a", "2"}, {"b", "3"}}) {
		t.Errorf("%q", got)
	}
}

// TestAttackEverNewSettings: the attacker brings ever new settings, short ones and long ones.
//
// Must: The table of sets must not grow without end.
func TestAttackEverNewSettings(t *testing.T) {
	for _, length := range []int{1, 10_000} {
		var in Intern
		for i := range maxSetBytes / 100 {
			in.Of([][2]string{{"search_path", strings.Repeat("x", length) + fmt.Sprint(i)}})
		}
		kept := 0
		for key := range in.sets {
			kept += len(key)
		}
		if kept > maxSetBytes || len(in.sets) > maxSetBytes/200 {
			t.Errorf("%d sets with %d bytes", len(in.sets), kept)
		}
	}
}

func TestUnchangedSettingsDoNotAllocate(t *testing.T) {
	var in Intern
	s := in.Of([][2]string{{"TimeZone", "UTC"}})
	if n := testing.AllocsPerRun(100, func() { in.With(s, "TimeZone", "UTC") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestStartup(t *testing.T) {
	get := func(list [][2]string, name string) (value string, n int) {
		for _, kv := range list {
			if kv[0] == name {
				value = kv[1]
				n++
			}
		}
		return value, n
	}
	sql := &SQL{}
	for _, test := range []struct {
		name       string
		configured [][2]string
		version    int
		key, want  string
		count      int
	}{
		{"pinned", nil, Oldest, "search_path", `"$user", public`, 1},
		{"configured", [][2]string{{"Search_Path", "app"}}, Oldest, "search_path", "app", 1},
		{"added", [][2]string{{"work_mem", "1GB"}}, Oldest, "work_mem", "1GB", 1},
		{"who it is cannot be configured", [][2]string{{"ROLE", "postgres"}}, Oldest, "role", "none", 1},
		{"nor the session's", [][2]string{{"session_authorization", "postgres"}}, Oldest, "session_authorization", "", 0},
		{"nor the context", [][2]string{{"Claimpool.Context", "x"}}, Oldest, SQLSetting, "", 1},
		{"old server", nil, Oldest, "transaction_timeout", "", 0},
		{"new server", nil, 170000, "transaction_timeout", "0", 1},
		{"unknown server", nil, 0, "transaction_timeout", "0", 1},
		{"15.7", nil, Version("15.7"), "restrict_nonsystem_relation_kind", "", 0},
		{"15.8", nil, Version("15.8 (Debian 15.8-1)"), "restrict_nonsystem_relation_kind", "", 1},
	} {
		if value, n := get(Startup(test.configured, sql, test.version), test.key); value != test.want || n != test.count {
			t.Errorf("%s: %q, %d times", test.name, value, n)
		}
	}
	before := slices.Clone(pins)
	Startup([][2]string{{"search_path", "x"}}, sql, 0)
	if !slices.Equal(before, pins) {
		t.Error("the pins were changed")
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]int{
		"18.4 (Debian 18.4-1.pgdg120+1)": 180004, "15.14": 150014, "19beta1": 190000, "19devel": 190000, "": 0, "x": 0,
	} {
		if got := Version(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
