package pgtest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
)

func TestClusterOfEachVersion(t *testing.T) {
	EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := Shared(t, inst)
		db := c.NewDatabase(t)
		role, password := c.NewRole(t)
		conn := c.Connect(t, db, role, password)
		var version int
		if err := conn.QueryRow(t.Context(), "select current_setting('server_version_num')::int / 10000").Scan(&version); err != nil {
			t.Fatal(err)
		}
		if version != inst.Major {
			t.Errorf("got version %d", version)
		}
	})
}

func TestClusterWithTLS(t *testing.T) {
	ca := NewCA(t)
	c := Start(t, Newest(t), WithTLS(t, ca), WithHBA("hostssl all all 127.0.0.1/32 cert\n"), WithSetting("log_connections", "on"))
	cfg, err := pgx.ParseConfig(c.DSN("postgres", cluster.Superuser, ""))
	if err != nil {
		t.Fatal(err)
	}
	client := ca.Client(t, cluster.Superuser)
	cfg.TLSConfig = client.Config(ca, "localhost")
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
}

func TestVersionsAreChosen(t *testing.T) {
	inst := func(major int, dir string) cluster.Installation {
		return cluster.Installation{Major: major, BinDir: dir}
	}
	cached := filepath.Join("/somewhere", "postgresql", "18", "bin")
	both := []cluster.Installation{inst(18, cached), inst(15, "/usr/lib/postgresql/15/bin")}
	for _, test := range []struct {
		name    string
		found   []cluster.Installation
		want    string
		majors  []int
		missing string
	}{
		{"system and newest", both, "", []int{15, 18}, ""},
		{"system alone", both[1:], "", []int{15}, "of a second version"},
		{"cache alone", both[:1], "", []int{18}, "of a second version"},
		{"none", nil, "", nil, "of a second version"},
		{"named", both, "18, 15", []int{15, 18}, ""},
		{"named and missing", both, "14,15", []int{15}, "14"},
		{"all", both, "all", []int{15, 18}, "14 16 17"},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, missing := choose(test.found, test.want, "/somewhere/postgresql")
			var majors []int
			for _, i := range list {
				majors = append(majors, i.Major)
			}
			if len(majors) != len(test.majors) || missing != test.missing {
				t.Fatalf("got %v, missing %q", majors, missing)
			}
			for i := range majors {
				if majors[i] != test.majors[i] {
					t.Fatalf("got %v", majors)
				}
			}
		})
	}
}
