package extension_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackStolenToken: the attacker has a token that is bound to another connection, and a login of his own.
//
// Must: It is refused wherever the address, the role or the backend is another.
// Dialects: native
// Not sql: tokens in a setting are for direct connections, which need the extension
func TestAttackStolenToken(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		c := s.login(t, "plain")
		const (
			address = "token is bound to another address"
			role    = "token is bound to another role"
			backend = "token is bound to another connection"
			bad     = "token has a bad confirmation"
			unknown = "token is bound to something that is not supported"
		)
		// What an issuer can ask for, with the login of the client.
		who := strings.Fields(c.one("select pid || ' ' || extract(epoch from backend_start) from pg_stat_activity where pid = pg_backend_pid()"))
		pid, started := who[0], who[1]
		for _, row := range []struct{ cnf, reason string }{
			{`{"addr":"127.0.0.1"}`, ""},
			{`{"addr":["::1","127.0.0.1"]}`, ""},
			{`{"role":"plain"}`, ""},
			{`{"pid":` + pid + `,"start":` + started + `}`, ""},
			{`{"addr":"127.0.0.1","role":"plain","pid":` + pid + `,"start":` + started + `}`, ""},
			{`{"addr":"127.0.0.2"}`, address},
			{`{"addr":"127.0.0.1/32"}`, address},
			{`{"addr":"local"}`, address},
			{`{"addr":""}`, address},
			{`{"addr":null}`, address},
			{`{"addr":[]}`, address},
			{`{"addr":[["127.0.0.1"]]}`, address},
			{`{"addr":{"127.0.0.1":"127.0.0.1"}}`, address},
			{`{"role":"pool"}`, role},
			{`{"role":"PLAIN"}`, role},
			{`{"role":["plain"]}`, role},
			{`{"role":"plain","addr":"127.0.0.2"}`, address},
			{`{"pid":1,"start":` + started + `}`, backend},
			{`{"pid":"` + pid + `","start":` + started + `}`, backend},
			{`{"pid":` + pid + `,"start":1000000000}`, backend},
			{`{"pid":` + pid + `,"start":1e999}`, backend},
			{`{"pid":` + pid + `}`, bad},
			{`{"start":` + started + `}`, bad},
			{`{}`, bad},
			{`null`, bad},
			{`["plain"]`, bad},
			{`{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, unknown},
			{`{"role":"plain","` + strings.Repeat("x", 1000) + `":1}`, unknown},
		} {
			r := c.exec("set jwt.context = '" + mint(t, key, edHeader, claims(`,"cnf":`+row.cnf)) + "'")
			if row.reason == "" && r.code() != "" || row.reason != "" && (r.code() != "28000" || r.errors[0].Message != row.reason) {
				t.Errorf("%.60s: %s, want %q", row.cnf, describe(r), row.reason)
			}
		}

		// The login counts, whatever role is set; at connection start, too; and so does the transport.
		admin := s.login(t, "postgres")
		admin.mustExec("set role plain")
		plain := mint(t, key, edHeader, claims(`,"cnf":{"role":"plain"}`))
		if r := admin.exec("set jwt.context = '" + plain + "'"); r.code() != "28000" {
			t.Errorf("after SET ROLE: %s", describe(r))
		}
		if r := s.login(t, "postgres", "jwt.context", plain).exec("select jwt('sub')"); r.code() != "28000" {
			t.Errorf("at the start of another role's connection: %s", describe(r))
		}
		if got := s.login(t, "plain", "jwt.context", plain).one("select jwt('sub')"); got != "me" {
			t.Errorf("at the start: %s", got)
		}
		local := fmt.Sprintf("host=%s port=%d user=plain password=plain dbname=postgres", s.SocketDir(), s.Port)
		conn, err := pgconn.Connect(t.Context(), local)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		for addr, want := range map[string]bool{"local": true, "127.0.0.1": false, "": false} {
			token := mint(t, key, edHeader, claims(`,"cnf":{"addr":"`+addr+`"}`))
			if _, err := conn.Exec(t.Context(), "set jwt.context = '"+token+"'").ReadAll(); (err == nil) != want {
				t.Errorf("over a Unix socket, %q: %v", addr, err)
			}
		}
	})
}
