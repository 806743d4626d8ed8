package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"claimpool": main})
}

// TestScripts runs the command lines of testdata/*.txtar in folders of their own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true})
}

// TestDatabaseScripts runs those of testdata/db/*.txtar on every version of PostgreSQL; $DSN is an empty database.
func TestDatabaseScripts(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst)
		c.Exec(t, "postgres", "REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as status asks for; the default from 15 on
		testscript.Run(t, testscript.Params{Dir: "testdata/db", RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
			env.Setenv("DSN", c.DSN("postgres", cluster.Superuser, ""))
			return nil
		}})
	})
}

func TestStatusOfAnUnknownErrorIsFailure(t *testing.T) {
	if got := statusOf(os.ErrClosed); got != statusFailure {
		t.Errorf("got %d", got)
	}
}
