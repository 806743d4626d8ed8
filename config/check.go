package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// checker collects what is wrong with a configuration as a whole.
type checker struct {
	c        *Config
	problems Problems
}

// Check says what is wrong with a configuration: settings that contradict each other, files that are not there, doors
// that are open wider than they look. It reads files, but talks to nobody.
func (c *Config) Check() Problems {
	k := &checker{c: c}
	k.listen()
	k.issuers()
	k.rules()
	k.pool("pool", c.Pool)
	k.databases()
	k.tenants()
	k.revocation()
	k.admin()
	k.console()
	k.audit()
	slices.SortStableFunc(k.problems, func(a, b Problem) int { return a.Line - b.Line })
	return k.problems
}

// wrong notes an error at a key.
func (k *checker) wrong(key, message, hint string) {
	p := Problem{File: k.c.file, Key: key, Message: message, Hint: hint}
	at := k.c.positionOf(key)
	p.Line, p.Column = at.line, at.column
	k.problems = append(k.problems, p)
}

// warn notes something that works, but probably not as meant.
func (k *checker) warn(key, message, hint string) {
	k.wrong(key, message, hint)
	k.problems[len(k.problems)-1].Warning = true
}

// positionOf finds where a key stood in the file; a key that was not given stands where its group does.
func (c *Config) positionOf(key string) position {
	for {
		if at, ok := c.at[key]; ok {
			return at
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return position{}
		}
		key = key[:i]
	}
}

// needed reports whether a setting has a value, and notes it when not.
func (k *checker) needed(key, value, hint string) bool {
	if value == "" {
		k.wrong(key, "is missing", hint)
	}
	return value != ""
}

// file reports whether a file can be read, and notes it when not. An empty path is no file, and fine.
func (k *checker) file(key, path string) bool {
	if path == "" {
		return true
	}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.IsDir() {
			k.wrong(key, path+" is a folder", "Name a file in it.")
			return false
		}
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist):
		k.wrong(key, "there is no file "+path, "Relative paths begin in the folder of the configuration file.")
	case errors.Is(err, fs.ErrPermission):
		k.wrong(key, "no permission to read "+path, "Give read permission to the user that runs claimpool.")
	default:
		k.wrong(key, "cannot read "+path, "")
	}
	return false
}

// secretFile is file for files that nobody else should be able to read.
func (k *checker) secretFile(key, path string) bool {
	if !k.file(key, path) {
		return false
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o006 != 0 {
		k.wrong(key, "everybody on this machine may read or write "+path, "Run: chmod o= "+path)
		return false
	}
	return true
}

// pair checks a certificate and its key: both or none.
func (k *checker) pair(key, certFile, keyFile string) bool {
	switch {
	case certFile == "" && keyFile == "":
		return false
	case certFile == "":
		k.wrong(key+".cert_file", "is missing", "A key_file needs its certificate.")
		return false
	case keyFile == "":
		k.wrong(key+".key_file", "is missing", "A cert_file needs its private key.")
		return false
	}
	cert := k.file(key+".cert_file", certFile)
	return k.secretFile(key+".key_file", keyFile) && cert
}

// secret checks that a secret has at most one place, and that the place is there.
func (k *checker) secret(key string, s Secret) {
	if given := s.places(); len(given) > 1 {
		k.wrong(key, "has "+strings.Join(given, " and "), "Keep one of them.")
		return
	}
	k.service(key, s)
	k.secretFile(key+".file", s.File)
	if _, ok := os.LookupEnv(s.Env); s.Env != "" && !ok {
		k.warn(key+".env", "the environment variable "+s.Env+" is not set here", "Set it for the process that runs claimpool serve.")
	}
	if len(s.Command) > 0 {
		if _, err := exec.LookPath(s.Command[0]); err != nil {
			k.wrong(key+".command", "there is no program "+s.Command[0], "Give its full path. It is run without a shell.")
		}
	}
}
