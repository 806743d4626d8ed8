package mapping_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/mapping"
)

const ada = `{"sub":"ada","email_verified":true,"groups":["dev","dba"],"org":{"id":12345678901234567,"plan":"a<b>"},"big":18446744073709551615,"rate":1.5,"none":null}`

func compile(t testing.TB, spec mapping.Spec) *mapping.Mapping {
	t.Helper()
	m, err := mapping.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoles(t *testing.T) {
	for expression, want := range map[string]string{
		`"app"`:         "app",
		`["a", "b"]`:    "a,b",
		`claims.groups`: "dev,dba",
		`claims.groups.filter(g, g.startsWith("db"))`:    "dba",
		`"dba" in claims.groups ? "admin" : "app"`:       "admin",
		`claims.groups.exists(g, g == user) ? user : ""`: "dev",
		`subject + "_role"`:                              "ada_role",
		`has(claims.role) ? claims.role : "app"`:         "app",
		`claims.org.id == 12345678901234567 ? "x" : ""`:  "x",
		`claims.groups.map(g, "app_" + g)`:               "app_dev,app_dba",
		`[]`:                                             "",
		`claims.role`:                                    "error: no such key: role",
		`claims.org.id`:                                  "error: neither a string nor a list",
		`claims.org`:                                     "error: neither a string nor a list",
		`[claims.rate]`:                                  "error: something else than strings",
	} {
		roles, err := compile(t, mapping.Spec{Role: expression}).Roles([]byte(ada), "ada", "dev")
		got := strings.Join(roles, ",")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want && !(strings.HasPrefix(want, "error: ") && strings.Contains(got, want[7:])) {
			t.Errorf("%s: got %s, want %s", expression, got, want)
		}
	}
}

func TestConditions(t *testing.T) {
	for _, tc := range []struct {
		conditions []string
		want       int
		fails      bool
	}{
		{nil, 0, false},
		{[]string{`claims.email_verified`}, 0, false},
		{[]string{`claims.email_verified == true`, `claims.groups.size() > 1`}, 0, false},
		{[]string{`true`, `claims.org.plan == "pro"`, `false`}, 2, false},
		{[]string{`claims.email_verified == "true"`}, 1, false}, // other types are other values
		{[]string{`claims.groups`}, 1, false},                   // not true
		{[]string{`true`, `claims.typo`}, 2, true},
		{[]string{`int(claims.sub) > 1`}, 1, true},
		{[]string{`!has(claims.role)`, `claims.none == null`, `claims.big > 5u`, `claims.rate < 2.0`}, 0, false},
	} {
		failed, err := compile(t, mapping.Spec{Conditions: tc.conditions}).Condition([]byte(ada))
		if failed != tc.want || (err != nil) != tc.fails {
			t.Errorf("%q: %d (%v), want %d", tc.conditions, failed, err, tc.want)
		}
	}
}

func TestContext(t *testing.T) {
	for expression, want := range map[string]string{
		`{"sub": claims.sub, "tenant_id": claims.org.id}`: `{"sub":"ada","tenant_id":12345678901234567}`,
		`claims.org`: `{"id":12345678901234567,"plan":"a<b>"}`,
		`{"b": [1, 2u, 1.5, null, true], "a": {"x": claims.groups}}`: `{"a":{"x":["dev","dba"]},"b":[1,2,1.5,null,true]}`,
		`{"big": claims.big}`: `{"big":18446744073709551615}`,
		`{}`:                  `{}`,
		`{"x": b"bytes"}`:     "error: bytes",
		`{"x": timestamp("2026-01-01T00:00:00Z")}`: "error: google.protobuf.Timestamp",
		`{"x": 1.0 / 0.0}`:                         "error: JSON has not",
		`claims.groups`:                            "error: not a map",
		`claims.sub`:                               "error: not a map",
		`{"x": {1: "a"}}`:                          "error: names are not strings",
	} {
		got := ""
		context, err := compile(t, mapping.Spec{Context: expression}).Context([]byte(ada))
		if got = string(context); err != nil {
			got = "error: " + err.Error()
		}
		if got != want && !(strings.HasPrefix(want, "error: ") && strings.Contains(got, want[7:])) {
			t.Errorf("%s: got %s, want %s", expression, got, want)
		}
	}
}

// What can be wrong with an expression is found when it is compiled, with its place.
func TestCompileSaysWhere(t *testing.T) {
	for _, tc := range []struct {
		spec         mapping.Spec
		field, want  string
		line, column int
	}{
		{mapping.Spec{Role: `claim.role`}, "Role", "undeclared reference to 'claim'", 1, 1},
		{mapping.Spec{Role: `claims.role ==`}, "Role", "Syntax error", 1, 15},
		{mapping.Spec{Role: "claims.a == 'x'\n  ? 'a' : 5"}, "Role", "no matching overload", 2, 3},
		{mapping.Spec{Role: `claims.size()`}, "Role", "gives int, not a string", 1, 1},
		{mapping.Spec{Role: `true`}, "Role", "gives bool", 1, 1},
		{mapping.Spec{Role: `[1]`}, "Role", "gives list(int)", 1, 1},
		{mapping.Spec{Role: `lower(claims.x)`}, "Role", "undeclared reference to 'lower'", 1, 6},
		{mapping.Spec{Conditions: []string{`true`, `user == "x"`}}, "Conditions", "undeclared reference to 'user'", 1, 1},
		{mapping.Spec{Conditions: []string{`"x"`}}, "Conditions", "gives string, not a bool", 1, 1},
		{mapping.Spec{Context: `[1]`}, "Context", "not a map", 1, 1},
		{mapping.Spec{Context: `{1: 2}`}, "Context", "not a map", 1, 1},
		{mapping.Spec{Context: strings.Repeat(" ", 9000)}, "Context", "longer than", 1, 1},
		{mapping.Spec{Context: strings.Repeat("[", 5000)}, "Context", "", 1, 0},
	} {
		_, err := mapping.Compile(tc.spec)
		var e *mapping.Error
		if !errors.As(err, &e) {
			t.Errorf("%+.60v: %v", tc.spec, err)
			continue
		}
		if e.Field != tc.field || !strings.Contains(e.Text, tc.want) || e.Line != tc.line || tc.column > 0 && e.Column != tc.column || e.Field == "Conditions" && e.Index != len(tc.spec.Conditions)-1 {
			t.Errorf("%+.60v: %+v", tc.spec, e)
		}
	}
}

// TestAttackExpensiveClaims: the attacker's issuer fills a token with as many claims as there is room for, so that going through them
// takes the proxy's time.
//
// Must: An expression ends soon, and the token is refused.
func TestAttackExpensiveClaims(t *testing.T) {
	claims := `{"a":["` + strings.Join(slices.Repeat([]string{"xxxx"}, 8000), `","`) + `"]}`
	for _, expression := range []string{
		`claims.a.all(x, claims.a.all(y, claims.a.all(z, x == y && y == z)))`,
		`claims.a.map(x, claims.a.map(y, claims.a)).size() > 0`,
		`claims.a.exists(x, claims.a.exists(y, (x + y).matches("(a|b|x)*z$")))`,
	} {
		began := time.Now()
		failed, err := compile(t, mapping.Spec{Conditions: []string{expression}}).Condition([]byte(claims))
		if failed != 1 || err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
			t.Errorf("%s: %d, %v", expression, failed, err)
		}
		if time.Since(began) > 10*time.Second { // without the limit it is hours
			t.Errorf("%s took %v", expression, time.Since(began))
		}
	}
	many := `{"a":["` + strings.Join(slices.Repeat([]string{"xxxx"}, 1000), `","`) + `"]}`
	if failed, err := compile(t, mapping.Spec{Conditions: []string{`claims.a.all(x, x != "y")`}}).Condition([]byte(many)); failed != 0 || err != nil {
		t.Errorf("a thousand groups: %d, %v", failed, err)
	}
	for name, claims := range map[string]string{"an integer of 65 bits": `{"a":36893488147419103232}`, "no object": `[]`, "null": `null`, "nothing": ``} {
		if failed, err := compile(t, mapping.Spec{Conditions: []string{"true"}}).Condition([]byte(claims)); failed != 1 || err == nil {
			t.Errorf("%s: %d, %v", name, failed, err)
		}
	}
}
