package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
)

// pgbouncerPath is where Debian's package puts it.
const pgbouncerPath = "/usr/sbin/pgbouncer"

const pgbouncerINI = `[databases]
%s = host=127.0.0.1 port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
pool_mode = transaction
default_pool_size = %d
query_wait_timeout = 5
auth_type = any
client_tls_sslmode = allow
client_tls_cert_file = %[7]s/tls.crt
client_tls_key_file = %[7]s/tls.key
`

// StartPgBouncer runs Debian's PgBouncer in transaction mode in front of the options' database, for the attacks that show the
// difference. It asks for no password. Everything that is not said here is as PgBouncer ships it. What it gives is a Proxy
// without one of ours inside: only its addresses, its log and its authority mean something.
func StartPgBouncer(t testing.TB, o ProxyOptions) *Proxy {
	t.Helper()
	p := &Proxy{Log: &LogBuffer{}, CA: NewCA(t), Host: "127.0.0.1", Port: FreePort(t)}
	dir, err := os.MkdirTemp("", "claimpool-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cert := p.CA.Server(t, "localhost", "127.0.0.1")
	ini := fmt.Sprintf(pgbouncerINI, o.Database, o.Cluster.Port, o.Role, o.Password, p.Port, o.Pool.Size, dir)
	files := []string{dir, WriteFile(t, dir, "pgbouncer.ini", []byte(ini)), WriteFile(t, dir, "tls.crt", cert.CertPEM), WriteFile(t, dir, "tls.key", cert.KeyPEM)}
	cred, err := cluster.Unprivileged() // it does not run as root
	if err != nil {
		t.Fatal(err)
	}
	if cred != nil {
		for _, file := range files {
			if err := os.Chown(file, int(cred.Uid), int(cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(pgbouncerPath, filepath.Join(dir, "pgbouncer.ini"))
	cmd.Stdout, cmd.Stderr, cmd.Dir = p.Log, p.Log, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start PgBouncer: %v: run scripts/setup.sh test", err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("end PgBouncer: %v", err)
		}
		_ = cmd.Wait() // killed, says this
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", p.Address())
		if err == nil {
			c.Close()
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not listen: %v\n%s", err, p.Log)
		}
	}
}
