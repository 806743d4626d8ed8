package auth_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// TestPsql lets a real libpq log in with every method through the whole proxy, over TLS and not.
func TestPsql(t *testing.T) {
	inst := pgtest.Newest(t)
	c := pgtest.Start(t, inst)
	role, password := c.NewRole(t)
	c.Exec(t, "postgres", "create role bert login; create role cara login; grant bert, cara to "+role)
	users, err := auth.ParseUserlist([]byte(`"anna" "correct"` + "\n" + `"bert" "` + verifier(t, c, "bert") + `"` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	issuer := pgtest.NewIssuer(t, "https://issuer.example")
	jwt := pgtest.JWTRule(t, role, issuer)
	jwt.Users = []string{"token"}
	jwt.TLS = auth.TLSDefault
	p := pgtest.StartProxy(t, pgtest.ProxyOptions{Cluster: c, Role: role, Password: password, Rules: []auth.Rule{
		jwt,
		{Name: "md5", Users: []string{"anna"}, TLS: auth.TLSOff, Method: claimpool.MethodMD5, Userlist: users},
		{Name: "scram", Users: []string{"anna", "bert", "eve"}, Method: claimpool.MethodSCRAM, Userlist: users},
		{Name: "local", Users: []string{"cara"}, Method: claimpool.MethodTrust},
	}})
	root := pgtest.WriteFile(t, t.TempDir(), "root.crt", p.CA.PEM)
	token := issuer.Mint("token", nil)
	const failed = `password authentication failed for user "%s"`
	for _, test := range []struct {
		name, user, password, options, want string // want: part of the error, or "" for success
	}{
		{"token over TLS", "token", token, "sslmode=verify-full", ""},
		{"long token over TLS", "token", issuer.Mint("token", map[string]any{"groups": strings.Repeat("x", 20_000)}), "sslmode=verify-full", ""},
		{"token without TLS", "token", token, "sslmode=disable", "TLS required"},
		{"expired token", "token", issuer.Mint("token", map[string]any{"exp": 1}), "sslmode=require", fmt.Sprintf(failed, "token")},
		{"md5", "anna", "correct", "sslmode=disable", ""},
		{"md5, wrong password", "anna", "wrong", "sslmode=disable", fmt.Sprintf(failed, "anna")},
		{"scram", "bert", "correct", "sslmode=disable", ""},
		{"channel binding without TLS", "bert", "correct", "sslmode=disable channel_binding=require", "channel binding"},
		{"scram over TLS without channel binding", "bert", "correct", "sslmode=require channel_binding=disable", ""},
		{"scram with channel binding", "bert", "correct", "sslmode=verify-full channel_binding=require", ""},
		{"scram with channel binding, plain text stored", "anna", "correct", "sslmode=verify-full channel_binding=require", ""},
		{"scram, wrong password", "bert", "wrong", "sslmode=require", fmt.Sprintf(failed, "bert")},
		{"scram, unknown user", "eve", "correct", "sslmode=require", fmt.Sprintf(failed, "eve")},
		{"trust", "cara", "", "sslmode=disable", ""},
		{"no rule", "dave", "", "sslmode=require", `no rule for host "127.0.0.1", user "dave", database "postgres", SSL encryption`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := fmt.Sprintf("host=localhost hostaddr=127.0.0.1 port=%d dbname=postgres user=%s sslrootcert=%s %s", p.Port, test.user, root, test.options)
			out, err := psql(t.Context(), inst, dsn, test.password)
			switch {
			case test.want == "" && (err != nil || out != "1"):
				t.Errorf("got %q, %v", out, err)
			case test.want != "" && (err == nil || !strings.Contains(out, test.want)):
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
	log := p.Log.String()
	for _, text := range []string{"method=md5", "method=scram-sha-256", "method=jwt", "method=trust", "expired"} {
		if !strings.Contains(log, text) {
			t.Errorf("the log does not show %q", text)
		}
	}
	for part := range strings.SplitSeq(token, ".") {
		if strings.Contains(log, part) {
			t.Error("the log shows a part of a token")
		}
	}
}

// verifier makes PostgreSQL itself write the verifier of the password "correct".
func verifier(t *testing.T, c *pgtest.Cluster, role string) (v string) {
	t.Helper()
	c.Exec(t, "postgres", "alter role "+role+" password 'correct'")
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	if err := conn.QueryRow(t.Context(), "select rolpassword from pg_authid where rolname = $1", role).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// psql runs "select 1" with the psql of the installation, or of the system, and gives what it printed.
func psql(ctx context.Context, inst cluster.Installation, dsn, password string) (string, error) {
	program := filepath.Join(inst.BinDir, "psql")
	if _, err := os.Stat(program); err != nil {
		program = "psql"
	}
	cmd := exec.CommandContext(ctx, program, "-XAtw", "-c", "select 1", dsn)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
