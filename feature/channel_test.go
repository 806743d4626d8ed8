package feature

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestChannels(t *testing.T) {
	for _, test := range []struct{ template, claims, yes, no string }{
		{"news", ``, "news", "newss new News"},
		{"*", ``, "a b_c", ""},
		{"tenant_${tenant_id}_*", `{"tenant_id": "1"}`, "tenant_1_orders tenant_1_", "tenant_1 tenant_11_orders tenant_1_2_orders tenant_2_orders x_tenant_1_orders"},
		{"tenant_${tenant_id}_*", `{"tenant_id": 17}`, "tenant_17_orders", "tenant_1_orders"},
		{"tenant_${tenant_id}_*", `{"tenant_id": "1_2"}`, "", "tenant_1_2_orders tenant_1_orders"},
		{"tenant_${tenant_id}_*", `{"tenant_id": ""}`, "", "tenant__orders tenant__"},
		{"tenant_${tenant_id}_*", `{"tenant_id": "*"}`, "tenant_*_x", "tenant_1_orders"},
		{"tenant_${tenant_id}_*", `{"tenant_id": null}`, "", "tenant_null_x tenant__x"},
		{"tenant_${tenant_id}_*", `{"tenant_id": ["1"]}`, "", "tenant_1_x tenant_[\"1\"]_x"},
		{"tenant_${tenant_id}_*", `{"tenant_id": 1.5}`, "", "tenant_1.5_x"},
		{"tenant_${tenant_id}_*", `{"Tenant_ID": "1"}`, "", "tenant_1_x"},
		{"tenant_${tenant_id}_*", ``, "", "tenant__x tenant_${tenant_id}_x"},
		{"${org}:${sub}", `{"org": "a", "sub": "b_c"}`, "a:b_c", "a:b a:b_cd b_c:a"},
		{"${org}:${sub}", `{"org": "a:b", "sub": "c"}`, "", "a:b:c a:b"},
		{"*_events", ``, "a_events _events", "a_b_events a_event"},
		{"a$b", ``, "a$b", "ab"},
	} {
		c, err := ParseChannel(test.template)
		if err != nil {
			t.Errorf("%s: %v", test.template, err)
			continue
		}
		p := Permit([]Channel{c}, []byte(test.claims))
		for _, name := range strings.Fields(test.yes) {
			if !p.Allows(name) {
				t.Errorf("%s with %s does not give %s", test.template, test.claims, name)
			}
		}
		for _, name := range strings.Fields(test.no) {
			if p.Allows(name) {
				t.Errorf("%s with %s gives %s", test.template, test.claims, name)
			}
		}
	}
	for _, template := range []string{"", "${", "${}", "${a", "${a}${b}", "${a}*", "*${a}", "**", "ä", "a b", "a\x00"} {
		if _, err := ParseChannel(template); err == nil {
			t.Errorf("%q is a template", template)
		}
	}
	if (&Permission{}).Allows("") || (&Permission{}).Allows("a") || !AllChannels().Allows("a") || Permit(nil, []byte("{")).Allows("a") {
		t.Error("the ends of the scale are wrong")
	}
}

// TestNoNameForTwo: whatever values the claims of somebody have, the name that a template makes of them is given to nobody else.
func TestNoNameForTwo(t *testing.T) {
	letters := rapid.SliceOfN(rapid.SampledFrom([]rune("ab_:")), 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "claims")
		template, name := string(letters.Draw(t, "text")), ""
		name = template
		owner, other := map[string]string{}, map[string]string{}
		same := true
		for i := range n {
			key := string(rune('a' + i))
			owner[key], other[key] = string(letters.Draw(t, "owner")), string(letters.Draw(t, "other"))
			same = same && owner[key] == other[key]
			template += "${" + key + "}"
			name += owner[key]
			if i < n-1 || rapid.Bool().Draw(t, "more") {
				text := string(letters.Draw(t, "text"))
				template, name = template+text, name+text
				if i == n-1 && rapid.Bool().Draw(t, "star") {
					template, name = template+"*", name+string(letters.Draw(t, "rest"))
				}
			}
		}
		c, err := ParseChannel(template)
		if err != nil {
			t.Fatal(err)
		}
		claims, _ := json.Marshal(other)
		mine, _ := json.Marshal(owner)
		if !same && Permit([]Channel{c}, claims).Allows(name) && Permit([]Channel{c}, mine).Allows(name) {
			t.Fatalf("%s gives %s to %s and to %s", template, name, mine, claims)
		}
		if !same && Permit([]Channel{c}, claims).Allows(name) {
			t.Fatalf("%s gives %s, which is meant for %s, to %s", template, name, mine, claims)
		}
	})
}
