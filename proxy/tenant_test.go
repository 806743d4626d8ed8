package proxy_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
)

// A tenant is named behind the user, in options or by the host name of TLS, and means its database; the rest of the user name is the
// user, for the rules and for the server.
func TestTenants(t *testing.T) {
	c := pgtest.Shared(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	users, err := auth.ParseUserlist([]byte(`"anna" "correct"`))
	if err != nil {
		t.Fatal(err)
	}
	p := pgtest.StartProxy(t, pgtest.ProxyOptions{
		Cluster: c, Role: role, Password: password,
		Rules: []auth.Rule{{Name: "scram", Databases: []string{"postgres"}, Users: []string{"anna"}, Method: claimpool.MethodSCRAM, Userlist: users}},
		Tenants: proxy.Tenants{
			Databases: map[string]string{"abc": "postgres", "xyz": "elsewhere"}, User: true, Options: true, SNI: true,
		},
	})
	for name, test := range map[string]struct{ user, options, host, want string }{
		"behind the user":              {"anna.abc", "", "", ""},
		"in options":                   {"anna", "reference=abc", "", ""},
		"in options, among others":     {"anna", "-c work_mem=1MB reference=abc", "", ""},
		"by the host":                  {"anna", "", "ABC.db.example.com", ""},
		"everywhere":                   {"anna.abc", "reference=abc", "abc.db.example.com", ""},
		"two of them":                  {"anna.abc", "", "xyz.db.example.com", "several tenants are named"},
		"one and another":              {"anna.abc", "reference=xyz", "", "several tenants are named"},
		"another's database":           {"anna.xyz", "", "", `no rule for host "127.0.0.1", user "anna", database "elsewhere"`},
		"one that nobody knows":        {"anna.nobody", "", "", `no rule for host "127.0.0.1", user "anna.nobody", database "whatever"`},
		"nobody's, in options":         {"anna", "reference=nobody", "", `database "whatever"`},
		"nobody before the dot":        {".abc", "", "", `user ".abc"`},
		"in Supavisor's other way":     {"anna.cluster.abc", "", "", ""},
		"in both":                      {"anna.abc.cluster.xyz", "", "", "several tenants are named"},
		"nobody's, in the other way":   {"anna.cluster.nobody", "", "", `no rule for host "127.0.0.1", user "anna", database "whatever"`},
		"none, and no such a database": {"anna", "", "", `database "whatever"`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := pgx.ParseConfig(p.DSN("whatever", test.user, "correct", "require"))
			if err != nil {
				t.Fatal(err)
			}
			if cfg.TLSConfig.ServerName = "db.example.com"; test.host != "" {
				cfg.TLSConfig.ServerName = test.host
			}
			if test.options != "" {
				cfg.RuntimeParams["options"] = test.options
			}
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			var got string
			if err := conn.QueryRow(t.Context(), "select current_database() || ' ' || current_user").Scan(&got); err != nil || got != "postgres "+role {
				t.Errorf("%s %v", got, err)
			}
		})
	}
}
