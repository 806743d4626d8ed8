package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

// maxPromotion is how long a standby may take to become a primary.
const maxPromotion = 60 * time.Second

// StartStandby runs a streaming standby of a primary, for one test. It has the primary's roles, databases and superuser password.
// The primary is stopped for a moment and its folder copied: not every installation has pg_basebackup.
func StartStandby(t testing.TB, primary *Cluster, options ...Option) *Cluster {
	t.Helper()
	if err := primary.Shutdown(); err != nil {
		t.Fatal(err)
	}
	way := fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s sslmode=disable", primary.Port, cluster.Superuser, primary.Password)
	standby := Start(t, primary.Installation, append([]Option{
		WithCopy(primary), WithFile("standby.signal", nil), WithSetting("primary_conninfo", way),
		WithSetting("wal_retrieve_retry_interval", "100ms"),
	}, options...)...)
	if err := primary.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return standby
}

// Promote makes a standby a primary, and waits until it is one.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.Exec(t, "postgres", fmt.Sprintf("SELECT pg_promote(true, %d)", int(maxPromotion.Seconds())))
	conn := c.Connect(t, "postgres", cluster.Superuser, "")
	var standby bool
	if err := conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&standby); err != nil || standby {
		t.Fatalf("the standby was not promoted: in recovery %v, %v", standby, err)
	}
}

// Caught waits until a standby has replayed what its primary has written until now.
func (c *Cluster) Caught(t testing.TB, primary *Cluster) {
	t.Helper()
	from, to := primary.Connect(t, "postgres", cluster.Superuser, ""), c.Connect(t, "postgres", cluster.Superuser, "")
	var lsn string
	if err := from.QueryRow(t.Context(), "SELECT pg_current_wal_lsn()::text").Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(maxPromotion); ; time.Sleep(10 * time.Millisecond) {
		var done bool
		if err := to.QueryRow(t.Context(), "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", lsn).Scan(&done); err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the standby does not catch up")
		}
	}
}

// Tool finds a program that comes with PostgreSQL, such as pg_receivewal, and the installation that it belongs to: the newest that has
// it, because most of those in .cache have only the server.
func Tool(t testing.TB, name string) (path string, inst cluster.Installation) {
	t.Helper()
	for _, inst := range installations() {
		path := filepath.Join(inst.BinDir, name)
		if _, err := os.Stat(path); err == nil {
			return path, inst
		}
	}
	t.Fatalf("no PostgreSQL with %s on this machine: install the package postgresql", name)
	return "", cluster.Installation{}
}
