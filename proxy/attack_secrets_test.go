package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/wire"
)

// TestAttackReadSecrets: the attacker, and everybody who may read logs, looks for tokens, seals, keys and claims: in the views
// of PostgreSQL while hand-overs go on, in the messages of errors that he provokes, in the server's log with everything
// switched on, in the proxy's log at its most talkative.
//
// Must: He finds none.
// Dialects: sql, native
// Not pgbouncer: it has no secret of ours
func TestAttackReadSecrets(t *testing.T) {
	eachTenants(t, 1, func(t *testing.T, f *tenants) {
		admin := f.admin(t)
		for _, s := range []string{"log_statement = 'all'", "log_min_duration_statement = 0", "log_min_messages = debug1", "log_error_verbosity = verbose", "log_parameter_max_length = -1"} {
			run(t, admin, fmt.Sprintf("ALTER ROLE %s SET %s", f.role, s))
		}
		const classified = "classified-4711-"
		tokens := map[string]string{}
		var conns []*pgx.Conn
		for _, tenant := range []string{"t1", "t2"} {
			tokens[tenant] = f.issuer.Mint("user-of-"+tenant, map[string]any{"tenant_id": tenant, "clearance": classified + tenant})
			conns = append(conns, f.connectWith(t, tokens[tenant]))
		}
		secrets := []string{classified}
		for _, token := range tokens {
			parts := strings.Split(token, ".")
			secrets = append(secrets, parts[1], parts[2])
		}
		if f.dialect == sql {
			for _, block := range []string{"inside", "outside"} {
				secrets = append(secrets, value(t, admin, "SELECT left(encode("+block+", 'hex'), 64) FROM claimpool.keys"))
			}
			secrets = append(secrets, value(t, admin, `SELECT string_agg(lpad(to_hex(get_byte(inside, i) # 54), 2, '0'), '' ORDER BY i) FROM claimpool.keys, generate_series(0, 31) i`))
		}

		var said []string // what anybody could read
		for i := range 40 {
			c := conns[i%2]
			if f.dialect == sql {
				secrets = append(secrets, value(t, c, "SELECT left(current_setting('claimpool.context'), 64)"))
			}
			said = append(said, value(t, c, "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a"),
				value(t, c, "SELECT concat((SELECT string_agg(p::text, ' ') FROM pg_prepared_statements p), (SELECT string_agg(c::text, ' ') FROM pg_cursors c), (SELECT string_agg(s::text, ' ') FROM pg_db_role_setting s))"),
				value(t, admin, "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a"))
			for _, sql := range []string{
				"BEGIN; SET LOCAL " + f.setting() + " = 'x'; SELECT count(*) FROM note", "SELECT jwt('clearance')::int", "SELECT jwt_required('absent')",
				"SET client_min_messages = debug5; SELECT count(*) FROM note; SELECT 1/0", "SELECT * FROM claimpool.keys", "SET debug_print_plan = on; SET client_min_messages = log; SELECT count(*) FROM note",
			} {
				_, err := c.PgConn().Exec(t.Context(), sql).ReadAll()
				if err != nil && !strings.Contains(sql, "::int") { // that one shows his own claim to himself
					said = append(said, fmt.Sprintf("%+v", err))
				}
				if c.PgConn().TxStatus() != 'I' {
					run(t, c, "ROLLBACK")
				}
			}
		}
		wrong := tokens["t1"][:len(tokens["t1"])-4] + "AAAA"
		if c, err := f.dial(t.Context(), f.role, wrong); err == nil {
			c.Close(context.Background())
			t.Error("a forged token was taken")
		} else {
			said = append(said, fmt.Sprintf("%+v", err))
		}
		p := f.rawWith(t, tokens["t2"])
		p.send(wire.AppendPassword(nil, []byte(tokens["t2"]))) // a token where no password is asked for
		said = append(said, everything(p))
		said = append(said, f.Log.String())
		for _, secret := range secrets {
			for _, text := range said {
				if at := strings.Index(text, secret); at >= 0 {
					t.Errorf("%q stands in %q", secret[:12], text[max(0, at-100):at+12])
				}
			}
		}
		f.serverLogHas(t, secrets, classified)
	})
}

// serverLogHas fails when a secret stands in PostgreSQL's log. The claim that a client has asked to be cast to a number stands
// in the error that he made himself, and nowhere else.
func (f *tenants) serverLogHas(t *testing.T, secrets []string, classified string) {
	t.Helper()
	log, err := f.cluster.Log()
	if err != nil {
		t.Fatal(err)
	}
	text := string(log)
	if f.dialect == sql && !strings.Contains(text, "fastpath function call: \"set_config\"") || f.dialect == native && !strings.Contains(text, "fastpath function call: \"switch\"") {
		t.Error("the server's log does not show the hand-overs: the test has shown less than it says")
	}
	for line := range strings.Lines(text) {
		for _, secret := range secrets {
			if strings.Contains(line, secret) && !(strings.Contains(secret, classified) && strings.Contains(line, "invalid input syntax for type integer")) {
				t.Errorf("the server's log has %q: %s", secret[:12], line)
			}
		}
	}
}
