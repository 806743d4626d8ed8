package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// withAuditTable puts the pack into the stage's database and the settings into its configuration, and gives a superuser's connection.
func (s *stage) withAuditTable(more string) *pgx.Conn {
	s.t.Helper()
	admin, _, _, settings := s.withPack("audit", "writer.password")
	s.settings["more"] += "audit: {to: table, " + settings + ", " + more + "}\n"
	return admin
}

// TestAttackAuditTable: the attacker reads the audit table, and everything that is sent to it, in search of what lets him in: tokens,
// passwords, keys. He has also tried names that look like rows.
//
// Must: The table must tell of the start, logins, refusals, fresh tokens, hand-overs, transactions and ends, each in a row of its own, with issuer,
// subject, role, address and the token's hash; it holds no token, no part of one, no password, and no claim but the issuer and the subject.
// Dialects: none
func TestAttackAuditTable(t *testing.T) {
	s := newStage(t)
	admin := s.withAuditTable("handovers: 1, transactions: 1")
	p := s.serve()
	token := s.issuer.Mint("some\tone\n\\.\n", map[string]any{"tenant_id": "t1-secret", "jti": "j1-secret"})
	ada, err := s.dial(p, s.role, token, "server.test")
	if err != nil {
		t.Fatal(err)
	}
	s.one(ada, "SELECT 'a'")
	fresh := s.issuer.Mint("some\tone\n\\.\n", map[string]any{"tenant_id": "t2-secret", "jti": "j2-secret"})
	if _, err := ada.Exec(t.Context(), "SET jwt.context = '"+fresh+"'"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dial(p, "x\t\\N\n"+s.role, fresh+"x", "server.test"); err == nil {
		t.Error("a broken token is good")
	}
	s.one(ada, "SELECT 'b'")
	if err := ada.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	const kinds = `SELECT coalesce(string_agg(event || ' ' || n, ', ' ORDER BY event), '') FROM (SELECT event, count(*) n FROM claimpool_audit.records GROUP BY 1) r`
	soon(t, "all rows", func() bool {
		return s.one(admin, kinds) == "command 2, end 1, handover 2, login 1, refusal 1, renewal 1, transaction 2"
	})
	for _, test := range []struct{ sql, want string }{
		{"SELECT count(*)::text FROM claimpool_audit.records WHERE event IN ('login', 'handover', 'renewal', 'transaction', 'end') AND client IS NOT NULL AND addr LIKE '127.0.0.1:%'", "7"},
		{`SELECT concat_ws(',', min(db), max(db), min(iss), max(iss), min(sub), max(sub), min(role), max(role), count(DISTINCT token_hash))
			FROM claimpool_audit.records WHERE event IN ('login', 'handover', 'renewal', 'transaction', 'end')`,
			fmt.Sprintf("app,app,https://issuer.test,https://issuer.test,some\tone\n\\.\n,some\tone\n\\.\n,%[1]s,%[1]s,2", s.role)},
		{"SELECT sqlstate || (more ->> 'user') FROM claimpool_audit.records WHERE event = 'refusal'", "28000x\t\\N\n" + s.role},
		{"SELECT string_agg(concat_ws(' ', rows, more ->> 'outcome', held > '0', more ->> 'pool'), ', ') FROM claimpool_audit.records WHERE event = 'transaction'",
			fmt.Sprintf("1 commit t app/%[1]s, 1 commit t app/%[1]s", s.role)},
		{"SELECT string_agg(split_part(reason, ' ', 1), ' ' ORDER BY number) FROM claimpool_audit.records WHERE event = 'command'", "start reload:"},
	} {
		if got := s.one(admin, test.sql); got != test.want {
			t.Errorf("%s: got %q, want %q", test.sql, got, test.want)
		}
	}
	for _, secret := range []string{token, fresh, strings.Split(token, ".")[1], strings.Split(fresh, ".")[2], "tenant_id", "j1-secret", "t1-secret", "t2-secret"} {
		if got := s.one(admin, "SELECT count(*)::text FROM claimpool_audit.records r WHERE strpos(r::text, '"+secret+"') > 0"); got != "0" {
			t.Errorf("%s rows hold %q", got, secret)
		}
	}
	p.signal(syscall.SIGTERM)
	p.exits()
	soon(t, "the stop", func() bool {
		return s.one(admin, "SELECT concat(count(*), max(number) = count(*)) FROM claimpool_audit.records WHERE event <> 'x'") == "11t"
	})
}
