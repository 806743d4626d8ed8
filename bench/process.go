//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs beside us until it is stopped.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan error
}

// start runs a program on the given core, as an unprivileged user, with its output in a file of dir.
func start(dir, name, core string, argv ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("taskset", append([]string{"-c", core}, argv...)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	cred, err := unprivileged()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: cred}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: log.Name(), done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// pid is the program's own: taskset replaces itself by it.
func (p *process) pid() int { return p.cmd.Process.Pid }

// await waits until the program accepts connections.
func (p *process) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("it ended: %v: %s", err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("it does not listen on %s: %s", addr, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is the end of what the program wrote.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-1000):])
}

// stop ends the program at once: it has nothing to lose.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// unprivileged is the user that programs run as when we are root (PgBouncer refuses to run as root); nil is ourselves.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New(`no user "postgres" or "nobody" to run the proxies as`)
}

// put writes a file that the unprivileged user may read, and nobody else.
func put(dir, name string, data []byte, mode os.FileMode) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, mode); err != nil {
		return "", err
	}
	cred, err := unprivileged()
	if err != nil || cred == nil {
		return path, err
	}
	return path, os.Chown(path, int(cred.Uid), int(cred.Gid))
}

// install copies a program into dir, where the unprivileged user can reach it.
func install(dir, name, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return put(dir, name, b, 0o755)
}

// freePort finds a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// firstLine runs a program and returns the first line that it prints, or "unknown".
func firstLine(argv ...string) string {
	b, err := exec.Command(argv[0], argv[1:]...).Output()
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

// raiseLimit asks for as many descriptors as 20,000 clients need; without the right to, it stays as it is, and the load
// generator makes fewer clients.
func raiseLimit() {
	want := syscall.Rlimit{Cur: 65_536, Max: 65_536}
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil || now.Cur >= want.Cur {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
		now.Cur = now.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &now)
	}
}
