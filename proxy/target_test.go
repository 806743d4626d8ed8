package proxy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/server"
)

// choice is a database with another way to its servers.
func choice(db *proxy.Database, way *server.Config) *proxy.Database {
	own := *db
	own.Targets = nil
	own.Server = func(role string) (*server.Config, error) {
		way := *way
		way.Role = role
		return &way, nil
	}
	return &own
}

// scramRule lets users in by the password "correct".
func scramRule(t *testing.T, databases []string, users ...string) auth.Rule {
	t.Helper()
	var lines strings.Builder
	for _, user := range users {
		lines.WriteString(`"` + user + `" "correct"` + "\n")
	}
	list, err := auth.ParseUserlist([]byte(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	return auth.Rule{
		Name: "scram of " + users[0], Databases: databases, Users: users, TLS: auth.TLSAny, Method: claimpool.MethodSCRAM, Userlist: list,
	}
}

// TestTargets: the user name chooses among a database's servers, here a primary and its standby. Who the client is does not change, and
// each choice has its own pool.
func TestTargets(t *testing.T) {
	t.Parallel()
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		t.Parallel()
		two := startTwo(t, inst)
		o := pgtest.ProxyOptions{
			Role: two.role, Pool: pgtest.DefaultPool(), Server: two.way(server.Policy{Attrs: server.AttrsPrimary}),
			Rules: []auth.Rule{scramRule(t, nil, "anna")},
		}
		o.Pool.Size = 1
		p := pgtest.StartProxy(t, o)
		cfg := o.Config(t)
		db := cfg.Databases["postgres"]
		db.Targets = map[string]*proxy.Database{
			"reads": choice(db, two.way(server.Policy{Attrs: server.AttrsStandby})),
			"any":   choice(db, two.way(server.Policy{Attrs: server.AttrsAny})),
		}
		p.Reload(cfg)
		login := func(user, password string) (*pgx.Conn, error) {
			c, err := pgx.Connect(t.Context(), p.DSN("postgres", user, password, "disable"))
			if err == nil {
				t.Cleanup(func() { c.Close(t.Context()) })
			}
			return c, err
		}
		clients := map[string]*pgx.Conn{}
		for _, user := range []string{"anna", "anna.cluster.reads", "anna.cluster.any"} {
			c, err := login(user, "correct")
			if err != nil {
				t.Fatalf("%s: %v", user, err)
			}
			if _, err := c.Exec(t.Context(), "BEGIN"); err != nil { // all at once, where each pool has one connection
				t.Fatalf("%s: %v", user, err)
			}
			clients[user] = c
		}
		for user, want := range map[string]string{"anna": "false", "anna.cluster.reads": "true", "anna.cluster.any": "false"} {
			if got := value(t, clients[user], "SELECT pg_is_in_recovery() || ' ' || current_user"); got != want+" "+two.role {
				t.Errorf("%s: %s", user, got)
			}
		}
		if _, err := clients["anna.cluster.reads"].Exec(t.Context(), "INSERT INTO story VALUES (1)"); sqlState(err) != "25006" {
			t.Errorf("a write at the standby: %v", err)
		}
		states, err := p.Pools(t.Context())
		if err != nil || len(states) != 3 || states[0].Target != "" || states[1].Target != "any" || states[2].Target != "reads" {
			t.Errorf("pools %v %v", states, err)
		}

		_, err = login("anna.cluster.writes", "correct")
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "3D000" || e.Message != `database "postgres" has no target "writes"` ||
			e.Hint != `Behind ".cluster." in the user name stands one of: any, reads.` {
			t.Errorf("a target that is not there: %v", err)
		}

		next, nextDB := *cfg, *db // logins look at the old one
		nextDB.Targets = map[string]*proxy.Database{"any": db.Targets["any"]}
		next.Databases = map[string]*proxy.Database{"postgres": &nextDB}
		p.Reload(&next)
		if _, err := clients["anna"].Exec(t.Context(), "COMMIT"); err != nil {
			t.Errorf("another target's end: %v", err)
		}
		soon(t, "the target's clients are told to go", func() bool {
			_, err := clients["anna.cluster.reads"].Exec(t.Context(), "ROLLBACK")
			return err != nil
		})
		if _, err := login("anna.cluster.reads", "correct"); sqlState(err) != "3D000" {
			t.Errorf("a target that is gone: %v", err)
		}
	})
}

// TestAttackClusterSuffix: the attacker may log in as anna, by password or by a token, to one database. By what he writes into his user name he tries
// to become another user, to reach another database's servers, and to learn what there is.
//
// Must: He is anna, in her own database, or he is refused: before he has proved who he is with one text, whether a target is
// there or not.
// Dialects: none
func TestAttackClusterSuffix(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	issuer := pgtest.NewIssuer(t, "https://id.example.com")
	token := issuer.Mint(role, nil)
	jwt := pgtest.JWTRule(t, "", issuer)
	jwt.Users, jwt.Databases = []string{role, "boss"}, []string{"postgres"}
	o := pgtest.ProxyOptions{
		Cluster: c, Password: password,
		Rules: []auth.Rule{jwt, scramRule(t, []string{"postgres"}, "anna"), scramRule(t, []string{"vault"}, "boss")},
	}
	p := pgtest.StartProxy(t, o)
	cfg := o.Config(t)
	way := func(db, mark string) *server.Config {
		w, err := cfg.Databases["postgres"].Server(role)
		if err != nil {
			t.Fatal(err)
		}
		own := *w
		own.Database = db
		own.Role = mark
		return &own
	}
	db := cfg.Databases["postgres"]
	db.Targets = map[string]*proxy.Database{"reads": choice(db, way("postgres", role))}
	vault := choice(db, way("template1", role))
	vault.Name, vault.Role, vault.Targets = "vault", role, map[string]*proxy.Database{"gold": choice(vault, way("template1", role))}
	cfg.Databases["vault"] = vault
	p.Reload(cfg)
	const failed = "28P01"
	for _, test := range []struct{ what, database, user, password, want string }{
		{"he may", "postgres", role + ".cluster.reads", token, "postgres " + role},
		{"another user in front", "postgres", "boss.cluster.reads", token, failed},
		{"another user behind", "postgres", role + ".cluster.boss", token, "3D000"},
		{"another database's target", "postgres", role + ".cluster.gold", token, "3D000"},
		{"another database", "vault", role + ".cluster.gold", token, "28000"},
		{"the other user, by his own password", "vault", "boss.cluster.gold", "wrong", failed},
		{"a target, without proof", "postgres", "anna.cluster.reads", "wrong", failed},
		{"no target, without proof", "postgres", "anna.cluster.nothing", "wrong", failed},
		{"twice", "postgres", role + ".cluster.reads.cluster.gold", token, "3D000"},
		{"nobody", "postgres", ".cluster.reads", token, "28000"},
		{"no name", "postgres", role + ".cluster.", token, "28000"},
		{"a role as the target", "postgres", role + ".cluster.reads/boss", token, "3D000"},
		{"in capitals", "postgres", role + ".CLUSTER.reads", token, "28000"},
		{"through the database", "postgres.cluster.reads", role, token, "28000"},
	} {
		conn, err := pgx.Connect(t.Context(), p.DSN(test.database, test.user, test.password, "require"))
		got := sqlState(err)
		if err == nil {
			got = value(t, conn, "SELECT current_database() || ' ' || current_user")
			conn.Close(t.Context())
		}
		if got != test.want {
			t.Errorf("%s: %s (%v), want %s", test.what, got, err, test.want)
		}
		if test.want == failed {
			user, _, _ := strings.Cut(test.user, ".")
			if want := `password authentication failed for user "` + user + `"`; !strings.Contains(err.Error(), want) {
				t.Errorf("%s: told %v", test.what, err)
			}
		}
	}
}
