package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a server may take to start and to stop before we give up.
const (
	maxStartTime = 60 * time.Second
	maxStopTime  = 30 * time.Second
)

// keeper is the shell script between us and the server. It starts the server and reads a pipe that this process holds: a line
// is the signal to send to the server. When we end in any way, even by SIGKILL, the pipe closes; then the server is stopped at
// once ("immediate": what is left is thrown away) and the folder removed.
const keeper = `
exec 3<&0
"$@" 3<&- </dev/null >>log 2>&1 &
pid=$!
(
	if read -r line <&3; then
		kill -s "$line" $pid
	else
		: >orphan
		kill -s QUIT $pid
	fi
) 2>/dev/null &
reader=$!
wait $pid
status=$?
if [ -e orphan ]; then
	dir=$PWD
	cd / && rm -rf "$dir"
fi
kill $reader 2>/dev/null
exit $status
`

// startAnyPort starts the server, on another free port when somebody was faster.
func (c *Cluster) startAnyPort(ctx context.Context) error {
	for try := 1; ; try++ {
		c.Port = c.opts.Port
		if c.Port == 0 {
			port, err := freePort()
			if err != nil {
				return err
			}
			c.Port = port
		}
		err := c.start(ctx)
		if err == nil {
			return nil
		}
		taken := strings.Contains(err.Error(), "could not bind") || strings.Contains(err.Error(), "could not create any TCP/IP sockets")
		if c.opts.Port != 0 || !taken || try == maxStartTries {
			return err
		}
	}
}

// start runs the server under its keeper and waits until it accepts connections.
func (c *Cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxStartTime)
	defer cancel()
	before, _ := c.postmaster()
	cmd := exec.Command("/bin/sh", "-c", keeper, "keeper", filepath.Join(c.Installation.BinDir, "postgres"),
		"-D", c.DataDir(), "-p", strconv.Itoa(c.Port))
	prepare(cmd, c.Dir, c.cred)
	tie, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	c.cmd, c.tie, c.done = cmd, tie, done
	for {
		if now, status := c.postmaster(); now != before && status == "ready" {
			return nil
		}
		select {
		case end := <-done:
			c.cmd = nil
			return fmt.Errorf("the server ended at once (%v): %s", end, c.logTail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the server does not accept connections: %s", c.logTail()), c.Halt())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// postmaster reads the server's pid and status from postmaster.pid (PostgreSQL, pidfile.h): "ready" means that it accepts
// connections. Unlike a connection attempt, this cannot mistake another server on the same port for ours.
func (c *Cluster) postmaster() (pid int, status string) {
	file, err := os.ReadFile(filepath.Join(c.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(string(file), "\n")
	if len(lines) < 8 {
		return 0, ""
	}
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return 0, ""
	}
	return pid, strings.TrimSpace(lines[7])
}

func (c *Cluster) logTail() []byte {
	log, _ := os.ReadFile(c.LogFile()) // only to explain a failure
	return bytes.TrimSpace(log[max(0, len(log)-2000):])
}

// Halt stops the server at once, as a crash would ("immediate"), and keeps the folder.
func (c *Cluster) Halt() error { return c.end("QUIT") }

// Shutdown stops the server as an administrator would ("fast"), and keeps the folder.
func (c *Cluster) Shutdown() error { return c.end("INT") }

// end tells the keeper to send a signal to the server, and waits for its end.
func (c *Cluster) end(signal string) error {
	if c.cmd == nil {
		return nil
	}
	_, err := c.tie.Write([]byte(signal + "\n"))
	c.tie.Close()
	select {
	case <-c.done: // an exit status tells nothing that we do not know
		c.cmd = nil
		return nil
	case <-time.After(maxStopTime):
		return errors.Join(fmt.Errorf("the server does not stop: %s", c.logTail()), err)
	}
}

// Restart stops the server and starts it again on the same port.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.Shutdown(); err != nil {
		return err
	}
	return c.start(ctx)
}

// Resume starts the server again after Halt or Shutdown.
func (c *Cluster) Resume(ctx context.Context) error { return c.start(ctx) }

// Signal sends a signal to the postmaster, such as SIGHUP to read its configuration again.
func (c *Cluster) Signal(sig syscall.Signal) error {
	pid, _ := c.postmaster()
	if pid == 0 {
		return errors.New("signal the server: it is not running")
	}
	return syscall.Kill(pid, sig)
}

// SetHBA replaces pg_hba.conf and makes the server read it.
func (c *Cluster) SetHBA(text string) error {
	if err := c.write("pg_hba.conf", []byte(text)); err != nil {
		return err
	}
	return c.Signal(syscall.SIGHUP)
}

// Log is what the server has logged until now.
func (c *Cluster) Log() ([]byte, error) { return os.ReadFile(c.LogFile()) }

// Stop ends the server and removes everything of the cluster.
func (c *Cluster) Stop() error {
	err := c.Halt()
	return errors.Join(err, os.RemoveAll(c.Dir))
}
