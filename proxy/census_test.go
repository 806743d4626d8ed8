package proxy_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
)

// fullAudit takes no fresh tokens while it is full.
type fullAudit struct{ full atomic.Bool }

func (a *fullAudit) Record(e *claimpool.Event) error {
	if e.Kind == claimpool.EventRenewal && a.full.Load() {
		return errors.New("full")
	}
	return nil
}

// TestClientLimitsFollowFreshTokens: a client that hands in a token with other claims is another identity from then on, also for
// limits.clients_per_identity; where that one is full it stays what it was.
func TestClientLimitsFollowFreshTokens(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	issuer, audit := pgtest.NewIssuer(t, "https://id.example.com"), &fullAudit{}
	p := pgtest.StartProxy(t, pgtest.ProxyOptions{
		Cluster: c, Role: role, Password: password, Rules: []auth.Rule{pgtest.JWTRule(t, role, issuer)}, Audit: audit,
		Limits: proxy.Limits{MaxClients: 100, MaxLogins: 10, LoginTimeout: patience, ClientsPerIdentity: 1},
	})
	as := func(team string) string { return issuer.Mint("ann", map[string]any{"team": team}) }
	login := func(team string) (*pgx.Conn, string) {
		c, err := pgx.Connect(t.Context(), p.DSN("postgres", "ann", as(team), "require"))
		if err == nil {
			t.Cleanup(func() { c.Close(context.Background()) })
		}
		return c, sqlState(err)
	}
	renew := func(c *pgx.Conn, team string) string {
		_, err := c.Exec(t.Context(), "SET jwt.context = '"+as(team)+"'")
		return sqlState(err)
	}
	full := func(when string, want map[string]string) {
		t.Helper()
		for team, want := range want {
			if c, got := login(team); got != want {
				t.Errorf("%s: a client of team %s: %q, want %q", when, team, got, want)
			} else if c != nil {
				c.Close(context.Background())
				soon(t, "it is gone", func() bool { return p.Clients() == 2 })
			}
		}
	}
	one, _ := login("one")
	two, _ := login("two")
	if got := renew(one, "two"); got != "53300" {
		t.Errorf("into a full one: %q", got)
	}
	full("refused", map[string]string{"one": "53300", "two": "53300", "three": "00000"})
	audit.full.Store(true)
	if got := renew(one, "three"); got != "57P03" {
		t.Errorf("unrecorded: %q", got)
	}
	audit.full.Store(false)
	full("unrecorded", map[string]string{"one": "53300", "two": "53300", "three": "00000"})
	if got := renew(one, "three"); got != "00000" {
		t.Errorf("into an empty one: %q", got)
	}
	full("moved", map[string]string{"one": "00000", "two": "53300", "three": "53300"})
	if got := renew(two, "two"); got != "00000" {
		t.Errorf("into its own: %q", got)
	}
	one.Close(context.Background())
	two.Close(context.Background())
	soon(t, "all have left", func() bool { return p.Clients() == 0 })
	for _, team := range []string{"one", "two", "three"} {
		if _, got := login(team); got != "00000" {
			t.Errorf("when all have left: team %s: %q", team, got)
		}
	}
}
