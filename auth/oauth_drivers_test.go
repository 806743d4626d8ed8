package auth_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
)

// oauthProxy is a proxy whose clients log in by OAUTHBEARER, and the arguments to connect to it.
func oauthProxy(t *testing.T) (issuer *pgtest.Issuer, conninfo string) {
	t.Helper()
	c := pgtest.Start(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	issuer = pgtest.NewIssuer(t, "https://issuer.example")
	rule := pgtest.JWTRule(t, role, issuer)
	rule.Method, rule.OAuth = claimpool.MethodOAuth, auth.OAuth{Issuer: "https://issuer.example", Scope: "openid"}
	p := pgtest.StartProxy(t, pgtest.ProxyOptions{Cluster: c, Role: role, Password: password, Rules: []auth.Rule{rule}})
	host, port, _ := strings.Cut(p.Address(), ":")
	return issuer, "host=" + host + " port=" + port + " user=anna dbname=postgres sslmode=verify-full sslrootcert=" +
		pgtest.WriteFile(t, t.TempDir(), "root.crt", p.CA.PEM)
}

func TestOAuthWithPgx(t *testing.T) {
	issuer, conninfo := oauthProxy(t)
	connect := func(raw string) error {
		cfg, err := pgx.ParseConfig(conninfo)
		if err != nil {
			t.Fatal(err)
		}
		cfg.OAuthTokenProvider = func(context.Context) (string, error) { return raw, nil }
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err == nil {
			_, err = conn.Exec(t.Context(), "SELECT 1")
			conn.Close(t.Context())
		}
		return err
	}
	if err := connect(issuer.Mint("anna", nil)); err != nil {
		t.Error(err)
	}
	if err := connect(issuer.Mint("bert", nil)); err == nil || !strings.Contains(err.Error(), "OAuth") {
		t.Errorf("another user's token: %v", err)
	}
}

// libpq is the smallest client with a token of its own: it is asked by libpq's hook, on a second connection, after the first
// was told which issuer and scope.
const libpq = `
import ctypes, os, sys
from ctypes import c_char_p, c_int, c_void_p
pq = ctypes.CDLL(os.environ["LIBPQ"])
class Request(ctypes.Structure):
    _fields_ = [(n, t) for n, t in (("configuration", c_char_p), ("scope", c_char_p), ("async_", c_void_p),
                                    ("cleanup", c_void_p), ("token", c_char_p), ("user", c_void_p))]
Hook = ctypes.CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)
def hook(kind, conn, data):
    if kind != 1:
        return 0
    request = ctypes.cast(data, ctypes.POINTER(Request)).contents
    print("asked", request.configuration.decode(), request.scope.decode())
    request.token = os.environ["TOKEN"].encode()
    return 1
keep = Hook(hook)
pq.PQsetAuthDataHook(keep)
pq.PQconnectdb.restype = pq.PQexec.restype = c_void_p
pq.PQerrorMessage.restype = pq.PQgetvalue.restype = c_char_p
conn = c_void_p(pq.PQconnectdb(sys.argv[1].encode()))
if pq.PQstatus(conn) != 0:
    sys.exit(pq.PQerrorMessage(conn).decode())
result = c_void_p(pq.PQexec(conn, b"SELECT 'one'"))
print("got", pq.PQgetvalue(result, 0, 0).decode())
`

func TestOAuthWithLibpq(t *testing.T) {
	issuer, conninfo := oauthProxy(t)
	found, err := filepath.Glob("../.cache/postgresql/18/lib/libpq.so.5.*")
	if err != nil || len(found) == 0 {
		t.Fatal("there is no libpq of PostgreSQL 18: sh scripts/setup.sh test")
	}
	run := func(raw string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "python3", "-c", libpq, conninfo+" oauth_issuer=https://issuer.example oauth_client_id=db require_auth=oauth")
		library, _ := filepath.Abs(found[0])
		cmd.Env = append(os.Environ(), "LIBPQ="+library, "TOKEN="+raw)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const asked = "asked https://issuer.example/.well-known/openid-configuration openid\n"
	if out, err := run(issuer.Mint("anna", nil)); err != nil || out != asked+"got one\n" {
		t.Errorf("%v: %s", err, out)
	}
	out, err := run(issuer.Mint("bert", nil))
	if err == nil || !strings.Contains(out, `OAuth bearer authentication failed for user "anna"`) {
		t.Errorf("another user's token: %v: %s", err, out)
	}
}
