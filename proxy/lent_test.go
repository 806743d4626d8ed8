package proxy_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
)

// lending is a proxy before a server that asks for cleartext passwords, as it does with PAM, and takes the token "sbp_good" for one.
func lending(t *testing.T, handOn bool, password string) (c *pgtest.Cluster, p *pgtest.Proxy, role string) {
	t.Helper()
	c = pgtest.Start(t, pgtest.Newest(t), pgtest.WithHBA("local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nlocal all all password\n"))
	role, _ = c.NewRole(t)
	c.Exec(t, "postgres", "alter role "+role+" password 'sbp_good'")
	ask := func(_ context.Context, token claimpool.Secret, _, _ string) (*auth.Grant, bool, error) {
		if !strings.HasPrefix(string(token), "sbp_") {
			return nil, true, errors.New("wrong")
		}
		return &auth.Grant{Issuer: "api", Subject: string(token), Expires: time.Now().Add(time.Hour)}, false, nil
	}
	o := pgtest.ProxyOptions{
		Role: role,
		Server: &server.Config{ // a cleartext password goes over the socket
			Hosts: []string{c.SocketDir() + ":" + strconv.Itoa(c.Port)}, Database: "postgres",
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil },
		},
		Rules: []auth.Rule{{Name: "jit", Method: claimpool.MethodJIT}},
		JIT:   map[string]*auth.JIT{"postgres": {Ask: ask, HandOn: handOn}},
	}
	return c, pgtest.StartProxy(t, o), role
}

func jitLogin(t *testing.T, p *pgtest.Proxy, token string) (*pgx.Conn, error) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), p.DSN("postgres", "someone", token, "require"))
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
		_, err = c.Exec(t.Context(), "select 1")
	}
	return c, err
}

// A server that judges tokens itself gets the client's, and only while the client is there; without the setting it gets the
// configured password.
func TestTokensAreHandedOn(t *testing.T) {
	c, p, role := lending(t, true, "not the password")
	first, err := jitLogin(t, p, "sbp_good")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jitLogin(t, p, "sbp_other"); err != nil {
		t.Errorf("a server connection that is open serves others, too: %v", err)
	}
	closeAll := "select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + role + "'"
	c.Exec(t, "postgres", closeAll)
	soon(t, "a new server by the token that the server takes", func() bool {
		_, err := first.Exec(t.Context(), "select 1")
		return err == nil
	})
	first.Close(t.Context())
	c.Exec(t, "postgres", closeAll)
	soon(t, "no server without the token", func() bool {
		_, err := jitLogin(t, p, "sbp_other")
		return err != nil && strings.Contains(err.Error(), "28P01")
	})
	if strings.Contains(p.Log.String(), "not the password") {
		t.Error("the log shows the password")
	}
}

// TestAttackTokenAsServerPassword: the attacker logs in with a token of his choice, to make it the password with which the pool
// opens its server connections (as in Supavisor): the pool could not grow any more once it ends, or would be his.
//
// Must: The pool uses its own password; a token is used only where the setting says so, and only for a cleartext question.
// Dialects: none
func TestAttackTokenAsServerPassword(t *testing.T) {
	_, p, _ := lending(t, false, "sbp_good")
	for range 3 {
		if _, err := jitLogin(t, p, "sbp_attacker"); err != nil {
			t.Fatal(err)
		}
	}
	_, p, _ = lending(t, false, "not the password")
	if _, err := jitLogin(t, p, "sbp_good"); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("the token was handed on: %v", err)
	}
}
