package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/claimpool/claimpool/cluster"
)

// demoCommand shows the whole story on a real PostgreSQL.
type demoCommand struct {
	Once bool   `help:"End after the story, with status 0 only if every step went as it must."`
	DSN  string `name:"dsn" placeholder:"DSN" help:"A PostgreSQL server of yours, as for psql, in place of a private one. The user must be a superuser: a database and a role are made, and removed in the end."`
	Port int    `default:"6432" help:"The proxy's port; another free one when it is taken. Default: 6432."`
}

// Run plays the story. The proxy and PostgreSQL never run as root: root plays it as an unprivileged user.
func (c *demoCommand) Run(env *environment) error {
	cred, err := cluster.Unprivileged()
	if err != nil {
		return err
	}
	if cred != nil {
		return demoAs(env, cred)
	}
	ctx, stop := signal.NotifyContext(env.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "claimpool-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	d := &demo{env: env, ctx: ctx, dir: dir, out: env.out}
	defer d.close()
	fmt.Fprint(env.out, demoIntroduction)
	if err := d.prepare(c.DSN, c.Port); err != nil {
		return err
	}
	if err := d.story(); err != nil {
		return err
	}
	if d.wrong > 0 {
		return fmt.Errorf("%d steps did not go as they must", d.wrong)
	}
	if c.Once {
		return nil
	}
	d.invite()
	<-ctx.Done()
	fmt.Fprintln(env.out, "\nCleaning up.")
	return nil
}

const demoIntroduction = `
claimpool demo: two tenants, one shared server connection, and nobody sees what is not theirs.

`

// demoAs runs the demo again as another user, from a copy of this program in a folder that the user can enter.
func demoAs(env *environment, cred *syscall.Credential) error {
	dir, err := os.MkdirTemp("", "claimpool-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "claimpool")
	if err := errors.Join(copyProgram(program), os.Chmod(dir, 0o755)); err != nil {
		return fmt.Errorf("copy the program for user id %d: %w", cred.Uid, err)
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = env.out, env.err
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGTERM}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for sig := range signals {
			if sig == syscall.SIGTERM { // the terminal sends its interrupt to both of us
				cmd.Process.Signal(sig)
			}
		}
	}()
	var failed *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &failed) {
		return statusError{errors.New(""), failed.ExitCode()} // it has said why
	} else if err != nil {
		return err
	}
	return nil
}

func copyProgram(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
