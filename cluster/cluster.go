// Package cluster starts and stops private PostgreSQL clusters in a temporary folder, from server binaries that are
// installed on the machine, as an unprivileged user when we are root. It does not know what a cluster is used for.
package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Superuser is the name of the cluster's first role.
const Superuser = "postgres"

// maxStartTries bounds how often a start is tried again because another program took the free port that we had found.
const maxStartTries = 5

// Options says how a cluster is made. The zero value is a cluster of the newest version found, on a free port.
type Options struct {
	Installation Installation      // zero: the newest that Find finds
	Parent       string            // where its folder is made; empty: the system's temporary folder
	Template     string            // a stopped cluster made by Init, to copy instead of running initdb
	Port         int               // 0: a free one
	Settings     map[string]string // lines of postgresql.conf, beside our own
	HBA          string            // pg_hba.conf; empty: scram-sha-256 for everybody on loopback and the unix socket
	Files        map[string][]byte // further files in the data folder, such as server.crt and server.key
	Durable      bool              // false: fsync off, for data that may be lost with the machine
}

// Cluster is a running private cluster.
type Cluster struct {
	Installation Installation
	Dir          string // everything of the cluster; removed by Stop
	Port         int    // on 127.0.0.1, and in the name of the unix socket
	Password     string // of the superuser

	opts Options
	cred *syscall.Credential
	cmd  *exec.Cmd      // the keeper, see start
	tie  io.WriteCloser // closing it ends the keeper and the server
	done chan error     // receives the keeper's end
}

// DataDir is the cluster's data folder.
func (c *Cluster) DataDir() string { return filepath.Join(c.Dir, "data") }

// SocketDir is the folder of its unix socket.
func (c *Cluster) SocketDir() string { return filepath.Join(c.Dir, "socket") }

// LogFile is the server's log.
func (c *Cluster) LogFile() string { return filepath.Join(c.Dir, "log") }

// Address is where it listens on TCP.
func (c *Cluster) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)) }

// DSN is a connection string for the given database and user over TCP. An empty password means the superuser's own when
// the user is the superuser.
func (c *Cluster) DSN(database, user, password string) string {
	if password == "" && user == Superuser {
		password = c.Password
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: c.Address(), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	if password == "" {
		u.User = url.User(user)
	}
	return u.String()
}

// Start makes a cluster and waits until it accepts connections. The server ends when Stop is called and also when this
// process ends in any way.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Installation.BinDir == "" {
		found := Find()
		if len(found) == 0 {
			return nil, errors.New("no PostgreSQL server binaries found: install the package postgresql, or put the folder " +
				"with postgres and initdb in PATH")
		}
		opts.Installation = found[0]
	}
	cred, err := Unprivileged()
	if err != nil {
		return nil, err
	}
	if cred != nil && !Reachable(opts.Installation.BinDir) {
		return nil, fmt.Errorf("user id %d, which runs the server, cannot enter %s", cred.Uid, opts.Installation.BinDir)
	}
	dir, err := os.MkdirTemp(opts.Parent, "claimpool-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Installation: opts.Installation, Dir: dir, opts: opts, cred: cred}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.startAnyPort(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// create makes the folders and writes the configuration.
func (c *Cluster) create(ctx context.Context) error {
	if c.opts.Template == "" {
		if err := initdb(ctx, c.opts.Installation, c.cred, c.Dir); err != nil {
			return err
		}
	} else {
		// cp keeps modes and owners, and shares blocks where the file system can.
		out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(c.opts.Template, "data"),
			filepath.Join(c.opts.Template, "password"), c.Dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy the template: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	password, err := os.ReadFile(filepath.Join(c.Dir, "password"))
	if err != nil {
		return err
	}
	c.Password = strings.TrimSpace(string(password))
	if err := os.Mkdir(c.SocketDir(), 0o755); err != nil {
		return err
	}
	if c.opts.HBA != "" {
		if err := c.write("pg_hba.conf", []byte(c.opts.HBA)); err != nil {
			return err
		}
	}
	for name, data := range c.opts.Files {
		if err := c.write(name, data); err != nil {
			return err
		}
	}
	if err := c.configure(c.opts.Settings); err != nil {
		return err
	}
	if err := os.Chmod(c.Dir, 0o755); err != nil { // the socket is for every user; the data folder stays 0700
		return err
	}
	return give(c.Dir, c.cred)
}

// configure writes our own postgresql.conf: defaults first, the caller's settings last, so that they win.
func (c *Cluster) configure(settings map[string]string) error {
	var b strings.Builder
	put := func(name, value string) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), `'`, `''`))
	}
	put("listen_addresses", "127.0.0.1")
	put("unix_socket_directories", c.SocketDir())
	put("password_encryption", "scram-sha-256")
	put("log_line_prefix", "%m [%p] %q%u@%d ")
	put("max_connections", "100")
	put("dynamic_shared_memory_type", "mmap") // containers often have a small /dev/shm
	if !c.opts.Durable {
		put("fsync", "off")
		put("synchronous_commit", "off")
		put("full_page_writes", "off")
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		put(name, settings[name])
	}
	return c.write("postgresql.conf", []byte(b.String()))
}

func (c *Cluster) write(name string, data []byte) error {
	path := filepath.Join(c.DataDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	if c.cred != nil {
		return os.Chown(path, int(c.cred.Uid), int(c.cred.Gid))
	}
	return nil
}

// Init makes a stopped cluster in the new folder dir, for use as a template.
func Init(ctx context.Context, inst Installation, dir string) error {
	cred, err := Unprivileged()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := give(dir, cred); err != nil {
		return err
	}
	return initdb(ctx, inst, cred, dir)
}

// initdb makes dir/data, with a random superuser password in dir/password.
func initdb(ctx context.Context, inst Installation, cred *syscall.Credential, dir string) error {
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	if err := give(dir, cred); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(inst.BinDir, "initdb"), "--pgdata", filepath.Join(dir, "data"),
		"--username", Superuser, "--pwfile", password, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
		"--no-sync", "--no-instructions")
	prepare(cmd, dir, cred)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// prepare gives a command the server's user, an empty environment and a folder that the user may enter.
func prepare(cmd *exec.Cmd, dir string, cred *syscall.Credential) {
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} // no PG* variable of the user reaches the server
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
