package trusted

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

func TestRenewals(t *testing.T) {
	for _, test := range []struct {
		sql   string
		ours  bool
		token string // empty: refused
	}{
		{"SET jwt.context = 'a.b-c_D9'", true, "a.b-c_D9"},
		{"set SESSION Jwt.Context to 'a'", true, "a"},
		{"SET jwt.context='a'", true, "a"},
		{" ;; \n\tSET--\n/* a /* b */ c */ \"jwt\" . \"context\"/**/=/**/'a' -- end\n ; /* end */ ", true, "a"},
		{`SET"jwt.context"='a'`, true, "a"},
		{`SET "JWT"."Context" TO'a'`, true, "a"},
		{"SET LOCAL jwt.context = 'a'", true, ""},
		{"SET LOCAL SESSION jwt.context = 'a'", false, ""},
		{"SET jwt.context", true, ""},
		{"SET jwt.context = ''", true, ""},
		{"SET jwt.context = DEFAULT", true, ""},
		{"SET jwt.context 'a'", true, ""},
		{"SET jwt.context = 'a", true, ""},
		{"SET jwt.context = 'a''b'", true, ""},
		{"SET jwt.context = 'a' 'b'", true, ""},
		{"SET jwt.context = 'a'\n'b'", true, ""},
		{"SET jwt.context = E'a'", true, ""},
		{"SET jwt.context = \"a\"", true, ""},
		{"SET jwt.context = $$a$$", true, ""},
		{"SET jwt.context = a", true, ""},
		{"SET jwt.context = 'a b'", true, ""},
		{"SET jwt.context = 'a\\'", true, ""},
		{"SET jwt.context = 'a', 'b'", true, ""},
		{"SET jwt.context = 'a'; SELECT 1", true, ""},
		{"SET jwt.context = 'a';;", true, ""},
		{"SET jwt.context = 'a' /* no end", true, ""},
		{"SET jwt.context = 'a'\x00", true, ""},
		{"SET jwt.contextual = 'a'", false, ""},
		{"SET jwt.context$ = 'a'", false, ""},
		{"SET jwt.\"context \" = 'a'", false, ""},
		{"SET jwt.keys = 'a'", false, ""},
		{"SET my.jwt.context = 'a'", false, ""},
		{"SETjwt.context = 'a'", false, ""},
		{"SET_ jwt.context = 'a'", false, ""},
		{"SET sessionjwt.context = 'a'", false, ""},
		{"SHOW jwt.context", false, ""},
		{"RESET jwt.context", false, ""},
		{"SELECT 1; SET jwt.context = 'a'", false, ""},
		{"SELECT set_config('jwt.context', 'a', false)", false, ""},
		{"/* SET jwt.context = 'a'", false, ""},
		{"/* /* SET jwt.context = 'a' */", false, ""},
		{"-- SET jwt.context = 'a'", false, ""},
		{"- SET jwt.context = 'a'", false, ""},
		{"'SET jwt.context = a'", false, ""},
		{"SET TIME ZONE 'UTC'", false, ""},
		{"", false, ""},
	} {
		if yes, maybe := Renews([]byte(test.sql), true); yes != test.ours || maybe {
			t.Errorf("%q: ours %t, perhaps %t", test.sql, yes, maybe)
		}
		token, err := RenewalToken([]byte(test.sql))
		if string(token) != test.token || (err == nil) != (test.token != "") {
			t.Errorf("%q has the token %q (%v)", test.sql, token, err)
		}
		if err != nil && claimpool.AsError(err).Code != claimpool.CodeSyntaxError {
			t.Errorf("%q: %v", test.sql, err)
		}
		for n := range test.sql { // a beginning of it must say the same, or ask for more
			if yes, maybe := Renews([]byte(test.sql[:n]), false); !maybe && yes != test.ours {
				t.Errorf("%q, of which there is %q: ours %t", test.sql, test.sql[:n], yes)
			}
		}
	}
}

// FuzzRenewals: what the grammar takes is recognised by its beginning, a token holds nothing but its letters, and what is
// recognised from a part is recognised from the whole.
func FuzzRenewals(f *testing.F) {
	f.Add("SET jwt.context = 'a.b.c'", 10)
	f.Add("/*x*/set \"jwt\" . context to 'a';--", 3)
	f.Fuzz(func(t *testing.T, sql string, n int) {
		token, err := RenewalToken([]byte(sql))
		yes, maybe := Renews([]byte(sql), true)
		if maybe || err == nil && !yes {
			t.Errorf("%q: ours %t, perhaps %t", sql, yes, maybe)
		}
		if err == nil && (len(token) == 0 || strings.ContainsAny(string(token), "'\"\\; \n\x00") || !strings.Contains(sql, "'"+string(token)+"'")) {
			t.Errorf("%q has the token %q", sql, token)
		}
		if n >= 0 && n < len(sql) {
			part, more := Renews([]byte(sql[:n]), false)
			if yes && !part && !more {
				t.Errorf("%q is not recognised from %q", sql, sql[:n])
			}
		}
	})
}
