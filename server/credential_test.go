package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/credential"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
)

// TestLoginWithAPasswordThatVaultChanges: the password is changed in PostgreSQL and in Vault while connections are opened; then the
// role is another one for each lease.
func TestLoginWithAPasswordThatVaultChanges(t *testing.T) {
	c := pgtest.Start(t, pgtest.Newest(t))
	role, first := c.NewRole(t)
	var answer atomic.Value
	var asked atomic.Int64
	answer.Store(`{"data":{"password":"` + first + `"}}`)
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, answer.Load())
	}))
	defer vault.Close()
	t.Setenv("VAULT_TOKEN", "hvs.x")
	source, err := credential.Vault{Address: vault.URL, Path: "secret/db", Field: "password", TokenEnv: "VAULT_TOKEN"}.Source()
	if err != nil {
		t.Fatal(err)
	}
	cache := credential.NewCache(source, nil)
	cfg := config(c, role)
	cfg.Login = func(ctx context.Context, _ string) (string, claimpool.Secret, error) {
		got, err := cache.Get(ctx)
		return got.User, got.Password, err
	}
	cfg.Refused = func() bool { cache.Forget(); return true } // as if a second had passed
	open := func(want string, questions int64) {
		t.Helper()
		before := asked.Load()
		conn, err := server.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := query(t, conn, "select session_user"); got != want {
			t.Errorf("logged in as %s", got)
		}
		if n := asked.Load() - before; n != questions {
			t.Errorf("asked %d times", n)
		}
	}
	open(role, 1)
	open(role, 0)
	c.Exec(t, "postgres", "alter role "+role+" password 'the second'")
	answer.Store(`{"data":{"password":"the second"}}`)
	open(role, 1)

	// Vault has not heard of the next change: one more question, and the server's own refusal.
	c.Exec(t, "postgres", "alter role "+role+" password 'the third'")
	before := asked.Load()
	_, err = server.Open(t.Context(), cfg)
	var e *claimpool.Error
	if !errors.As(err, &e) || e.Code != claimpool.CodeInvalidPassword || asked.Load()-before != 1 || strings.Contains(err.Error(), "the second") {
		t.Errorf("%v, after %d questions", err, asked.Load()-before)
	}

	leased, password := c.NewRole(t)
	c.Exec(t, "postgres", "grant "+role+" to "+leased)
	answer.Store(`{"lease_id":"l","lease_duration":3600,"data":{"username":"` + leased + `","password":"` + password + `"}}`)
	source, err = credential.Vault{Address: vault.URL, Path: "database/creds/db", Field: "password", UserField: "username", TokenEnv: "VAULT_TOKEN"}.Source()
	if err != nil {
		t.Fatal(err)
	}
	cache = credential.NewCache(source, nil)
	open(leased, 1)

	vault.Close()
	cache.Forget()
	_, err = server.Open(t.Context(), cfg)
	if !errors.As(err, &e) || e.Code != claimpool.CodeCannotConnectNow || !strings.Contains(e.Message, "could not get the password") || strings.Contains(err.Error(), "hvs.x") {
		t.Errorf("without Vault: %v", err)
	}
}
