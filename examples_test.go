package claimpool_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

// exampleOutput is what every example must print, by tenant.
var exampleOutput = map[string]string{
	"acme":   "tenant acme\n1 Coyote 99.50 paid\n2 Runner 120.00 open\n",
	"globex": "tenant globex\n3 Scorpio 7500.00 open\n4 Simpson 18.75 paid\n",
}

// TestExamples runs every examples/NAME/run.sh with its real driver: two tenants at once, over one server connection, so
// that whatever a driver keeps on "its" connection breaks here.
func TestExamples(t *testing.T) {
	p, issuer := startShop(t)
	ca := pgtest.WriteFile(t, t.TempDir(), "ca.crt", p.CA.PEM)
	scripts, err := filepath.Glob("examples/*/run.sh")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("found %d examples (%v)", len(scripts), err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(filepath.Dir(script)), func(t *testing.T) {
			if out, err := exec.CommandContext(t.Context(), "sh", "scripts/setup-drivers.sh", "all").CombinedOutput(); err != nil {
				t.Fatalf("scripts/setup-drivers.sh: %v\n%s", err, out)
			}
			var wg sync.WaitGroup
			for tenant, want := range exampleOutput {
				token := issuer.Mint("someone at "+tenant, map[string]any{"tenant_id": tenant})
				wg.Go(func() {
					got, err := runExample(t.Context(), script, append(os.Environ(),
						"PGHOST=localhost", fmt.Sprintf("PGPORT=%d", p.Port), "PGDATABASE=shop", "PGUSER=app_user", "PGPASSWORD="+token,
						"PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca))
					if err != nil || got != want {
						t.Errorf("tenant %s: got %q, want %q (%v)", tenant, got, want, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestAttackExamplesGiveNoTokenToAStranger: the attacker answers in place of the proxy, with a certificate that another
// authority has signed.
//
// Must: No example may send him its token.
func TestAttackExamplesGiveNoTokenToAStranger(t *testing.T) {
	p, issuer := startShop(t)
	ca := pgtest.WriteFile(t, t.TempDir(), "ca.crt", pgtest.NewCA(t).PEM)
	scripts, _ := filepath.Glob("examples/*/run.sh")
	for _, script := range scripts {
		t.Run(filepath.Base(filepath.Dir(script)), func(t *testing.T) {
			got, err := runExample(t.Context(), script, append(os.Environ(),
				"PGHOST=localhost", fmt.Sprintf("PGPORT=%d", p.Port), "PGDATABASE=shop", "PGUSER=app_user",
				"PGPASSWORD="+issuer.Mint("ada", map[string]any{"tenant_id": "acme"}), "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca))
			if err == nil || got != "" || !strings.Contains(strings.ToLower(err.Error()), "certificat") {
				t.Errorf("got %q (%v)", got, err)
			}
		})
	}
	if strings.Contains(p.Log.String(), "connection authenticated") {
		t.Error("somebody has logged in")
	}
}

// runExample runs a script and gives its standard output; what it says on standard error is part of the error.
func runExample(ctx context.Context, script string, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, env
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), err
}

// startShop runs a proxy with TLS, tokens and the SQL dialect in front of the examples' database.
func startShop(t *testing.T) (*pgtest.Proxy, *pgtest.Issuer) {
	t.Helper()
	c := pgtest.Start(t, pgtest.Newest(t))
	c.Exec(t, "postgres", "CREATE ROLE app_user LOGIN PASSWORD 'of the pool'")
	c.Exec(t, "postgres", "CREATE DATABASE shop")
	sqlKey := c.InstallSQL(t, "shop")
	schema, err := os.ReadFile("examples/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	c.Exec(t, "shop", string(schema)+"GRANT SELECT, INSERT, UPDATE, DELETE ON invoice TO app_user")
	issuer := pgtest.NewIssuer(t, "https://id.example.com")
	pool := pgtest.DefaultPool()
	pool.Size = 1
	return pgtest.StartProxy(t, pgtest.ProxyOptions{
		Cluster: c, Database: "shop", Role: "app_user", Password: "of the pool", Pool: pool,
		Dialect: &trusted.SQL{Key: sqlKey, Window: 3 * time.Second},
		Rules:   []auth.Rule{pgtest.JWTRule(t, "app_user", issuer)},
	}), issuer
}
