package database_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/pgtest"
)

// TestPackLookup: what it may read comes and goes with it, and only a superuser can give that.
func TestPackLookup(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		conn := c.Connect(t, "postgres", cluster.Superuser, "")
		run(t, conn)(database.PlanInstall(t.Context(), conn, database.Options{}))
		c.Exec(t, "postgres", "CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'; GRANT CREATE ON DATABASE postgres TO owner; GRANT claimpool_owner TO owner")
		with := database.Options{With: []string{"lookup"}}
		if _, err := database.PlanInstall(t.Context(), c.Connect(t, "postgres", "owner", "owner"), with); err == nil || !strings.Contains(err.Error(), "only a superuser") {
			t.Errorf("an ordinary role: %v", err)
		}
		run(t, conn)(database.PlanInstall(t.Context(), conn, with))
		if s := status(t, conn); len(s.Packs) != 1 || s.Packs[0] != "lookup" {
			t.Errorf("packs %q", s.Packs)
		}
		const reads = "SELECT has_column_privilege('claimpool_owner', 'pg_catalog.pg_authid', 'rolpassword', 'SELECT')::int"
		var n int
		if err := conn.QueryRow(t.Context(), reads).Scan(&n); err != nil || n != 1 {
			t.Errorf("claimpool_owner reads passwords: %d, %v", n, err)
		}
		run(t, conn)(database.PlanRemove(t.Context(), conn))
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = 'claimpool_owner' OR oid IN (SELECT grantee FROM pg_attribute, aclexplode(attacl) WHERE attrelid = 'pg_authid'::regclass)").Scan(&n); err != nil || n != 0 {
			t.Errorf("%d roles are left, %v", n, err)
		}
	})
}
