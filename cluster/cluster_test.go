package cluster

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func start(t *testing.T, opts Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLifeOfACluster(t *testing.T) {
	c := start(t, Options{Settings: map[string]string{"application_name": `it's a \test`}})
	dsn := c.DSN("postgres", Superuser, "")
	if got := query(t, dsn, "show application_name"); got != `it's a \test` {
		t.Errorf("setting came through as %q", got)
	}
	if _, err := pgx.Connect(t.Context(), c.DSN("postgres", Superuser, "wrong")); err == nil {
		t.Error("a wrong password was accepted")
	}
	query(t, dsn, "select 'kept'")
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	query(t, dsn, "select 'again'")
	if err := c.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	query(t, dsn, "select 'after halt'")
	if log, err := c.Log(); err != nil || !strings.Contains(string(log), "ready to accept connections") {
		t.Errorf("log: %v %q", err, log)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestTemplateIsCopied(t *testing.T) {
	inst := Find()[0]
	dir, err := os.MkdirTemp("", "claimpool-template-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	template := dir + "/pg"
	if err := Init(t.Context(), inst, template); err != nil {
		t.Fatal(err)
	}
	a := start(t, Options{Installation: inst, Template: template})
	b := start(t, Options{Installation: inst, Template: template})
	for _, c := range []*Cluster{a, b} {
		query(t, c.DSN("postgres", Superuser, ""), "select 'in'")
	}
	if a.Port == b.Port || a.Dir == b.Dir {
		t.Error("two clusters share a port or a folder")
	}
}

func TestBadConfigurationIsExplained(t *testing.T) {
	_, err := Start(t.Context(), Options{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("the error does not name the setting: %v", err)
	}
}

func TestHBACanBeReplaced(t *testing.T) {
	c := start(t, Options{HBA: "host all all 127.0.0.1/32 trust\n"})
	if got := query(t, c.DSN("postgres", Superuser, "anything"), "select 'in'"); got != "in" {
		t.Error(got)
	}
	if err := c.SetHBA("host all all 127.0.0.1/32 reject\n"); err != nil {
		t.Fatal(err)
	}
}

func TestInstallationsAreFound(t *testing.T) {
	found := Find()
	if len(found) == 0 {
		t.Fatal("no PostgreSQL on this machine: run scripts/setup.sh")
	}
	for i := 1; i < len(found); i++ {
		if found[i-1].Major <= found[i].Major {
			t.Errorf("%v stands before %v", found[i-1], found[i])
		}
	}
	if _, err := Inspect(t.TempDir()); err == nil {
		t.Error("an empty folder counts as an installation")
	}
}

// A process that is killed takes its cluster with it, folder and all.
func TestNothingIsLeftOfAKilledProcess(t *testing.T) {
	if os.Getenv("CLUSTER_TEST_VICTIM") != "" {
		c := start(t, Options{})
		os.Stdout.WriteString("dir=" + c.Dir + "\n")
		<-t.Context().Done()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_VICTIM=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		dir, _ = strings.CutPrefix(lines.Text(), "dir=")
		if dir == lines.Text() {
			dir = ""
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // the kill is its error
	if dir == "" {
		t.Fatal("the process started no cluster")
	}
	deadline := time.After(maxStopTime)
	for {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s is still there", dir)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
