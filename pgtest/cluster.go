package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/trusted"
)

// Cluster is a running cluster with the shortcuts that tests want.
type Cluster struct {
	*cluster.Cluster

	mu     sync.Mutex
	models map[string]string // databases to copy, by what is in them; guarded by mu
}

// Connect logs in over TCP; an empty password is the superuser's own. The connection is closed when the test ends.
func (c *Cluster) Connect(t testing.TB, database, user, password string) *pgx.Conn {
	t.Helper()
	return Connect(t, c.DSN(database, user, password))
}

// Connect logs in with a connection string. The connection is closed when the test ends.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs a script as the superuser.
func (c *Cluster) Exec(t testing.TB, database, script string) {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), c.DSN(database, cluster.Superuser, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), script).ReadAll(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// InstallSQL puts the SQL dialect into a database and gives its key.
func (c *Cluster) InstallSQL(t testing.TB, name string) *trusted.SQLKey {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), c.DSN(name, cluster.Superuser, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background()) // the database may be a model
	plan, err := database.PlanInstall(t.Context(), admin, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := plan.Run(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	sqlKey, err := trusted.ParseSQLKey(key.File())
	if err != nil {
		t.Fatal(err)
	}
	return sqlKey
}

// NewDatabase makes an empty database and gives its name. It is dropped when the test ends.
func (c *Cluster) NewDatabase(t testing.TB) string {
	t.Helper()
	return c.newDatabase(t, "template1")
}

// NewDatabaseLike makes a database that is a copy of a model, which fill has put things into: once for each word what, for
// installing a dialect takes longer than copying it. It is dropped when the test ends.
func (c *Cluster) NewDatabaseLike(t testing.TB, what string, fill func(model string)) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock() // nobody may be connected to a model that is copied
	if c.models[what] == "" {
		model := unique("model_")
		c.Exec(t, "postgres", "create database "+model)
		fill(model)
		if c.models == nil {
			c.models = map[string]string{}
		}
		c.models[what] = model
	}
	return c.newDatabase(t, c.models[what])
}

func (c *Cluster) newDatabase(t testing.TB, model string) string {
	t.Helper()
	name := unique("db_")
	c.Exec(t, "postgres", "create database "+name+" template "+model)
	t.Cleanup(func() { c.Exec(t, "postgres", "drop database "+name+" with (force)") })
	return name
}

// NewRole makes an ordinary login role and gives its name and password. It owns nothing; it is left behind, because what a
// test grants it may be anywhere, and the cluster ends soon.
func (c *Cluster) NewRole(t testing.TB) (name, password string) {
	t.Helper()
	name, password = unique("role_"), unique("")
	c.Exec(t, "postgres", "create role "+name+" login password '"+password+"'")
	return name, password
}

// LogHas reports which of the given texts appear in the server's log: secrets must not.
func (c *Cluster) LogHas(t testing.TB, texts ...string) []string {
	t.Helper()
	log, err := c.Log()
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, text := range texts {
		if strings.Contains(string(log), text) {
			there = append(there, text)
		}
	}
	return there
}

func unique(prefix string) string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}
