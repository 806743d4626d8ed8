package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/claimpool/claimpool"
)

const (
	// maxPassword bounds what is read as a password: PostgreSQL's own limit for a password message. A wrong path to a
	// large file, or a command that never stops printing, must not fill the memory.
	maxPassword = 65_535
	// maxPasswordCommand bounds how long a password command may run: the login waits for it.
	maxPasswordCommand = 10 * time.Second
)

// FilePassword gives the password that is the first line of a file. The file is read for each login, so a rotated password needs no reload. A file that everybody may read is refused.
func FilePassword(path string) func(context.Context) (claimpool.Secret, error) {
	return func(context.Context) (claimpool.Secret, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe must not hold the login
		if err != nil {
			return nil, fmt.Errorf("read password file: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		switch {
		case err != nil:
			return nil, fmt.Errorf("read password file: %w", err)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("read password file: %q is not a regular file", path)
		case info.Mode().Perm()&0o006 != 0:
			return nil, fmt.Errorf("read password file: every user of this machine may read or write %q; chmod it to 0600", path)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxPassword+2))
		if err != nil {
			return nil, fmt.Errorf("read password file: %w", err)
		}
		return clean(b)
	}
}

// EnvPassword gives the password that stands in an environment variable.
func EnvPassword(name string) func(context.Context) (claimpool.Secret, error) {
	return func(context.Context) (claimpool.Secret, error) {
		v, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("environment variable %q is not set", name)
		}
		return clean([]byte(v))
	}
}

// CommandPassword runs a command for each login and gives the first line that it prints. No shell is involved. What it writes to its
// standard error is thrown away: it may hold secrets.
func CommandPassword(argv ...string) func(context.Context) (claimpool.Secret, error) {
	return func(ctx context.Context) (claimpool.Secret, error) {
		if len(argv) == 0 {
			return nil, errors.New("password command is empty")
		}
		ctx, cancel := context.WithTimeout(ctx, maxPasswordCommand)
		defer cancel()
		out := limited{left: maxPassword + 2}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout = &out
		cmd.WaitDelay = time.Second // a grandchild that keeps the pipe open must not hold the login
		if err := cmd.Run(); err != nil {
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case out.left < 0:
				err = errPasswordLong // and the command died of its broken pipe
			}
			return nil, fmt.Errorf("password command %q: %w", argv[0], err)
		}
		return clean(out.buf.Bytes())
	}
}

// limited is a buffer that refuses what is too long, which ends the command that writes to it.
// The buffer is not embedded: its ReadFrom would walk around the limit.
type limited struct {
	buf  bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errPasswordLong
	}
	return l.buf.Write(p)
}

var errPasswordLong = fmt.Errorf("the password is longer than %d bytes", maxPassword)

// clean takes the first line and refuses what cannot be a password.
func clean(b []byte) (claimpool.Secret, error) {
	b, _, _ = bytes.Cut(b, []byte("\n"))
	b = bytes.TrimSuffix(b, []byte("\r"))
	switch {
	case len(b) == 0:
		return nil, errors.New("the password is empty")
	case len(b) > maxPassword:
		return nil, errPasswordLong
	case bytes.IndexByte(b, 0) >= 0:
		return nil, errors.New("the password has a NUL byte")
	}
	return b, nil
}
