package proxy_test

import (
	"testing"

	"github.com/claimpool/claimpool/feature"
)

// TestSettingsFollowInEverySpelling: what SET means goes with the client, however it is written, and nothing that was undone does.
func TestSettingsFollowInEverySpelling(t *testing.T) {
	f := startPlain(t, chosen(feature.Choices{Set: feature.Follow}, 2, 0))
	for _, test := range []struct{ set, show, want string }{
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW default_transaction_read_only", "on"},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SHOW default_transaction_isolation", "serializable"},
		{"SET SESSION work_mem = '7MB'", "SHOW work_mem", "7MB"},
		{"SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone", "Asia/Tokyo"},
		{"SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "SHOW timezone", "<-08>+08"},
		{"SET NAMES 'latin1'", "SHOW client_encoding", "LATIN1"},
		{"SET SCHEMA 'pg_catalog'", "SHOW search_path", "pg_catalog"},
		{"SET XML OPTION DOCUMENT", "SHOW xmloption", "document"},
		{"/* hello */ SET work_mem TO '9MB'", "SHOW work_mem", "9MB"},
		{"SELECT 1; SET work_mem TO '10MB'", "SHOW work_mem", "10MB"},
		{"BEGIN; SET work_mem TO '11MB'; COMMIT", "SHOW work_mem", "11MB"},
		{"BEGIN; SET work_mem TO '12MB'; ROLLBACK", "SHOW work_mem", "11MB"},
		{"RESET work_mem", "SHOW work_mem", "4MB"},
		{"SET a.b = 'x y'", "SHOW a.b", "x y"},
		{"SET search_path = a, \"b c\"", "SHOW search_path", `a, "b c"`},
		{"SET DateStyle = 'German'", "SHOW datestyle", "German, DMY"},
		{"SET work_mem FROM CURRENT", "SHOW work_mem", "4MB"},
		{"SET LOCAL work_mem = '33MB'", "SHOW work_mem", "4MB"},
		{"SET bytea_output = escape; SET enable_sort = off", "SHOW enable_sort", "off"},
		{"DO $$BEGIN PERFORM 1; END$$; SET geqo = off", "SHOW geqo", "off"},
	} {
		p, hold := f.login(t), f.login(t)
		if test.want == "11MB" {
			p.ask("SET work_mem = '11MB'")
		}
		got := p.ask(test.set)
		hold.ask("BEGIN")
		other := p.ask(test.show)
		hold.ask("COMMIT")
		hold.ask("BEGIN")
		again := p.ask(test.show)
		hold.ask("COMMIT")
		if want := "T D(" + test.want + ") C(SHOW) Z(I)"; other != want || again != want {
			t.Errorf("%s (%s): %s and %s, want %s", test.set, got, other, again, test.want)
		}
		p.leave()
		hold.leave()
	}
}
