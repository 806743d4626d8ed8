package proxy_test

import (
	"strings"
	"testing"
)

// TestAttackChangeThePassword: the attacker changes the password of the role that all share (ALTER ROLE CURRENT_USER PASSWORD), so
// that the proxy cannot log in any more, and he can, past it.
//
// Must: Server connections that are open go on serving. When a new one is needed, the proxy's log says so as an error, with
// SQLSTATE 28P01, and no client gets in without one; the attacker's own login has no context. With the extension's sandbox he is
// refused (42501).
// Dialects: sql, native
// Not pgbouncer: what it says in its log is its own affair
func TestAttackChangeThePassword(t *testing.T) {
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		admin := f.admin(t)
		newServers := func() {
			t.Helper()
			none := 0 // times in a row: one may be on its way to be opened
			soon(t, "for the server connections to end", func() bool {
				run(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+f.role+"'")
				if none++; len(f.servers(t, admin)) > 0 {
					none = 0
				}
				return none == 10
			})
		}
		a, b := f.connect(t, "t1"), f.connect(t, "t2")
		const change = "ALTER ROLE CURRENT_USER PASSWORD 'known to the attacker'"
		if f.dialect == native {
			run(t, admin, "ALTER ROLE "+f.role+" SET claimpool.sandbox = on")
			newServers()
			mustBe(t, b, "t2")
			if c := code(t, a, change); c != "42501" {
				t.Errorf("in the sandbox: %s", c)
			}
			run(t, admin, "ALTER ROLE "+f.role+" RESET claimpool.sandbox")
			newServers()
		}
		mustBe(t, b, "t2")
		if c := code(t, a, change); c != "00000" {
			t.Fatalf("the password: %s", c)
		}
		mustBe(t, a, "t1")
		mustBe(t, b, "t2")

		alarm := func() bool {
			for line := range strings.Lines(f.Log.String()) {
				if strings.Contains(line, `level=ERROR msg="could not open a server connection"`) && strings.Contains(line, "sqlstate=28P01") {
					return true
				}
			}
			return false
		}
		if alarm() {
			t.Error("the alarm came before its time")
		}
		newServers()
		if c := code(t, b, whoami); c != "28P01" {
			t.Errorf("without a server connection: %s", c)
		}
		soon(t, "for the alarm", alarm)
		direct := f.cluster.Connect(t, f.database, f.role, "known to the attacker")
		if got, err := fetch(t.Context(), direct, whoami); err == nil && deref(got) != "nobody 0" || err != nil && sqlState(err) != "28000" {
			t.Errorf("past the proxy the attacker sees %q, %v", deref(got), err)
		}
		run(t, admin, "ALTER ROLE "+f.role+" PASSWORD '"+f.password+"'")
		soon(t, "for the proxy to serve again", func() bool {
			c, err := f.dial(t.Context(), f.role, f.issuer.Mint("user-of-t3", map[string]any{"tenant_id": "t3"}))
			if err != nil {
				return false
			}
			defer c.Close(t.Context())
			got, err := fetch(t.Context(), c, whoami)
			return err == nil && deref(got) == own("t3")
		})
	})
}
